//! bpf-linker: is the right one installed, can it be built here, and building it.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::{apt, pins};
use crate::{shell, toolchain};

/// The releases of LLVM that the pinned bpf-linker has a feature for.
const RELEASES: std::ops::RangeInclusive<u32> = 21..=23;

/// Whether a bpf-linker is here that can link what a compiler with this LLVM emits. One that cargo
/// has no record of was put there on purpose, and is trusted.
pub(crate) fn is_installed(llvm: u32) -> bool {
    let Some(linker) = toolchain::linker() else { return false };
    let Some(built_with) = linker.llvm else { return true };
    let record = linker.path.ancestors().nth(2).unwrap_or(Path::new("")).join(".crates2.json");
    let pinned = format!("\"bpf-linker {} ", pins::BPF_LINKER);
    built_with >= llvm && fs::read_to_string(record).is_ok_and(|text| text.contains(&pinned))
}

/// Whether a bpf-linker for this LLVM can be built: its development files are here or in apt.
pub(crate) fn can_build(llvm: u32) -> bool {
    let package = pins::llvm(llvm);
    RELEASES.contains(&llvm) && (package.is_installed() || apt::offers(&package))
}

/// Builds the pinned bpf-linker from crates.io into cargo's own directory; needs no root.
pub(crate) fn install(llvm: u32) -> Result<()> {
    if !RELEASES.contains(&llvm) {
        bail!(
            "the compiler's LLVM is {llvm}, but bpf-linker {} knows only {} to {}; set {}=debian \
             or install another nightly",
            pins::BPF_LINKER,
            RELEASES.start(),
            RELEASES.end(),
            toolchain::FORCE
        );
    }
    let feature = format!("llvm-{llvm}");
    let mut command = shell::cargo(["install", "bpf-linker", "--version", pins::BPF_LINKER]);
    command.args(["--locked", "--force", "--no-default-features", "--features", &feature]);
    command.env("LLVM_PREFIX", format!("/usr/lib/llvm-{llvm}"));
    println!("Running: {}", shell::shown(&command));
    shell::run_quietly("building bpf-linker (one to three minutes)", &mut command)
}
