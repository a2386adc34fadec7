//! Installing packages of Debian or Ubuntu. Only apt needs root: as another user sudo is used, and
//! without sudo the command to run is printed instead.

use std::process::Command;

use anyhow::{Result, bail};

use super::pins::{self, Package};
use crate::{root_user, shell};

/// Installs the packages, after `apt-get update` when the lists here do not know them all.
///
/// # Errors
/// When apt is not there, not allowed, does not have a package, or fails.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let names: Vec<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    if shell::program("apt-get").is_none() {
        bail!(
            "there is no apt-get here, so setup cannot install anything; install what these \
             packages of Debian contain by hand: {}",
            names.join(" ")
        );
    }
    let as_root = as_root(&names)?;
    let known = packages.iter().all(offers);
    if !known {
        update(&as_root)?;
    }
    if let Some(unknown) = packages.iter().find(|package| !offers(package)) {
        bail!("{}", what_to_do_without(unknown));
    }
    let installed = add(&as_root, &names);
    if installed.is_err() && known {
        // Lists from long ago name files that the mirrors no longer have.
        update(&as_root)?;
        return add(&as_root, &names);
    }
    installed
}

/// Whether apt's lists here have the package in the wanted version.
pub(crate) fn offers(package: &Package) -> bool {
    let mut policy = Command::new("apt-cache");
    policy.env("LC_ALL", "C").args(["policy", &package.name]);
    let answer = shell::output(&mut policy).unwrap_or_default();
    let candidate = answer.lines().find_map(|line| line.trim().strip_prefix("Candidate: "));
    candidate.is_some_and(|version| version != "(none)" && version.starts_with(package.version))
}

fn update(as_root: &[&str]) -> Result<()> {
    run("updating apt's package lists", as_root, &["update"])
}

/// `--no-remove`: what someone has installed is never taken away to make room.
fn add(as_root: &[&str], names: &[&str]) -> Result<()> {
    let mut words = vec!["install", "--yes", "--no-install-recommends", "--no-remove"];
    words.extend(names);
    run("installing packages", as_root, &words)
}

fn run(what: &str, as_root: &[&str], words: &[&str]) -> Result<()> {
    let line = [as_root, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], words].concat();
    let mut command = Command::new(line[0]);
    command.args(&line[1..]);
    println!("Running: {}", shell::shown(&command));
    shell::run_quietly(what, &mut command)
}

/// The words that make a command run as root; none for root itself.
fn as_root(names: &[&str]) -> Result<Vec<&'static str>> {
    if root_user::is_root() {
        return Ok(Vec::new());
    }
    if shell::program("sudo").is_none() {
        bail!(
            "installing packages needs root, and there is no sudo here. As root, run\n\n  apt-get \
             update && apt-get install --no-install-recommends {}\n\nand then `cargo xtask setup` \
             again",
            names.join(" ")
        );
    }
    println!(
        "Installing packages needs root, so sudo is used for apt-get and may ask for a password."
    );
    shell::run(Command::new("sudo").arg("--validate"))?;
    Ok(vec!["sudo"])
}

fn what_to_do_without(package: &Package) -> String {
    let name = &package.name;
    if name.contains("rust") {
        return format!(
            "apt has no {name} {}x here. Debian 12 has it in its security suite (bookworm-security, \
             component main). Elsewhere (Ubuntu, say) use a nightly: run `rustup toolchain install \
             {} --profile minimal --component rust-src,clippy`, then `cargo xtask setup` again",
            package.version,
            pins::NIGHTLY
        );
    }
    if name.starts_with("llvm-") {
        let release = name.trim_start_matches("llvm-").trim_end_matches("-dev");
        return format!(
            "apt has no {name} here. Add LLVM's own archive as https://apt.llvm.org says \
             (`llvm.sh {release}`), then run `cargo xtask setup` again"
        );
    }
    format!("apt has no package {name} here ({}); install it by hand", package.why)
}
