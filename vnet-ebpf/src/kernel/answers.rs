//! `answers`: what is left of the budgets of ICMP answers; `syns`: SYNs that were not let in.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};
use vnet_common::{
    Ipv4,
    answer::{Budget, Unsolicited},
    flow::FlowKey,
};

/// Those who were told of late. Who is pushed out has a full budget again.
#[btf_map(name = "answers")]
static ANSWERS: LruHashMap<Ipv4, Budget, 4096> = LruHashMap::new();

/// Of a flood of them the last ones are known.
#[btf_map(name = "syns")]
static SYNS: LruHashMap<FlowKey, Unsolicited, 4096> = LruHashMap::new();

/// In the place of an address: the budget of all together who get this code of "unreachable".
#[inline(always)]
#[must_use]
pub const fn all(code: u32) -> Ipv4 {
    [0, 0, 0, code as u8]
}

/// What is left for an address.
#[inline(always)]
#[must_use]
pub fn budget(of: Ipv4) -> Budget {
    // SAFETY: one aligned number, which others may replace at any time.
    unsafe { ANSWERS.get(of) }.copied().unwrap_or_default()
}

/// Notes what is left; `false` when there is no room.
#[inline(always)]
#[must_use]
pub fn keep(of: Ipv4, budget: &Budget) -> bool {
    ANSWERS.insert(of, budget, u64::from(BPF_ANY)).is_ok()
}

/// When this SYN was first seen, if it was: one that is not its retransmission is another.
#[inline(always)]
#[must_use]
pub fn first_seen(key: &FlowKey, sequence: u32) -> Option<u64> {
    // SAFETY: entries are inserted whole and never edited in place.
    let known = unsafe { SYNS.get(key) }?;
    (known.sequence == sequence).then_some(known.since)
}

/// Remembers a SYN. Without memory for it there is silence for longer.
#[inline(always)]
pub fn remember(key: &FlowKey, syn: &Unsolicited) {
    let _ = SYNS.insert(key, syn, u64::from(BPF_ANY));
}
