//! What is written about ncat agrees with what ncat is: help, manual page, README, changelog.

mod tool;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tool::{NCAT, Output, have, run, run_other, start_command};

/// Options that work and that the help leaves out.
const HIDDEN: &[&str] = &["--test", "--completions", "--talk"];

/// The manual page.
const MANUAL: &str = "man/ncat.1";

/// One option: its group, its spellings, and whether it takes a value.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    group: String,
    names: Vec<String>,
    value: bool,
}

#[test]
fn the_manual_page_has_the_options_of_the_help_in_the_same_groups_and_order() {
    let (help, manual) = (options_of_help(), options_of_manual());
    assert!(help.len() > 60, "the help has few options: {help:#?}");
    for (in_help, in_manual) in help.iter().zip(&manual) {
        assert_eq!(in_help, in_manual, "left: --help, right: {MANUAL}");
    }
    let only = |of: &[Entry], than: usize| format!("{:#?}", &of[than.min(of.len())..]);
    assert_eq!(only(&help, manual.len()), only(&manual, help.len()), "one of them goes on");
}

#[test]
fn the_manual_page_mentions_hidden_options_and_no_option_that_does_not_exist() {
    let known = known();
    let text = read(MANUAL);
    let mut mentioned = BTreeSet::new();
    for (number, line) in lines(&text) {
        for name in flags(line) {
            assert!(known.contains(&name), "{MANUAL}:{number}: there is no {name}");
            mentioned.insert(name);
        }
    }
    for hidden in HIDDEN {
        assert!(mentioned.contains(*hidden), "{MANUAL} says nothing of {hidden}");
        assert!(!options_of_help().iter().any(|o| o.names.iter().any(|n| n == hidden)));
    }
}

#[test]
fn the_manual_page_has_every_variable_of_the_environment_that_the_source_names() {
    let manual = read(MANUAL);
    let told: BTreeSet<&str> = manual
        .lines()
        .filter_map(|line| line.split_once("Ev ").map(|(_, names)| names))
        .flat_map(|names| names.split([' ', ',']))
        .collect();
    let mut seen = 0;
    for file in sources(Path::new("src")) {
        // What cargo tells the build script is no environment of ours.
        if file.starts_with("src/build") {
            continue;
        }
        for (number, line) in lines(&read(file.to_str().unwrap())) {
            for name in variables(line) {
                let file = file.display();
                assert!(told.contains(name), "{file}:{number}: {MANUAL} has no {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 8, "only {seen} variables were found in the source");
}

#[test]
fn the_readme_mentions_no_option_that_does_not_exist() {
    let known = known();
    let text = read("README.md");
    let (mut fenced, mut seen) = (false, 0);
    for (number, line) in lines(&text) {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let calls: Vec<&str> = if fenced {
            // What follows the word ncat, up to the end of that command.
            let ours = line.split(['|', ';', '&', '>', '<']).map(str::trim);
            ours.filter_map(|command| command.split_once("ncat ").map(|(_, rest)| rest)).collect()
        } else {
            let spans = line.split('`').skip(1).step_by(2);
            spans.filter(|span| span.starts_with('-') || span.starts_with("ncat ")).collect()
        };
        for word in calls.iter().flat_map(|call| call.split_whitespace()) {
            let name = word.split('=').next().unwrap_or(word);
            if name.starts_with("--") && name.len() > 2 {
                assert!(known.contains(name), "README.md:{number}: there is no {name}");
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} options were found in the README");
}

#[test]
fn the_version_has_its_heading_in_the_changelog() {
    let version = env!("CARGO_PKG_VERSION");
    let text = read("CHANGELOG.md");
    let heading = format!("## [{version}] - ");
    let date = text.lines().find_map(|line| line.strip_prefix(&heading));
    let date = date.unwrap_or_else(|| panic!("CHANGELOG.md has no line \"{heading}DATE\""));
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00", "{date}");
}

#[test]
fn the_manual_page_is_clean() {
    if !have("mandoc") {
        return;
    }
    let checked = run_other("mandoc", &["-Tlint", "-Wwarning", MANUAL], "");
    checked.expect_code(0).expect_stdout("");
}

#[test]
fn help_fits_100_columns_on_any_terminal() {
    for columns in ["100", "300"] {
        let mut command = Command::new(NCAT);
        command.arg("--help").env("COLUMNS", columns);
        let help = said(start_command(command).finish());
        let long: Vec<_> = help.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(long.is_empty(), "COLUMNS={columns}: {long:#?}");
        assert!(help.lines().count() > 40, "{help}");
    }
}

#[test]
fn completions_are_there_for_five_shells_and_bash_can_read_its_own() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = said(run(&["--completions", shell], ""));
        assert!(script.contains("ssl-trustfile"), "{shell}: {script:?}");
    }
    if have("bash") {
        let script = said(run(&["--completions", "bash"], ""));
        run_other("bash", &["-n"], script).expect_code(0).expect_stdout("");
    }
}

#[test]
fn no_file_names_a_registry_or_the_place_where_it_was_made() {
    // In two pieces, so that this file does not find itself.
    let words = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("npm", "js"),
        concat!("deb.", "debian.org"),
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
    ];
    if !fs::exists(".git").unwrap() || !have("git") {
        return;
    }
    // New files count before they are added.
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    // The checkout may belong to somebody else, as in a container.
    let files = said(run_other("git", &[&["-c", "safe.directory=*"], &list[..]].concat(), ""));
    let (mut seen, mut wrong) = (0, Vec::new());
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // One that is deleted may still be in the index.
        let Ok(bytes) = fs::read(file) else { continue };
        seen += 1;
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in lines(&text) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                // Cargo writes where packages come from, and that is its business.
                if !file.ends_with("Cargo.lock") {
                    wrong.push(format!("{file}:{number}: {word}"));
                }
            }
        }
    }
    assert!(seen > 20, "git knows only {seen} files");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Standard output of a program that has nothing to complain of.
#[track_caller]
fn said(output: Output) -> String {
    let output = output.expect_code(0);
    assert_eq!(output.stderr, "");
    output.text()
}

#[track_caller]
fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_else(|e| panic!("{file}: {e}"))
}

/// The files of the source.
fn sources(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let (dirs, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    files.into_iter().chain(dirs.iter().flat_map(|dir| sources(dir))).collect()
}

/// The variables of the environment in a line of the source: ours wherever they stand between
/// quotes, others where they are asked for.
fn variables(line: &str) -> Vec<&str> {
    let asked = |before: &str| before.ends_with("var_os(") || before.ends_with("is_set(");
    let pieces: Vec<&str> = line.split('"').collect();
    let quoted = pieces.chunks_exact(2).map(|pair| (pair[0], pair[1]));
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    quoted
        .filter(|(before, name)| is_name(name) && (name.starts_with("NCAT_") || asked(before)))
        .map(|(_, name)| name)
        .collect()
}

/// Lines with their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(i, line)| (i + 1, line))
}

/// Every spelling that ncat takes.
fn known() -> BTreeSet<String> {
    let mut known: BTreeSet<String> = options_of_help().into_iter().flat_map(|o| o.names).collect();
    known.extend(HIDDEN.iter().map(|&name| name.to_owned()));
    let tls: Vec<_> = known.iter().filter_map(|name| name.strip_prefix("--ssl")).collect();
    let tls: Vec<_> = tls.iter().map(|rest| format!("--tls{rest}")).collect();
    known.extend(tls);
    known
}

/// Reads `--help`: groups begin at the margin and end in a colon, options are indented by two, or
/// by six where they have no letter; what stands further right belongs to the line above.
fn options_of_help() -> Vec<Entry> {
    let mut group = String::new();
    let mut found = Vec::new();
    for line in said(run(&["--help"], "")).lines() {
        if let Some(name) = line.strip_suffix(':').filter(|_| !line.starts_with(' ')) {
            name.clone_into(&mut group);
        }
        let indent = line.len() - line.trim_start().len();
        let rest = line.trim_start();
        if !(indent == 2 && rest.starts_with('-') || indent == 6 && rest.starts_with("--")) {
            continue;
        }
        // Two blanks part the option from its words.
        let usage = rest.split("  ").next().unwrap_or(rest);
        let names = usage.split([' ', ',', '=', '[']).filter(|word| word.starts_with('-'));
        let names = names.map(|word| word.trim_end_matches('.').to_owned()).collect();
        found.push(Entry { group: group.clone(), names, value: usage.contains('<') });
    }
    found
}

/// Reads the section OPTIONS of the manual page.
fn options_of_manual() -> Vec<Entry> {
    let (mut section, mut group) = (String::new(), String::new());
    let mut found = Vec::new();
    for line in read(MANUAL).lines() {
        if let Some(name) = line.strip_prefix(".Sh ") {
            name.clone_into(&mut section);
        } else if let Some(name) = line.strip_prefix(".Ss ") {
            name.clone_into(&mut group);
        } else if section == "OPTIONS" && line.starts_with(".It Fl ") {
            let value = line.contains(" Ar ");
            found.push(Entry { group: group.clone(), names: flags(line), value });
        }
    }
    found
}

/// The options in a line of mdoc: `.It Fl w , Fl -wait Ar time` has `-w` and `--wait`.
fn flags(line: &str) -> Vec<String> {
    if !line.starts_with('.') {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut in_flag = false;
    for word in line.trim_start_matches('.').split_whitespace() {
        match word {
            "Fl" => in_flag = true,
            // An argument of Fl is a letter, a dash and a word, or, in this page, nothing else.
            word if in_flag && (word.len() == 1 && word != "," || word.starts_with('-')) => {
                if word.chars().any(char::is_alphanumeric) {
                    found.push(format!("-{word}"));
                }
            }
            _ => in_flag = false,
        }
    }
    found
}
