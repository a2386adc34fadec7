//! `cargo xtask check`: everything that can be judged without running vnet. Warnings are errors.

mod house;
mod links;
mod source;

use std::env::consts::ARCH;
use std::process::Command;

use anyhow::{Result, anyhow, bail};

use crate::steps::Steps;
use crate::{setup, shell, toolchain};

/// Runs every check and prints a summary.
///
/// # Errors
/// When any check failed.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let mut steps = Steps::default();
    all(&mut steps);
    steps.finish()
}

/// The checks, one step each.
pub(crate) fn all(steps: &mut Steps) {
    steps.run("house rules", house_rules);
    steps.run("format", || shell::run(&mut shell::cargo(["fmt", "--all", "--check"])));
    steps.run("clippy for the host", || {
        let words = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        shell::run(&mut shell::cargo(words))
    });
    steps.run("clippy for eBPF", || shell::run(&mut ebpf_clippy()?));
    steps.run("documentation", || shell::run(&mut documentation()));
}

fn house_rules() -> Result<()> {
    let mut faults = house::faults(shell::root())?;
    faults.extend(links::dead(shell::root())?);
    faults.iter().for_each(|fault| println!("{fault}"));
    match faults.len() {
        0 => Ok(()),
        count => bail!("{count} places break a rule of the house"),
    }
}

/// Clippy as `cargo clippy` runs it, but the compiler's own one: the host's is of another release.
fn ebpf_clippy() -> Result<Command> {
    let tools = toolchain::find().map_err(|missing| anyhow!("{missing}"))?;
    let driver = tools.compiler.rustc.with_file_name("clippy-driver");
    if !driver.exists() {
        bail!("{} is not there: install the clippy of that compiler", driver.display());
    }
    let target_dir = shell::target_dir().join("bpf");
    let mut command = tools.cargo("check", shell::root(), &target_dir, ARCH);
    command.env("RUSTC_WORKSPACE_WRAPPER", driver);
    command.env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__");
    Ok(command)
}

/// Private items too: most of what is documented here is private, and its links may be dead.
fn documentation() -> Command {
    let mut command = shell::cargo(["doc", "--workspace", "--no-deps", "--document-private-items"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    command
}
