//! `--lua-exec`: a Lua script as the program that serves a peer.
//!
//! The script runs in a process of its own, which is ncat once more with the hidden option
//! `--lua-exec-internal`: what it does to itself it does to one peer only.

use crate::error::{Error, Exit};
use crate::sys::signal;
use std::path::Path;

/// Loads the script, so that a mistake in it shows before anybody calls.
///
/// # Errors
/// A script that cannot be read or understood; a build without Lua.
pub fn check(script: &Path) -> Result<(), Error> {
    engine::check(script).map_err(|why| {
        Error::machine(format!("cannot load the Lua script {}: {why}", script.display()))
    })
}

/// Runs the script on our own standard input and output.
///
/// # Errors
/// What it failed with.
pub fn run(script: &Path) -> Result<Exit, Error> {
    // A script is a command, and so is what it starts.
    signal::let_pipe_end_us();
    engine::run(script)
        .map(|()| Exit::DONE)
        .map_err(|why| Error::network(format!("the Lua script {} failed: {why}", script.display())))
}

#[cfg(feature = "lua")]
mod engine {
    use mlua::Lua;
    use std::path::Path;

    pub(super) fn check(script: &Path) -> Result<(), String> {
        let text = std::fs::read(script).map_err(|e| crate::error::words(&e))?;
        Lua::new()
            .load(text)
            .set_name(format!("@{}", script.display()))
            .into_function()
            .map(drop)
            .map_err(|e| e.to_string())
    }

    pub(super) fn run(script: &Path) -> Result<(), String> {
        Lua::new().load(script).exec().map_err(|e| e.to_string())
    }
}

#[cfg(not(feature = "lua"))]
mod engine {
    use std::path::Path;

    pub(super) fn check(_: &Path) -> Result<(), String> {
        Err("this ncat was built without Lua".to_owned())
    }

    pub(super) fn run(_: &Path) -> Result<(), String> {
        Err("this ncat was built without Lua".to_owned())
    }
}
