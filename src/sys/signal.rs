//! Signals as events of the loop.

use mio::event::Source;
use mio::unix::pipe::{Receiver, new};
use mio::{Interest, Registry, Token};
use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The signals by which a person or a supervisor ends a program.
const FATAL: [i32; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// The fatal signals, caught: readable once one has arrived.
#[derive(Debug)]
pub struct Signals {
    rx: Receiver,
    last: Arc<AtomicUsize>,
}

impl Signals {
    /// Catches SIGINT, SIGTERM, SIGHUP and SIGQUIT from now on; one that the parent had set to
    /// be ignored (`nohup`) stays ignored.
    ///
    /// # Errors
    /// Out of descriptors.
    #[allow(unsafe_code)]
    pub fn catch_fatal() -> io::Result<Self> {
        let (tx, rx) = new()?;
        // One pipe for all four, since descriptors may be scarce; the handlers have it for ever.
        let bell = tx.into_raw_fd();
        let last = Arc::new(AtomicUsize::new(0));
        for signal in FATAL.into_iter().filter(|&s| !is_ignored(s)) {
            let last = Arc::clone(&last);
            let ring = move || {
                last.store(signal as usize, Ordering::Relaxed);
                // SAFETY: write(2) may be called in a signal handler (signal-safety(7)); the
                // descriptor was leaked above, so it stays open; the byte is a constant. It does
                // not block: both ends of the pipe are non-blocking, and a full one rings too.
                unsafe { libc::write(bell, b"!".as_ptr().cast(), 1) };
            };
            // SAFETY: the handler does nothing but an atomic store and a write(2), both of which
            // are safe in a signal handler; signal-hook keeps errno for the interrupted code.
            unsafe { signal_hook::low_level::register(signal, ring)? };
        }
        Ok(Self { rx, last })
    }

    /// Registers with the loop.
    ///
    /// # Errors
    /// Those of epoll_ctl(2).
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.rx.register(registry, token, Interest::READABLE)
    }

    /// The number of the signal that arrived, if one did.
    pub fn arrived(&mut self) -> Option<i32> {
        // Asked for on every wake-up, so no system call unless there is one.
        if self.last.load(Ordering::Relaxed) == 0 {
            return None;
        }
        while matches!(self.rx.read(&mut [0; 16]), Ok(1..)) {}
        match self.last.swap(0, Ordering::Relaxed) {
            0 => None,
            signal => i32::try_from(signal).ok(),
        }
    }
}

/// Lets a caught signal do what it would have done without us.
pub fn die_by(signal: i32) {
    // It only fails for numbers that are no signals, and then there is nothing to die by.
    let _ = signal_hook::low_level::emulate_default_handler(signal);
}

/// Makes a limit of the size of files (`ulimit -f`) an error of write(2), where it would end us.
///
/// By a handler that does nothing: unlike a signal that is ignored, one that is caught does in
/// the commands that we start what it did before.
///
/// # Errors
/// Those of sigaction(2).
#[allow(unsafe_code)]
pub fn survive_file_limit() -> io::Result<()> {
    if !is_ignored(libc::SIGXFSZ) {
        // SAFETY: the handler does nothing at all.
        unsafe { signal_hook::low_level::register(libc::SIGXFSZ, || ())? };
    }
    Ok(())
}

/// Lets SIGPIPE end us, as it ends every command: Rust's runtime has set it to be ignored.
#[allow(unsafe_code)]
pub fn let_pipe_end_us() {
    // SAFETY: SIG_DFL is a valid disposition of SIGPIPE, and no handler of ours is replaced.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Keeps fatal signals waiting while it lives; when it goes, one that waited takes its course.
///
/// Unlike a handler this leaves no trace: afterwards every signal does what it did before.
#[derive(Debug)]
pub struct Held {
    before: libc::sigset_t,
}

impl Held {
    /// Holds SIGINT, SIGTERM, SIGHUP and SIGQUIT back from now on, but none that is ignored.
    #[allow(unsafe_code)]
    pub fn fatal() -> Self {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: both sets are valid places for the calls, which initialise them; the numbers
        // are those of real signals, so none of the calls can fail.
        let before = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            // One that does nothing is not waited for, and must not look as if it did (`nohup`).
            for signal in FATAL.into_iter().filter(|&s| !is_ignored(s)) {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr());
            before.assume_init()
        };
        Self { before }
    }

    /// Is one of them waiting?
    #[allow(unsafe_code)]
    pub fn any_waits(&self) -> bool {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigpending(2) fills the set, which is a valid place; sigismember reads it.
        unsafe {
            libc::sigpending(set.as_mut_ptr());
            FATAL.iter().any(|&signal| libc::sigismember(set.as_ptr(), signal) == 1)
        }
    }
}

impl Drop for Held {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the mask is the one that pthread_sigmask(3) gave us in `fatal`.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut())
        };
    }
}

#[allow(unsafe_code)]
fn is_ignored(signal: i32) -> bool {
    let mut old = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null new action sigaction(2) changes nothing and fills the old one, which
    // is a valid place for it; zeroed is a valid value of this C struct.
    let old = unsafe {
        if libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) != 0 {
            return false;
        }
        old.assume_init()
    };
    old.sa_sigaction == libc::SIG_IGN
}
