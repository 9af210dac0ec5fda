//! What becomes of memory that is not used any more.

#![allow(unsafe_code)]

/// From here on a megabyte of freed memory stays ours instead of going back to the kernel.
///
/// rustls takes memory for each batch of records and frees it when the batch is out. The GNU C
/// library gives more than 128 KiB back at once, and each page of it is a fault next time: a
/// quarter of the CPU of sending over TLS (2026-11, 256 KiB at a time).
pub fn keep_freed() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            // SAFETY: mallopt(3) takes two numbers and changes a setting of the allocator, under
            // its own lock. A refusal would only cost speed.
            unsafe { libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20) };
        });
    }
}
