//! What was typed.

use crate::lab::Scale;

use std::path::PathBuf;

/// The command line.
pub(crate) struct Args {
    pub(crate) filter: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) scale: Scale,
    pub(crate) markdown: bool,
    pub(crate) list: bool,
    /// Our program: this tree's, unless another build is to be looked at.
    pub(crate) ours: PathBuf,
}

impl Args {
    /// Reads it.
    pub(crate) fn parse(given: &[String]) -> Result<Self, String> {
        let mut args = Self {
            filter: Vec::new(),
            rounds: 0,
            scale: Scale::Full,
            markdown: false,
            list: false,
            ours: env!("CARGO_BIN_EXE_ncat").into(),
        };
        let mut rest = given.iter();
        while let Some(arg) = rest.next() {
            match arg.as_str() {
                "--quick" => args.scale = Scale::Quick,
                "--markdown" => args.markdown = true,
                "--list" => args.list = true,
                "--ours" => {
                    args.ours = rest.next().ok_or("--ours wants a program")?.into();
                }
                "--rounds" => {
                    let n = rest.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                    args.rounds = n.ok_or("--rounds wants a number above 0")?;
                }
                option if option.starts_with('-') => {
                    return Err(format!(
                        "unknown option {option}; there are --quick, --rounds N, --ours PROGRAM, --markdown and --list"
                    ));
                }
                word => args.filter.push(word.to_owned()),
            }
        }
        if args.rounds == 0 {
            args.rounds = match args.scale {
                Scale::Quick => 3,
                Scale::Full => 5,
            };
        }
        Ok(args)
    }

    /// Every scenario is wanted when none was named.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|word| name.contains(word.as_str()))
    }
}
