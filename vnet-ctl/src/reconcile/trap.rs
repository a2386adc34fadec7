//! A hook for tests of repair: `VNET_FAULT=N` ends the process as `kill -9` would, just before it
//! executes step N (counted from 1, over everything the command does). `VNET_FAULT=list` prints
//! the steps instead of executing them, as `--dry-run` does.

use std::env;

use rustix::process::{Signal, getpid, kill_process};

const VARIABLE: &str = "VNET_FAULT";

/// Counts the steps of one command.
#[derive(Debug)]
pub(super) struct Trap {
    at: Option<u32>,
    step: u32,
}

impl Trap {
    /// As the environment says.
    pub(super) fn set() -> Self {
        let at = env::var(VARIABLE).ok().and_then(|at| at.parse().ok());
        Self { at, step: 0 }
    }

    /// Whether the steps are to be listed only.
    pub(super) fn lists() -> bool {
        env::var(VARIABLE).is_ok_and(|at| at == "list")
    }

    /// The next step begins.
    pub(super) fn step(&mut self) {
        self.step += 1;
        if self.at == Some(self.step) {
            // Nothing may run after it: no undo, no destructors.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}
