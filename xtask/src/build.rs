//! `cargo xtask build`: vnetctl as users get it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{setup, shell};

/// Builds vnetctl in release mode and says where it is.
pub(crate) fn run() -> Result<()> {
    setup::run()?;
    let path = vnetctl()?;
    let size = fs::metadata(&path)?.len();
    println!("{} ({:.1} MB, eBPF programs included)", path.display(), size as f64 / 1e6);
    Ok(())
}

/// Builds vnetctl in release mode and returns its path.
pub(crate) fn vnetctl() -> Result<PathBuf> {
    let build = ["build", "--release", "--package", "vnet-ctl", "--bin", "vnetctl"];
    shell::run(&mut shell::cargo(build))?;
    let path = shell::target_dir().join("release/vnetctl");
    path.canonicalize().with_context(|| format!("cargo left no {}", path.display()))
}
