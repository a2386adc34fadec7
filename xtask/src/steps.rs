//! A list of named steps: all of them run, each is timed, and a summary says how each ended.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Steps done so far.
#[derive(Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
}

struct Done {
    name: String,
    took: Duration,
    fault: Option<String>,
}

impl Steps {
    /// Runs one step; a failure is printed and kept for the summary, and does not stop the next.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) {
        println!("\n=== {name}");
        let since = Instant::now();
        let fault = step().err().map(|fault| format!("{fault:#}"));
        if let Some(fault) = &fault {
            println!("error: {fault}");
        }
        self.done.push(Done { name: name.to_owned(), took: since.elapsed(), fault });
    }

    /// Prints the summary.
    ///
    /// # Errors
    /// When any step failed.
    pub(crate) fn finish(self) -> Result<()> {
        println!("\n=== summary");
        for step in &self.done {
            let word = if step.fault.is_some() { "FAILED" } else { "ok" };
            println!("{word:<8}{:>7.1} s  {}", step.took.as_secs_f64(), step.name);
        }
        for step in &self.done {
            if let Some(fault) = &step.fault {
                println!("{}: {fault}", step.name);
            }
        }
        let failed: Vec<&str> = self.failed().collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("{} of {} steps failed: {}", failed.len(), self.done.len(), failed.join(", "))
    }

    fn failed(&self) -> impl Iterator<Item = &str> {
        self.done.iter().filter(|step| step.fault.is_some()).map(|step| step.name.as_str())
    }
}
