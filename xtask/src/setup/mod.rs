//! `cargo xtask setup`: installs what is missing on a Debian or Ubuntu that has rustup's stable
//! Rust, and nothing else. It looks first, says what it will do and why, does it, and looks again.
//! When nothing is missing it only looks, which takes no measurable time.

mod apt;
mod linker;
mod pins;

use anyhow::{Result, bail};

use self::pins::Package;
use crate::shell;
use crate::toolchain::{self, Compiler, Way};

/// Everything that is not as it should be.
struct Missing {
    /// A package, and what it is wanted for.
    packages: Vec<Package>,
    /// The LLVM release that bpf-linker must be built with, when it must be built.
    linker: Option<u32>,
}

/// Installs what is missing.
///
/// # Errors
/// When something cannot be installed here; the sentence says what to do by hand.
pub(crate) fn run() -> Result<()> {
    let missing = look()?;
    if missing.packages.is_empty() && missing.linker.is_none() {
        return announce_ready();
    }
    println!("vnet needs a few things that are not installed yet:");
    for package in &missing.packages {
        println!("  {:<26} {}", package.name, package.why);
    }
    if let Some(llvm) = missing.linker {
        let name = format!("bpf-linker {}", pins::BPF_LINKER);
        println!("  {name:<26} links the eBPF programs (from crates.io, built with LLVM {llvm})");
    }
    install(&missing)?;
    let still = look()?;
    if let Some(package) = still.packages.first() {
        bail!("{} was installed, but `{}` is still not there", package.name, package.proof);
    }
    announce_ready()
}

/// Installs what only fuzzing needs; it runs on the host, so it needs nothing else of setup's.
///
/// # Errors
/// As [`run`].
pub(crate) fn fuzzer() -> Result<()> {
    if !pins::cpp().is_installed() {
        apt::install(&[pins::cpp()])?;
    }
    if shell::output(&mut shell::cargo(["fuzz", "--version"])).is_ok() {
        return Ok(());
    }
    let words = ["install", "cargo-fuzz", "--locked", "--version", pins::CARGO_FUZZ];
    shell::run_quietly("building cargo-fuzz (one to two minutes)", &mut shell::cargo(words))
}

/// The one line of a finished setup: what will build the eBPF object.
fn announce_ready() -> Result<()> {
    match toolchain::find() {
        Ok(found) => {
            let (target, linker) = (toolchain::TARGET, found.linker.path.display());
            println!("Everything is installed. eBPF ({target}): {} and {linker}.", found.compiler);
            Ok(())
        }
        Err(missing) => bail!("setup ran to its end, but {missing}"),
    }
}

fn look() -> Result<Missing> {
    let compiler = choose()?;
    let llvm = compiler.as_ref().map_or(toolchain::DEBIAN_LLVM, |c| c.llvm);
    let linker = (!linker::is_installed(llvm)).then_some(llvm);
    let mut packages: Vec<Package> = Vec::new();
    if compiler.as_ref().is_none_or(|c| c.way == Way::Debian) {
        packages.extend(pins::debian_compiler());
    }
    if linker.is_some() {
        packages.push(pins::llvm(llvm));
    }
    packages.extend(pins::tools());
    packages.retain(|package| !package.is_installed());
    Ok(Missing { packages, linker })
}

/// The compiler to use: the first that is here and for which a linker is here or can be built.
fn choose() -> Result<Option<Compiler>> {
    let here = toolchain::compilers().map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let ready = here.iter().find(|c| linker::is_installed(c.llvm));
    Ok(ready.or_else(|| here.iter().find(|c| linker::can_build(c.llvm))).cloned())
}

fn install(missing: &Missing) -> Result<()> {
    if !missing.packages.is_empty() {
        apt::install(&missing.packages)?;
    }
    match missing.linker {
        Some(llvm) => linker::install(llvm),
        None => Ok(()),
    }
}
