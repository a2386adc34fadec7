//! `cargo xtask fuzz`: every fuzz target for a stated time, and what came of it.
//!
//! Needs no nightly: libFuzzer's instrumentation is the stable compiler's own, and without unsafe
//! code in what is fuzzed there is nothing for a sanitizer to find. What is new is kept below the target
//! directory and used again; `--keep` brings what covers more into `fuzz/corpus`, where ordinary
//! tests replay it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{setup, shell};

/// Longest input that is tried: a frame with every header there is, and some data.
const LONGEST: u32 = 512;
/// How many of a fuzzer's last lines are shown when it ended and does not say why.
const LAST_LINES: usize = 40;

/// What to fuzz.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this target: the name of a file in fuzz/fuzz_targets
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Bring new inputs that cover more into fuzz/corpus
    #[arg(long)]
    keep: bool,
}

/// Runs the targets one after the other and prints a line about each.
///
/// # Errors
/// When something was found, or cannot be built.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::fuzzer()?;
    let targets = chosen(options.target.as_deref())?;
    shell::run_quietly("building the fuzz targets", &mut fuzz("build", &[]))?;
    println!(
        "{:<10}{:>12}{:>10}{:>10}{:>10}{:>8}",
        "target", "executions", "a second", "branches", "features", "new"
    );
    let mut found = Vec::new();
    for target in &targets {
        match attempt(target, options)? {
            Some(line) => println!("{line}"),
            None => found.push(target.as_str()),
        }
    }
    if found.is_empty() { Ok(()) } else { bail!("something was found by {}", found.join(", ")) }
}

fn chosen(wanted: Option<&str>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(shell::root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    match wanted {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => bail!("there is no fuzz target `{name}`; there are {}", names.join(", ")),
    }
}

/// A command of cargo-fuzz, on the compiler that builds the rest.
fn fuzz(verb: &str, words: &[&str]) -> Command {
    let mut command = shell::cargo(["fuzz", verb, "--sanitizer", "none", "--target-dir"]);
    command.arg(shell::target_dir().join("fuzz")).args(words);
    command
}

/// Where new inputs of a target are kept between runs.
fn scratch(target: &str) -> PathBuf {
    shell::target_dir().join("fuzz/corpus").join(target)
}

/// Runs one target; the line about it, or none when it found something (which has been told).
fn attempt(target: &str, options: &Options) -> Result<Option<String>> {
    let new = scratch(target);
    fs::create_dir_all(&new).with_context(|| new.display().to_string())?;
    let before = count(&new)?;
    let mut command = fuzz("run", &[target]);
    command.arg(&new).arg(format!("fuzz/corpus/{target}")).arg("--");
    command.args([format!("-max_total_time={}", options.seconds), format!("-max_len={LONGEST}")]);
    let done = command.output().with_context(|| shell::shown(&command))?;
    if !done.status.success() {
        tell(target, &done);
        return Ok(None);
    }
    let line = summary(target, options.seconds, &done, count(&new)?.saturating_sub(before))?;
    if options.keep {
        keep(target)?;
    }
    Ok(Some(line))
}

fn count(dir: &PathBuf) -> Result<usize> {
    Ok(fs::read_dir(dir)?.count())
}

/// What libFuzzer's last line says: `#1803113 DONE cov: 252 ft: 566 corp: 179/9675b …`.
fn summary(target: &str, seconds: u32, done: &Output, new: usize) -> Result<String> {
    let text = String::from_utf8_lossy(&done.stderr);
    let last = text.lines().find(|line| line.contains("\tDONE ")).unwrap_or_default();
    let words: Vec<&str> = last.split_whitespace().collect();
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name)?;
        words.get(at + 1).copied()
    };
    let executions = words.first().and_then(|word| word.strip_prefix('#')?.parse::<u64>().ok());
    let (Some(executions), Some(branches), Some(features)) =
        (executions, after("cov:"), after("ft:"))
    else {
        bail!("the fuzzer's last lines are not what they were in other versions:\n{text}");
    };
    let rate = executions / u64::from(seconds);
    Ok(format!("{target:<10}{executions:>12}{rate:>10}{branches:>10}{features:>10}{new:>8}"))
}

/// Says what was found and what to do with it.
fn tell(target: &str, done: &Output) {
    let text = String::from_utf8_lossy(&done.stderr);
    let lines: Vec<&str> = text.lines().collect();
    let said = lines.iter().position(|line| line.contains("panicked at"));
    let from = said.unwrap_or(lines.len().saturating_sub(LAST_LINES));
    let until = lines.iter().skip(from).position(|line| line.starts_with("stack backtrace"));
    lines.iter().skip(from).take(until.unwrap_or(LAST_LINES)).for_each(|line| println!("{line}"));
    println!(
        "\n{target} found something (or did not run): see above. The input is the newest file in \
         fuzz/artifacts/{target}. When it is mended, move it to fuzz/corpus/{target}/found-WHAT, \
         where `cargo xtask test` replays it."
    );
}

/// Copies what covers more than the tree's own inputs to them.
fn keep(target: &str) -> Result<()> {
    let mut merge = fuzz("run", &[target]);
    merge.arg(format!("fuzz/corpus/{target}")).arg(scratch(target));
    merge.args(["--", "-merge=1", "-use_counters=0"]);
    shell::output(&mut merge).map(drop)
}
