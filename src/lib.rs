//! ncat: a netcat for people, and this is its map.
//!
//! # Layers
//!
//! ```text
//!             main            prints the error, picks the exit status
//!              |
//!             cli             argv, environment -> modes::Job
//!              |
//!            modes            connect, listen, mail, dns: one Config each, no flags
//!              |
//!            engine           Reactor, Relay (Pipe, Pipe), Dialogue<Machine>, Room
//!           /   |   \
//!        net  proto  term     Endpoint, Tls, Dial, Listener | Machine: text, smtp | safe, explain
//!         |   (no I/O, no clock, pure)
//!        sys                  the only unsafe: shared descriptors, splice, signals
//! ```
//!
//! Names point down only; `tests/layers.rs` fails otherwise. [`error`] and [`report`] stand beside
//! the layers from `net` up: `sys` speaks in `io::Error`, `proto` in
//! [`proto::ProtocolError`]. `net` uses `term::safe` to quote what a peer said.
//!
//! # The walk of a byte: standard input, TLS, socket
//!
//! ```text
//! epoll: descriptor 0 readable    reactor.wait -> Address{SOLO, LOCAL} -> endpoint.mark(): a bit
//! relay.drive
//!   pipe up .pump(local, remote)
//!     local.read(buf)             one copy: kernel -> our buffer of 64 KiB
//!     remote.write(buf.bytes())   rustls encrypts out of it into its records (64 KiB at most)
//!     remote.turn()               records -> socket, until it refuses
//!   no progress: Idle. Budget spent: More, and the next wait does not wait
//! ```
//!
//! Between plain descriptors, after the first buffer, a kernel pipe carries the bytes and they
//! never enter this process ([`engine::pipe`]). With a machine in the middle
//! ([`engine::dialogue`]) they stop in an inbox, the machine eats them and says something, and
//! that leaves through an outbox.
//!
//! # What holds everywhere
//!
//! * **Back-pressure** is only this: a full buffer is not read into, and rustls refuses plaintext
//!   past its limit. Then the source's kernel buffer fills, and the producer waits.
//! * **The end of input** flows like data: source ended, carry empty, sink told
//!   ([`net::endpoint::Endpoint::close_write`]: shutdown, close_notify, or a closed descriptor).
//!   What that means for the whole conversation is decided in [`engine::manners`] alone.
//! * **A failure waits for the bytes before it.** What was received is delivered, then the person
//!   is told.
//! * **Descriptors 0 and 1 belong to others too**: no flag of theirs is ever changed
//!   ([`sys::fd`]).
//! * **What a peer sent is data**: it is escaped before a person or a log sees it, and capped.

pub mod cli;
pub mod engine;
pub mod error;
pub mod mailbox;
pub mod modes;
pub mod net;
pub mod proto;
pub mod report;
pub mod sys;
pub mod term;
