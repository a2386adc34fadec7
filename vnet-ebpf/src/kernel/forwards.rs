//! `forwards` and `forwarded`, which only the control plane writes, and its own `rules`.

use aya_ebpf::{
    btf_maps::{HashMap, LpmTrie, lpm_trie::Key},
    macros::btf_map,
};
use vnet_common::{
    Ipv4,
    forward::{Forward, Place, Rule},
};

use super::maps::NO_PREALLOC;

/// Prefixes that there is room for: a forward of one port is two (this host asks by its loopback
/// address, too), a range at most 60.
const PREFIXES: usize = 65_536;

#[btf_map(name = "forwards")]
static FORWARDS: LpmTrie<Place, Forward, PREFIXES> = LpmTrie::new();
#[btf_map(name = "forwarded")]
static FORWARDED: LpmTrie<Place, Forward, PREFIXES> = LpmTrie::new();
/// Only the control plane uses it. It lives here to be pinned and versioned with all else.
#[btf_map(name = "rules")]
static RULES: HashMap<u32, Rule, 8192, NO_PREALLOC> = HashMap::new();

/// The forward that leads from this port of the outside address with that number.
#[inline(always)]
#[must_use]
pub fn from_outside(number: u8, proto: u8, port: u16) -> Option<&'static Forward> {
    from(number.into(), proto, port)
}

/// The forward that leads from this port of this host's loopback addresses.
#[inline(always)]
#[must_use]
pub fn from_loopback(proto: u8, port: u16) -> Option<&'static Forward> {
    from(Place::LOOPBACK, proto, port)
}

#[inline(always)]
fn from(number: u32, proto: u8, port: u16) -> Option<&'static Forward> {
    FORWARDS.get(&Key::new(Place::BITS, Place::outside(number, proto, port)))
}

/// The forward that leads to this inside port.
#[inline(always)]
#[must_use]
pub fn to_inside(addr: Ipv4, proto: u8, port: u16) -> Option<&'static Forward> {
    FORWARDED.get(&Key::new(Place::BITS, Place::inside(addr, proto, port)))
}
