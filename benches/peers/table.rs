//! What is printed.

use crate::args::Args;
use crate::figures::{Failure, Summary};
use crate::lab::{Lab, Scale};
use crate::measure::Results;
use crate::scenario::Scenario;
use crate::target::{best_peer, limit, ours};

use std::fs;

/// Machine, date, peers.
pub(crate) fn header(lab: &Lab, args: &Args) {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models: Vec<&str> = cpuinfo
        .lines()
        .filter_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, model)| model.trim())
        .collect();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    println!("date     {}", date());
    println!("machine  {} x {}", models.len(), models.first().unwrap_or(&"unknown processor"));
    println!("kernel   {}", kernel.trim());
    println!("rounds   {}{}", args.rounds, if lab.scale == Scale::Quick { ", quick" } else { "" });
    for peer in &lab.peers {
        let program = peer.program.as_ref().map(|path| path.display().to_string());
        println!("peer     {:<15}{} {}", peer.key, program.unwrap_or_default(), peer.version);
    }
    println!();
}

/// The day, of the epoch's seconds (Howard Hinnant's algorithm).
fn date() -> String {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let days = seconds / 86_400 + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
}

/// All contenders of a scenario, and its aims.
pub(crate) fn scenario(scenario: &Scenario, results: &Results) {
    println!("{}: {} [{}]", scenario.name, scenario.title, scenario.unit);
    println!(
        "  {:<28}{:>9}{:>9}{:>8}{:>8}{:>17}{:>17}",
        "",
        "median",
        "best",
        "x peer",
        "x limit",
        format!("CPU {}", scenario.cpu_unit),
        "peak MiB",
    );
    let peer = best_peer(scenario, results).map(|(_, summary)| summary.median);
    let bound = limit(scenario, results).map(|summary| summary.median);
    for (contender, result) in scenario.contenders.iter().zip(results) {
        match result {
            Ok(summary) => println!(
                "  {:<28}{:>9}{:>9}{:>8}{:>8}{:>17}{:>17}{}",
                contender.name,
                short(summary.median),
                short(summary.best),
                ratio(summary.median, peer),
                ratio(summary.median, bound),
                sides(summary.near_cpu, summary.far_cpu),
                sides(mib(summary.near_peak_kib), mib(summary.far_peak_kib)),
                if summary.lost > 0 { format!("  lost {}", summary.lost) } else { String::new() },
            ),
            Err(why) => println!("  {:<28}{}", contender.name, failure(why)),
        }
    }
    for target in &scenario.targets {
        let verdict = target.judge(scenario, results);
        println!(
            "    {:<4} {:<38} {}",
            if verdict.met { "met" } else { "NOT" },
            verdict.wanted,
            verdict.ratio.map_or("not measured".into(), short),
        );
    }
    println!();
}

fn failure(why: &Failure) -> String {
    match why {
        Failure::Absent => "not here".into(),
        Failure::Broken(why) => format!("failed ({why})"),
        Failure::Interrupted => "interrupted".into(),
    }
}

/// A line for each scenario.
pub(crate) fn summary(results: &[(&Scenario, Results)], markdown: bool) {
    let head = ["what", "ours", "best peer", "", "of the limit", "aims met"];
    let mut rows = vec![head.map(str::to_owned)];
    for (scenario, results) in results {
        rows.push(row(scenario, results));
    }
    if markdown {
        for (at, row) in rows.iter().enumerate() {
            println!("| {} |", row.join(" | "));
            if at == 0 {
                println!("|{}", "---|".repeat(row.len()));
            }
        }
        return;
    }
    let widths: Vec<usize> = (0..head.len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())))
            .collect();
        println!("{}", cells.join("  ").trim_end());
    }
    println!();
    for (scenario, results) in results {
        for target in &scenario.targets {
            let verdict = target.judge(scenario, results);
            if !verdict.met {
                let ratio = verdict.ratio.map_or("not measured".into(), short);
                println!("not met  {:<22} {:<38} {ratio}", scenario.name, verdict.wanted);
            }
        }
    }
}

fn row(scenario: &Scenario, results: &Results) -> [String; 6] {
    let unit = scenario.unit;
    let of = |summary: &Summary| format!("{} {unit}", short(summary.median));
    let mine = ours(scenario, results);
    let peer = best_peer(scenario, results);
    let over = |other: Option<&Summary>| {
        let pair = mine.zip(other).map(|(mine, other)| mine.median / other.median);
        pair.map_or("–".into(), |ratio| format!("× {}", short(ratio)))
    };
    let verdicts: Vec<_> =
        scenario.targets.iter().map(|target| target.judge(scenario, results)).collect();
    let met = verdicts.iter().filter(|verdict| verdict.met).count();
    [
        scenario.title.to_owned(),
        mine.map_or("failed".into(), of),
        peer.map_or("–".into(), |(name, summary)| format!("{} ({name})", of(summary))),
        over(peer.map(|(_, summary)| summary)),
        over(limit(scenario, results)),
        format!("{met} of {}", verdicts.len()),
    ]
}

fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

/// Near and far; nothing where a side is none of the contender's.
fn sides(near: f64, far: f64) -> String {
    let one = |figure: f64| if figure > 0.0 { short(figure) } else { "-".into() };
    format!("{} / {}", one(near), one(far))
}

fn ratio(figure: f64, other: Option<f64>) -> String {
    other.map_or("-".into(), |other| short(figure / other))
}

/// Three digits that count.
fn short(figure: f64) -> String {
    match figure.abs() {
        n if n >= 100.0 => format!("{figure:.0}"),
        n if n >= 10.0 => format!("{figure:.1}"),
        n if n >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
