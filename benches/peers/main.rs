//! Our program beside the others: one run, interleaved rounds, the bytes checked.
//!
//! ```sh
//! cargo bench --bench peers                       # everything; it takes its time
//! cargo bench --bench peers -- --quick plain      # scenarios whose name has "plain", in short
//! cargo bench --bench peers -- --markdown         # the summary as a table for the README
//! ```
//!
//! It installs nothing: it takes the peers that are here, and names those that are not. All
//! contenders of a scenario run in every round, in an order that turns, so that what else the
//! machine does hits all alike. The figure that counts is the median; the ratio of two medians of
//! one run can be compared with that of another machine, the figures themselves cannot.
//!
//! Where a limit is named, it is a small program in this file's neighbours, written for that one
//! thing: what the kernel gives when nothing else is asked for.

// It measures time, waits, and prints.
#![allow(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

mod args;
mod figures;
mod lab;
mod limit;
mod measure;
mod peer;
mod run;
mod scenario;
mod shape;
mod table;
mod target;
mod tool;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut given: Vec<String> = std::env::args().skip(1).collect();
    // Tools and limits are this program again: nothing else has to be built or found.
    if given.first().is_some_and(|first| first == "--role") {
        return match tool::play(&given[1..]) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("{why}");
                ExitCode::FAILURE
            }
        };
    }
    // `cargo test --all-targets` runs benchmarks too, but does not say --bench.
    let Some(at) = given.iter().position(|arg| arg == "--bench") else {
        println!("a benchmark; run it by: cargo bench --bench peers");
        return ExitCode::SUCCESS;
    };
    given.remove(at);
    match args::Args::parse(&given).and_then(|args| bench(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peers: {why}");
            ExitCode::from(2)
        }
    }
}

fn bench(args: &args::Args) -> Result<(), String> {
    let all = scenario::all();
    if args.list {
        for scenario in &all {
            println!("{}", scenario.name);
        }
        return Ok(());
    }
    let chosen: Vec<_> = all.iter().filter(|s| args.wants(s.name)).collect();
    if chosen.is_empty() {
        return Err(format!("no scenario has {:?} in its name; see --list", args.filter));
    }
    let lab = lab::Lab::new(args.scale, args.ours.clone())?;
    table::header(&lab, args);
    let mut results = Vec::new();
    for scenario in chosen {
        let result = measure::measure(&lab, scenario, args.rounds)?;
        table::scenario(scenario, &result);
        results.push((scenario, result));
    }
    table::summary(&results, args.markdown);
    Ok(())
}
