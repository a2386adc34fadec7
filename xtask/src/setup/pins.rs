//! The one table of what setup installs: names, versions, how each is recognised, and why it is
//! needed. Debian's packages carry no point release, because a security suite keeps only the
//! newest; what is pinned is the release the names and versions begin with.

use std::path::Path;

use crate::shell;

/// The linker of eBPF programs, from crates.io.
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// What the version of Debian's `rustc-web` begins with.
pub(crate) const DEBIAN_RUSTC: &str = "1.96.";

/// The rustup nightly to use where Debian's compiler is not to be had: its LLVM is one that
/// bpf-linker and the distributions have, which the newest nightly's may not be.
pub(crate) const NIGHTLY: &str = "nightly-2026-05-20";

/// A package of Debian or Ubuntu.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Its name for apt.
    pub(crate) name: String,
    /// What is there when it is installed: an absolute path, else a program's name.
    pub(crate) proof: String,
    /// What its version must begin with.
    pub(crate) version: &'static str,
    /// What vnet does with it.
    pub(crate) why: &'static str,
}

impl Package {
    fn new(name: &str, proof: &str, version: &'static str, why: &'static str) -> Self {
        Self { name: name.into(), proof: proof.into(), version, why }
    }

    /// Looks for the proof; never asks apt, so it costs next to nothing.
    pub(crate) fn is_installed(&self) -> bool {
        if self.proof.starts_with('/') {
            Path::new(&self.proof).exists()
        } else {
            shell::program(&self.proof).is_some()
        }
    }
}

/// The compiler of eBPF programs, its `core`, and its linter.
#[rustfmt::skip]
pub(crate) fn debian_compiler() -> [Package; 3] {
    [
        Package::new("rustc-web", "/usr/bin/rustc", DEBIAN_RUSTC, "compiles the eBPF programs"),
        Package::new("libstd-rust-web-dev-bpf", "/usr/lib/rustlib/bpfel-unknown-none/lib", DEBIAN_RUSTC,
            "Rust's core library for eBPF"),
        Package::new("rust-web-clippy", "/usr/bin/clippy-driver", DEBIAN_RUSTC,
            "checks the eBPF programs (cargo xtask check)"),
    ]
}

/// What bpf-linker is built against.
pub(crate) fn llvm(release: u32) -> Package {
    let proof = format!("/usr/lib/llvm-{release}/include/llvm-c/Core.h");
    Package::new(&format!("llvm-{release}-dev"), &proof, "", "bpf-linker is built against it")
}

/// What runs the fuzz targets, from crates.io.
pub(crate) const CARGO_FUZZ: &str = "0.13.2";

/// What libFuzzer is built with.
pub(crate) fn cpp() -> Package {
    Package::new("g++", "c++", "", "compiles libFuzzer (cargo xtask fuzz)")
}

/// What the tests and the demo run.
#[rustfmt::skip]
pub(crate) fn tools() -> [Package; 13] {
    [
        Package::new("bpftool", "bpftool", "", "prints eBPF maps (demo, tests)"),
        Package::new("busybox", "busybox", "", "its httpd is the demo's web server"),
        Package::new("curl", "curl", "", "the demo's web client"),
        Package::new("dnsmasq-base", "dnsmasq", "", "gives uplinks addresses by DHCP (tests)"),
        Package::new("ethtool", "ethtool", "", "switches offloads off (tests)"),
        Package::new("iperf3", "iperf3", "", "TCP and UDP load (demo)"),
        Package::new("iproute2", "ip", "", "network namespaces and links (demo, tests)"),
        Package::new("iputils-ping", "ping", "", "the demo's first client"),
        Package::new("iputils-tracepath", "tracepath", "", "finds path MTUs (tests)"),
        Package::new("mtr-tiny", "mtr", "", "traces routes again and again (tests)"),
        Package::new("nftables", "nft", "", "what vnet is compared with (tests, bench)"),
        Package::new("traceroute", "traceroute", "", "traces routes by UDP, ICMP and TCP (tests)"),
        Package::new("tcpdump", "tcpdump", "", "to watch packets in a kept demo"),
    ]
}
