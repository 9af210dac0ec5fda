//! HTTP proxies, both sides of them: CONNECT (RFC 9110 §9.3.6) and forwarded requests; and a small
//! server of files (`origin`).
//!
//! In scope: the messages of HTTP/1 (RFC 9112), spoken as HTTP/1.0 with one request a connection
//! where we are a proxy; logins by Basic (RFC 7617) and Digest (RFC 7616). Out: HTTP/2, HTTP/0.9,
//! caches, and for proxies chunked bodies and connections that are kept.
//!
//! ```text
//!   client ─┐                ┌─ server ── gate
//!           ├── auth, digest ┤     └───── fetch ── forward, uri
//!           └───── head ─────┘
//!                     └───────────── origin
//! ```

pub mod auth;
pub mod client;
pub mod digest;
mod fetch;
mod forward;
pub mod gate;
pub mod head;
pub mod origin;
pub mod server;
pub mod uri;

#[cfg(test)]
mod callers;
#[cfg(test)]
mod origins;
#[cfg(test)]
mod pairs;
