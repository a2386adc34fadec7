//! What the demo prints: numbered steps in plain words, each command as one would type it, and
//! the part of its output that matters.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use super::lab::{Lab, Place};

/// Set by Ctrl-C: the next command is not started, and everything is cleaned up.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The longest any one command of the demo may take.
const LIMIT_SECONDS: &str = "60";

/// From now on Ctrl-C (and a polite kill) ends the demo by way of its cleaning up.
pub(crate) fn clean_up_on_interrupt() -> Result<()> {
    let interrupted = || INTERRUPTED.store(true, Ordering::Relaxed);
    ctrlc::set_handler(interrupted).context("Ctrl-C cannot be handled")
}

/// A command that Ctrl-C does not reach: for cleaning up.
pub(crate) fn undisturbed(program: &str) -> Command {
    let mut command = Command::new(program);
    command.process_group(0);
    command
}

/// Prints a command as typed at a place's prompt.
pub(crate) fn command(place: &str, words: &[&str]) {
    println!("   {place}# {}", words.join(" "));
}

/// Numbers the steps.
#[derive(Default)]
pub(crate) struct Steps(u32);

impl Steps {
    /// Begins the next step.
    pub(crate) fn next(&mut self, words: &str) {
        self.0 += 1;
        println!("\n{}. {words}", self.0);
    }
}

/// Runs a command in the lab, shows it and all it says.
pub(crate) fn run(lab: &Lab, place: Place, words: &[&str]) -> Result<String> {
    let text = run_hiding(lab, place, words)?;
    text.lines().for_each(line);
    Ok(text)
}

/// Runs a command in the lab and shows it; the caller shows what matters of its output.
///
/// # Errors
/// When it fails, takes too long, or the user has pressed Ctrl-C.
pub(crate) fn run_hiding(lab: &Lab, place: Place, words: &[&str]) -> Result<String> {
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    let mut shown = words.to_vec();
    shown[0] = shown[0].rsplit('/').next().unwrap_or(shown[0]);
    command(place.name(), &shown);
    let limited = [&["timeout", "--foreground", LIMIT_SECONDS], words].concat();
    let text = lab.quietly(place, &limited);
    if INTERRUPTED.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    text
}

/// One line of a command's output.
pub(crate) fn line(text: &str) {
    println!("      {text}");
}

/// The lines of a text that contain one of the words.
pub(crate) fn lines_with(text: &str, words: &[&str]) {
    let wanted = |text: &&str| words.iter().any(|word| text.contains(word));
    text.lines().filter(wanted).for_each(line);
}

/// A JSON array as bpftool prints it: the first entries, and how many there are.
pub(crate) fn first_entries(dump: &str, entries: usize) {
    let ends = |text: &str| text.starts_with("    }");
    let count = dump.lines().filter(|text| ends(text)).count();
    let mut left = entries;
    for text in dump.lines() {
        line(text);
        left -= usize::from(ends(text));
        if left == 0 {
            break;
        }
    }
    if count > entries {
        line(&format!("... and {} more entries", count - entries));
    }
}
