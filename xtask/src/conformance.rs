//! `cargo xtask conformance`: what a NAT must do, measured on vnet and on nftables masquerade in
//! the same labs, printed and written to CONFORMANCE.md.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;

use crate::{root_user, setup, shell};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Measure only requirements whose test's name contains this; other rows stay as they are
    filter: Option<String>,
}

/// Builds, measures, prints the verdicts and writes the page.
///
/// # Errors
/// When something does not build, or a probe cannot do its work.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    for (package, program) in [("vnet-ctl", "vnetctl"), ("vnet-tests", "vnet-conformance")] {
        shell::run(&mut shell::cargo(["build", "--package", package, "--bin", program]))?;
    }
    let page = shell::root().join("CONFORMANCE.md");
    let built = shell::target_dir().join("debug").canonicalize()?;
    let mut command = command(&built)?;
    shell::run(command.args(&options.filter).arg("--write").arg(page))
}

/// The program, as root.
fn command(built: &Path) -> Result<Command> {
    let mut command = Command::new("env");
    if !root_user::is_root() {
        if shell::program("sudo").is_none() {
            bail!("network namespaces and eBPF need root: run this as root, there is no sudo");
        }
        println!("Network namespaces and eBPF need root, so sudo is used to measure.");
        command = Command::new("sudo");
        command.arg("env");
    }
    command.arg(format!("VNETCTL={}", built.join("vnetctl").display()));
    command.arg(built.join("vnet-conformance"));
    Ok(command)
}
