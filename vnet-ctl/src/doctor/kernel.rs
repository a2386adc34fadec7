//! What the kernel can do.

use std::path::Path;

use super::Check;
use crate::bpf::{self, Feature, Loaded, Sizes};
use crate::reconcile;

/// Maps small enough to be made anywhere.
const SCRATCH: Sizes = Sizes { max_flows: 64, addresses: 1, log_level: 0, telling: 0 };

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![release(), bpffs(), btf()];
    checks.extend(bpf::features().iter().map(feature));
    checks.push(programs());
    checks.push(hooks());
    checks.push(sorter());
    checks.push(calls());
    checks
}

fn release() -> Check {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Check::ok("kernel", format!("Linux {}", release.trim()))
}

fn bpffs() -> Check {
    let name = "bpffs";
    if bpf::is_mounted() {
        return Check::ok(name, format!("is mounted on {}", bpf::ROOT));
    }
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if known.lines().any(|line| line.split_whitespace().last() == Some("bpf")) {
        Check::ok(name, "is not mounted; attach mounts it")
    } else {
        Check::fail(name, "the kernel has none", "use a kernel with CONFIG_BPF_SYSCALL")
    }
}

fn btf() -> Check {
    if Path::new("/sys/kernel/btf/vmlinux").exists() {
        Check::ok("BTF", "the kernel describes its types")
    } else {
        let advice = "use a kernel with CONFIG_DEBUG_INFO_BTF: bpftool then shows fields by name";
        Check::warn("BTF", "/sys/kernel/btf/vmlinux is not there", advice)
    }
}

fn feature(feature: &Feature) -> Check {
    let Feature { name, since, purpose, there } = feature;
    match there {
        Ok(true) => Check::ok(*name, format!("is there ({purpose})")),
        Ok(false) => {
            let advice = format!("use Linux {since} or newer; vnet needs it for {purpose}");
            Check::fail(*name, "the kernel lacks it", advice)
        }
        Err(error) => {
            Check::warn(*name, format!("could not be tried: {error}"), "see the next check")
        }
    }
}

/// The proof of the pudding: our own programs, by this kernel's own verifier.
fn programs() -> Check {
    let name = "programs";
    let loaded = Loaded::load(SCRATCH, None).and_then(|mut loaded| {
        loaded.load_programs()?;
        loaded.start_clock()
    });
    match loaded {
        Ok(()) => Check::ok(name, "are accepted by the verifier, and the clock starts"),
        Err(error) => {
            let advice = "use Linux 6.1 or newer; if this one is, please report it with this text";
            Check::fail(name, error.to_string(), advice)
        }
    }
}

/// Tried out in a namespace that is made for it and goes.
fn sorter() -> Check {
    let name = "fragments";
    match reconcile::impossible() {
        None => Check::ok(name, "are put in order by the kernel"),
        Some(why) => {
            let advice = "load nf_tables, nft_ct and nf_conntrack, or attach with --fragments ordered: \
                          fragments that come before their first are lost then";
            Check::warn(name, why, advice)
        }
    }
}

/// Tried out, too: they lead nobody.
fn calls() -> Check {
    let name = "own sockets";
    let tried = Loaded::load(SCRATCH, None).and_then(|mut loaded| {
        loaded.load_programs()?;
        loaded.try_calls()
    });
    match tried {
        Ok(()) => Check::ok(name, "are led by forwards as others are"),
        Err(error) => {
            let advice = "use a kernel with CONFIG_CGROUP_BPF, where nobody has a program on the root \
                          cgroup that lets no other be beside it (bpftool cgroup tree): until then \
                          processes of this host reach targets of forwards by their inside addresses only";
            Check::warn(name, error.to_string(), advice)
        }
    }
}

fn hooks() -> Check {
    if bpf::has_tcx() {
        Check::ok("hooks", "TCX is there: programs are replaced without a gap")
    } else {
        Check::ok("hooks", "no TCX (Linux 6.6): the filters of clsact are used instead")
    }
}
