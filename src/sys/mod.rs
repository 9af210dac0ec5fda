//! What every platform must offer, and the only room where `unsafe` may live.
//!
//! Descriptors that are shared with other processes ([`fd`], [`stdio`]), bytes that never enter
//! this process ([`splice`]), datagrams that pass the kernel as one ([`segments`]), signals as
//! events ([`signal`]), the lock that mail programs have ([`lock`]), what becomes of freed memory
//! ([`memory`]), Lua's mathematics (`math`), and the socket questions that no crate asks ([`sockopt`]). Errors are
//! `io::Error`; the words for people are made above.

pub mod fd;
pub mod lock;
#[cfg(all(feature = "lua", target_os = "linux", target_env = "gnu"))]
pub mod math;
pub mod memory;
pub mod segments;
pub mod signal;
pub mod sockopt;
pub mod splice;
pub mod stdio;
pub mod terminal;

/// Sixteen random octets from the kernel.
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel refuses only before its first seed, and then it waits instead.
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    bytes
}

/// The same in hex.
pub fn random_hex() -> String {
    random().iter().map(|b| format!("{b:02x}")).collect()
}
