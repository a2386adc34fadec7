//! Asking the kernel what it can do, instead of guessing by its version.

use aya::maps::MapType;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported, is_map_supported};

/// Something the programs need, and whether the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name in the kernel.
    pub name: &'static str,
    /// The first Linux that has it.
    pub since: &'static str,
    /// What it is needed for.
    pub purpose: &'static str,
    /// Whether it is there; `Err` when it could not be found out.
    pub there: Result<bool, String>,
}

/// Helpers the programs call, the Linux that brought them, and what for.
const HELPERS: [(BpfHelper, &str, &str, &str); 6] = [
    (BpfHelper::BPF_FUNC_timer_init, "bpf_timer", "5.15", "expiry without a daemon"),
    (BpfHelper::BPF_FUNC_loop, "bpf_loop", "5.17", "expiry in bounded steps"),
    (
        BpfHelper::BPF_FUNC_ktime_get_coarse_ns,
        "bpf_ktime_get_coarse_ns",
        "5.11",
        "cheap time stamps",
    ),
    (
        BpfHelper::BPF_FUNC_skc_lookup_tcp,
        "bpf_skc_lookup_tcp",
        "5.2",
        "ports of this host's sockets",
    ),
    (
        BpfHelper::BPF_FUNC_sk_lookup_udp,
        "bpf_sk_lookup_udp",
        "4.20",
        "ports of this host's sockets",
    ),
    (BpfHelper::BPF_FUNC_l4_csum_replace, "bpf_l4_csum_replace", "4.1", "checksums"),
];

/// Kinds of map the programs use.
const MAPS: [(MapType, &str, &str, &str); 3] = [
    (MapType::LpmTrie, "LPM trie maps", "4.11", "inside prefixes"),
    (MapType::Queue, "queue maps", "4.20", "expiry"),
    (MapType::RingBuf, "ring buffers", "5.8", "the datapath's log"),
];

/// Everything the programs need of the kernel.
#[must_use]
pub fn features() -> Vec<Feature> {
    let helpers = HELPERS.into_iter().map(|(helper, name, since, purpose)| {
        let there = is_helper_supported(ProgramType::SchedClassifier, helper);
        Feature { name, since, purpose, there: there.map_err(|error| error.to_string()) }
    });
    let maps = MAPS.into_iter().map(|(kind, name, since, purpose)| {
        let there = is_map_supported(kind).map_err(|error| error.to_string());
        Feature { name, since, purpose, there }
    });
    helpers.chain(maps).collect()
}
