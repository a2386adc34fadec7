//! The programs this command needs from the host, installed when missing.
//!
//! Packages come through a private view of apt's suites, so no source is added to the machine.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Installed, Mirrors, output};
use super::talk::Talk;

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// What the guests use, with the Debian package that brings it.
pub(super) const USERLAND: [(&str, &str); 7] = [
    ("busybox", "busybox-static"),
    ("dash", "dash"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
];

/// What unpacks modules here.
const UNPACKERS: [(&str, &str); 2] = [("xz", "xz-utils"), ("zstd", "zstd")];

/// The path of `program`, looked for where administrators' tools live as well.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"]);
    folders.map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

/// Installs what is missing; does nothing, not even ask apt, when all is there.
pub(super) fn ensure_installed(cache: &Path, talk: &Talk) -> Result<()> {
    let mut packages: Vec<&str> = USERLAND
        .iter()
        .chain(&UNPACKERS)
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    let qemu = find(QEMU).is_none();
    if packages.is_empty() && !qemu {
        return Ok(());
    }
    let mirrors = Mirrors::of_system()?;
    if !packages.is_empty() {
        let suites = [&*mirrors.codename, &*format!("{}-security", mirrors.codename)];
        let apt = Apt::open(&cache.join("apt/host"), &mirrors, &suites, Installed::System)?;
        let words = packages.join(", ");
        let step =
            talk.step(&format!("Installing {words}: the guests' tools are copied from here"));
        install(&apt, None, &packages)?;
        step.done(&format!("Installed {words}"));
    }
    if qemu { install_qemu(cache, &mirrors, talk) } else { Ok(()) }
}

/// Prefers the release's backports: the QEMU 7.2 of Debian 12 itself sometimes corrupts the memory
/// of Linux 6.12 guests with two processors, QEMU 10 does not.
fn install_qemu(cache: &Path, mirrors: &Mirrors, talk: &Talk) -> Result<()> {
    let step = talk.step("Installing QEMU (boots the other kernels): looking in backports");
    let backports = format!("{}-backports", mirrors.codename);
    let own = [&*mirrors.codename, &*format!("{}-security", mirrors.codename)];
    let folder = cache.join("apt/host");
    let with_backports = [own[0], own[1], &*backports];
    match Apt::open(&folder, mirrors, &with_backports, Installed::System) {
        Ok(apt) => {
            step.say(&format!("Installing QEMU from {backports}, which is known to be sound"));
            install(&apt, Some(&backports), &[QEMU_PACKAGE])?;
        }
        Err(error) => {
            step.say(&format!("Installing this release's own QEMU: no {backports} ({error:#})"));
            let apt = Apt::open(&folder, mirrors, &own, Installed::System)?;
            install(&apt, None, &[QEMU_PACKAGE])?;
        }
    }
    step.done("Installed QEMU; apt's configuration is as it was");
    Ok(())
}

/// Installs `packages`, unless that would remove something the machine has.
fn install(apt: &Apt, release: Option<&str>, packages: &[&str]) -> Result<()> {
    let request = |words: &[&str]| {
        let mut request: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        request.extend(release.map(|release| format!("--target-release={release}")));
        request.push("--no-install-recommends".to_owned());
        request.extend(packages.iter().map(|&package| package.to_owned()));
        request
    };
    let plan = output(apt.command("apt-get").args(request(&["--simulate", "install"])))?;
    let removed = removals(&plan);
    if !removed.is_empty() {
        bail!(
            "installing {} would remove {}; install it by hand if that is wanted",
            packages.join(", "),
            removed.join(", ")
        );
    }
    let plain = apt.command("apt-get");
    let mut command = as_root(plain)?;
    command.env("DEBIAN_FRONTEND", "noninteractive");
    output(command.args(["-o", "DPkg::Lock::Timeout=300"]).args(request(&["--yes", "install"])))
        .with_context(|| format!("cannot install {}", packages.join(", ")))?;
    Ok(())
}

/// `command` through sudo, unless we are root.
fn as_root(command: Command) -> Result<Command> {
    let owner = std::fs::metadata("/proc/self").context("cannot read /proc/self")?.uid();
    if owner == 0 {
        return Ok(command);
    }
    if find("sudo").is_none() {
        bail!("installing packages needs root, and there is no sudo; run this once as root");
    }
    let mut raised = Command::new("sudo");
    raised
        .arg("DEBIAN_FRONTEND=noninteractive")
        .arg(command.get_program())
        .args(command.get_args());
    Ok(raised)
}

/// The packages a simulated installation would remove.
fn removals(plan: &str) -> Vec<&str> {
    let lines = plan.lines().filter_map(|line| line.strip_prefix("Remv "));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_removes_is_seen() {
        let plan = "Inst qemu-system-x86 (1:7.2 Debian)\nRemv qemu-utils [1:10.0]\nConf a\n";
        assert_eq!(removals(plan), ["qemu-utils"]);
        assert!(removals("Inst a (1)\n").is_empty());
    }
}
