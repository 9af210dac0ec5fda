//! Transports: what a conversation's end is made of, and how one comes to be.
//!
//! An [`endpoint::Endpoint`] is a socket or a pair of descriptors with an optional TLS layer on
//! it. [`dial`] makes one by calling somebody, [`bind`] by waiting for a caller; [`names`] finds
//! addresses, [`target`] reads what a person typed. [`dtls`] is a layer for datagrams, as [`tls`]
//! is for streams. rustls is named in [`tls`], [`trust`] and [`ciphers`] only, dimpl in [`dtls`]
//! only, so that their next API is a change in one place.

pub mod access;
pub mod bind;
pub mod buf;
pub mod certificate;
pub mod child;
pub mod ciphers;
pub mod date;
pub mod dial;
pub mod dtls;
pub mod endpoint;
pub mod names;
pub mod nameservers;
pub mod target;
pub mod tls;
pub mod trust;
pub mod udp;
