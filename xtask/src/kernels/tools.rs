//! The programs this command needs from the host, installed when missing.
//!
//! Packages come through a private view of apt's suites, so no source is added to the machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::apt::{Apt, Installed, Mirrors};
use super::talk::Talk;
use crate::root_user;
use crate::shell::{output, program};

/// The emulator.
pub(super) const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// What the guests use, with the Debian package that brings it.
pub(super) const USERLAND: [(&str, &str); 15] = [
    ("busybox", "busybox"),
    ("dash", "dash"),
    ("ip", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("ethtool", "ethtool"),
    ("ping", "iputils-ping"),
    ("curl", "curl"),
    ("dnsmasq", "dnsmasq-base"),
    ("iperf3", "iperf3"),
    ("mtr", "mtr-tiny"),
    ("mtr-packet", "mtr-tiny"),
    ("tracepath", "iputils-tracepath"),
    ("traceroute", "traceroute"),
    ("wg", "wireguard-tools"),
];

/// What unpacks modules here.
const UNPACKERS: [(&str, &str); 2] = [("xz", "xz-utils"), ("zstd", "zstd")];

/// Installs what is missing; does nothing, not even ask apt, when all is there.
pub(super) fn ensure_installed(cache: &Path, talk: &Talk) -> Result<()> {
    let mut packages: Vec<&str> = USERLAND
        .iter()
        .chain(&UNPACKERS)
        .filter(|(name, _)| program(name).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    let qemu = program(QEMU).is_none();
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

/// Installs `packages`. `--no-remove`: what someone has installed is not taken away to make room, as
/// QEMU 7.2 would take a newer qemu-utils.
fn install(apt: &Apt, release: Option<&str>, packages: &[&str]) -> Result<()> {
    let mut command = apt.command("apt-get");
    command.args(["install", "--yes", "--no-install-recommends", "--no-remove"]);
    command.args(["-o", "DPkg::Lock::Timeout=300"]);
    command.args(release.map(|release| format!("--target-release={release}")));
    command.args(packages);
    output(&mut as_root(&command)?)
        .with_context(|| format!("cannot install {}", packages.join(", ")))?;
    Ok(())
}

/// `command` without questions, and through sudo unless we are root.
fn as_root(command: &Command) -> Result<Command> {
    let mut raised = if root_user::is_root() {
        Command::new("env")
    } else if program("sudo").is_some() {
        Command::new("sudo")
    } else {
        bail!("installing packages needs root, and there is no sudo; run this once as root");
    };
    raised.arg("DEBIAN_FRONTEND=noninteractive");
    raised.arg(command.get_program()).args(command.get_args());
    Ok(raised)
}
