//! Parses, runs, prints the error, exits. Everything else is in the library.

use ncat::cli::{Asked, Environment, parse};
use ncat::error::Exit;
use ncat::modes;
use ncat::report::Report;
use ncat::sys::signal;
use std::io::{Write, stdout};
use std::process::ExitCode;

fn main() -> ExitCode {
    // Without it, a file that is too long ends us: the message in hand is refused by nobody.
    let _ = signal::survive_file_limit();
    let environment = Environment::read();
    let silent = Report::new(0, environment.no_color);
    let result = match parse(std::env::args_os(), &environment) {
        Ok(Asked::Print(text)) => {
            // A reader who has seen enough is no failure.
            let _ = stdout().write_all(text.as_bytes());
            Ok(Exit::DONE)
        }
        Ok(Asked::Version) => {
            silent.answer(format_args!("ncat: Version {}", env!("CARGO_PKG_VERSION")));
            Ok(Exit::DONE)
        }
        Ok(Asked::Job(job, report)) => modes::run(*job, &report),
        Err(error) => Err(error),
    };
    let exit = result.unwrap_or_else(|error| {
        silent.error(&error);
        error.exit()
    });
    ExitCode::from(exit.0)
}
