//! `answers`: what is left of the budgets of ICMP answers.

use aya_ebpf::{bindings::BPF_ANY, btf_maps::LruHashMap, macros::btf_map};
use vnet_common::{Ipv4, answer::Budget};

/// Those who were told of late. Who is pushed out has a full budget again.
#[btf_map(name = "answers")]
static ANSWERS: LruHashMap<Ipv4, Budget, 4096> = LruHashMap::new();

/// In the place of an address: the budget of all together.
pub const ALL: Ipv4 = [0; 4];

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
