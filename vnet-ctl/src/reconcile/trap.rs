//! A hook for tests of repair: `VNET_FAULT=N` ends the process as `kill -9` would, just before it
//! executes step N (counted from 1, over everything the command does). `VNET_FAULT=fail-N` lets step
//! N fail instead, and `VNET_FAULT=list` prints the steps and executes none, as `--dry-run` does.

use std::{env, io};

use rustix::process::{Signal, getpid, kill_process};

use super::error::Error;

const VARIABLE: &str = "VNET_FAULT";

/// Counts the steps of one command.
#[derive(Debug)]
pub(super) struct Trap {
    at: Option<u32>,
    fails: bool,
    step: u32,
}

impl Trap {
    /// As the environment says.
    pub(super) fn set() -> Self {
        let said = env::var(VARIABLE).unwrap_or_default();
        let fail = said.strip_prefix("fail-");
        Self { at: fail.unwrap_or(&said).parse().ok(), fails: fail.is_some(), step: 0 }
    }

    /// Whether the steps are to be listed only.
    pub(super) fn lists() -> bool {
        env::var(VARIABLE).is_ok_and(|at| at == "list")
    }

    /// The next step begins.
    ///
    /// # Errors
    /// When it is the one that shall fail.
    pub(super) fn step(&mut self) -> Result<(), Error> {
        self.step += 1;
        if self.at != Some(self.step) {
            return Ok(());
        }
        if self.fails {
            let source = io::Error::other(format!("{VARIABLE} says so"));
            return Err(Error::io(format!("execute step {}", self.step), source));
        }
        // Nothing may run after it: no undo, no destructors.
        let _ = kill_process(getpid(), Signal::KILL);
        Ok(())
    }
}
