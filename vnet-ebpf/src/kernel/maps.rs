//! What the control plane writes, and the counters it reads.

use super::frame::Wire;
use crate::packet6::{Words, bytes};
use aya_ebpf::{
    Global,
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, LpmTrie, PerCpuArray},
    macros::btf_map,
    maps::lpm_trie::Key,
};
use vnet_common::{
    Ipv4, Ipv6,
    account::{Counter, Reason},
    policy::{Config, Link, Outside, Source, Sysctl, SysctlName, config_flag},
    prefix6::Prefix6,
};

/// Flag of maps whose entries are allocated one by one: they hold a million without failing, and
/// cost nothing while empty.
pub(super) const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
/// Entries of the maps that the loader sizes to the instance's `max_flows`.
pub(super) const SIZED_BY_LOADER: usize = 1024;

#[btf_map(name = "config")]
static CONFIG: Array<Config, 1> = Array::new();
#[btf_map(name = "links")]
static LINKS: HashMap<u32, Link, 1024, NO_PREALLOC> = HashMap::new();
/// Entries of the maps that the loader sizes to the outside addresses.
pub(super) const SIZED_BY_ADDRESSES: usize = 4;
#[btf_map(name = "outsides")]
pub(super) static OUTSIDES: Array<Outside, SIZED_BY_ADDRESSES> = Array::new();
#[btf_map(name = "sources")]
pub(super) static SOURCES: LpmTrie<Ipv4, Source, 4096> = LpmTrie::new();
/// Destinations that inside hosts reach by their own addresses.
#[btf_map(name = "exclusions")]
static EXCLUSIONS: LpmTrie<Ipv4, Source, 1024> = LpmTrie::new();
#[btf_map(name = "prefixes6")]
static PREFIXES6: LpmTrie<Ipv6, Prefix6, 1024> = LpmTrie::new();
/// Only the control plane uses it: what it must put back. It lives here to be pinned and versioned
/// with all else.
#[btf_map(name = "sysctls")]
static SYSCTLS: HashMap<SysctlName, Sysctl, 4096, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "counters")]
static COUNTERS: PerCpuArray<Counter, { Reason::ALL.len() }> = PerCpuArray::new();

/// Level of the log, 0 when it is off: said by the loader, so that the verifier removes what is not done.
#[unsafe(no_mangle)]
static VNET_LOG: Global<u8> = Global::new(0);

/// Whether anything is said: where not, there shall not even be a call.
#[inline(always)]
#[must_use]
pub fn logs() -> bool {
    VNET_LOG.load() != 0
}

/// The instance's configuration.
#[inline(always)]
#[must_use]
pub fn config() -> Option<&'static Config> {
    CONFIG.get(0)
}

/// The managed device with this index.
#[inline(always)]
#[must_use]
pub fn link(ifindex: u32) -> Option<&'static Link> {
    // SAFETY: the control plane replaces entries whole and never edits one in place.
    unsafe { LINKS.get(ifindex) }
}

/// What is known of this address.
#[inline(always)]
#[must_use]
pub fn source(addr: Ipv4) -> Option<&'static Source> {
    SOURCES.get(&Key::new(32, addr))
}

/// Whether what goes to this address is not translated.
#[inline(always)]
#[must_use]
pub fn excluded(addr: Ipv4) -> bool {
    EXCLUSIONS.get(&Key::new(32, addr)).is_some()
}

/// What becomes of an IPv6 address, given as it lies in memory.
#[inline(always)]
#[must_use]
pub fn prefix6(addr: &Words) -> Option<&'static Prefix6> {
    PREFIXES6.get(&Key::new(128, bytes(addr)))
}

/// Whether IPv6 is looked at.
#[inline(always)]
#[must_use]
pub fn ipv6() -> bool {
    config().is_some_and(|config| config.flags & config_flag::IPV6 != 0)
}

/// Interface index of the uplink that has this outside address.
#[inline(always)]
#[must_use]
pub fn outside_link(number: u8) -> Option<u32> {
    OUTSIDES.get(number.into()).map(|outside| outside.link)
}

/// The outside address with this number; `None` while its uplink has none.
#[inline(always)]
#[must_use]
pub fn outside(number: u8) -> Option<Ipv4> {
    OUTSIDES.get(number.into()).map(|outside| outside.addr).filter(|addr| *addr != [0; 4])
}

/// Counts an end.
#[inline(always)]
pub fn count(reason: u32, wire: Wire) {
    if let Some(counter) = COUNTERS.get_ptr_mut(reason) {
        // SAFETY: this CPU's own entry, and a program of this hook is not interrupted by another
        // on the same CPU while it holds it.
        unsafe {
            (*counter).packets += u64::from(wire.packets);
            (*counter).bytes += wire.bytes;
        }
    }
}
