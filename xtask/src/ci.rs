//! `cargo xtask ci`: what continuous integration runs, and any developer can: the checks, all
//! tests here and on the oldest supported kernel, the refusal on one too old, a benchmark's smoke
//! test, and the demo from a clean clone.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{self, Command};

use anyhow::{Context, Result};

use crate::steps::Steps;
use crate::{bench, check, kernels, setup, shell, test};

/// The oldest kernel that vnet supports, and one too old, which must be refused.
const OTHER_KERNELS: [&str; 2] = ["6.1", "5.10"];

/// What is tested there: that everything loads, and the stories of what kernels differ in. A guest
/// without KVM takes an hour for all of them, which `cargo xtask test --kernels 6.1` runs.
const ON_OTHER_KERNELS: &str = "every_ the_log_costs talk:: error:: host:: inbound:: expiry:: \
                                fragment:: hairpin:: counters:: vlan:: publish:: nat66:: shortcut xdp::";

/// Runs everything, to the end, and prints a summary.
///
/// # Errors
/// When any step failed.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    steps.run("setup", setup::run);
    check::all(&mut steps);
    steps.run("tests on this kernel", || test::here(None));
    steps.run("tests on other kernels", || {
        println!("Only tests whose names contain one of: {ON_OTHER_KERNELS}");
        kernels::run(&OTHER_KERNELS.map(str::to_owned), Some(ON_OTHER_KERNELS))
    });
    steps.run("benchmark (does it run?)", || bench::run(&bench::Options::smoke()));
    steps.run("demo from a clean clone", demo_from_clean_clone);
    steps.finish()
}

/// Clones what is committed, and runs the first command a newcomer would. Nothing is shared with
/// this checkout but what setup installed and the crates cargo has downloaded.
fn demo_from_clean_clone() -> Result<()> {
    let clone = Clone::make()?;
    let mut demo = Command::new("cargo");
    demo.args(["xtask", "demo"]).current_dir(&clone.0);
    for (name, _) in env::vars_os() {
        // The directories and the manifest of the cargo that runs this xtask are not the clone's.
        let text = name.to_string_lossy();
        if text.starts_with("CARGO") && text != "CARGO_HOME" {
            demo.env_remove(&name);
        }
    }
    shell::run(&mut demo)
}

/// A clone that goes away with this value.
struct Clone(PathBuf);

impl Clone {
    fn make() -> Result<Self> {
        let clone = Self(env::temp_dir().join(format!("vnet-clone-{}", process::id())));
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--no-hardlinks"]).arg(shell::root()).arg(&clone.0);
        shell::output(&mut git).context("the committed state cannot be cloned")?;
        Ok(clone)
    }
}

impl Drop for Clone {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
