//! What every platform must offer, and the only room where `unsafe` may live.
//!
//! Descriptors that are shared with other processes ([`fd`], [`stdio`]), bytes that never enter
//! this process ([`splice`]), signals as events ([`signal`]), and the socket questions that no
//! crate asks ([`sockopt`]). Errors are `io::Error`; the words for people are made above.

pub mod fd;
pub mod signal;
pub mod sockopt;
pub mod splice;
pub mod stdio;
pub mod terminal;
