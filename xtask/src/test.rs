//! `cargo xtask test`: the whole test suite, as CI runs it, on this machine's kernel and on others.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{kernels, next, root_user, setup, shell};

/// What to test.
#[derive(Args, Default)]
pub(crate) struct Options {
    /// Run only tests whose name contains this
    filter: Option<String>,
    /// Also boot these kernels under QEMU and test there, such as 6.1,6.12,7.2
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    kernels: Vec<String>,
}

/// Runs the tests and says how many were skipped and why.
pub(crate) fn run(options: &Options) -> Result<()> {
    setup::run()?;
    here(options.filter.as_deref())?;
    if options.kernels.is_empty() {
        Ok(())
    } else {
        kernels::run(&options.kernels, options.filter.as_deref())
    }
}

/// The tests on this machine's own kernel.
pub(crate) fn here(filter: Option<&str>) -> Result<()> {
    build_vnetctl()?;
    let next = next::build()?;
    let skipped = shell::target_dir().join("skipped-tests");
    let _ = fs::remove_file(&skipped);
    let mut tests = shell::cargo(["test", "--workspace", "--no-fail-fast"]);
    as_root(&mut tests);
    tests.args(filter).env("VNET_SKIPPED", &skipped).env("VNET_NEXT", &next);
    let ended = shell::run(&mut tests);
    report_skipped(&skipped);
    ended
}

/// The stories run the real program, which `cargo test` alone would not build.
pub(crate) fn build_vnetctl() -> Result<()> {
    shell::run(&mut shell::cargo(["build", "--package", "vnet-ctl", "--bin", "vnetctl"]))
}

/// Test programs make network namespaces and load eBPF. Only they run as root, not the compiler.
pub(crate) fn as_root(tests: &mut Command) {
    if root_user::is_root() {
        return;
    }
    if shell::program("sudo").is_none() {
        println!(
            "These tests make network namespaces and load eBPF, which needs root: without it \
                  (and without sudo) the ones that do will fail."
        );
        return;
    }
    println!(
        "These tests make network namespaces and load eBPF, which needs root: sudo is used to \
              run them and may ask for a password."
    );
    tests.args(["--config", "target.'cfg(unix)'.runner = 'sudo --preserve-env'"]);
}

fn report_skipped(list: &Path) {
    let Ok(text) = fs::read_to_string(list) else { return };
    println!("\n{} tests were skipped on this kernel:", text.lines().count());
    text.lines().for_each(|line| println!("  {line}"));
}
