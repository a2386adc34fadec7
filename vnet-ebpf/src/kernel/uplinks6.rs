//! `uplinks6` and `own6`: the address that IPv6 is masqueraded by on an uplink, and whose an address
//! is.

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use vnet_common::{
    Ipv6,
    nat66::{Own6, Uplink6, numbered},
};

use super::{addresses6::same, maps::NO_PREALLOC};
use crate::packet6::{Words, bytes, words};

#[btf_map(name = "uplinks6")]
static UPLINKS6: HashMap<u32, Uplink6, 64, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "own6")]
static OWN6: HashMap<Ipv6, Own6, 128, NO_PREALLOC> = HashMap::new();

/// The uplink with this index, if IPv6 is masqueraded there.
#[inline(always)]
#[must_use]
pub fn uplink(ifindex: u32) -> Option<&'static Uplink6> {
    // SAFETY: the control plane replaces entries whole and never edits one in place.
    unsafe { UPLINKS6.get(ifindex) }
}

/// The uplink that masquerades by this address, which it has, and its index.
#[inline(always)]
#[must_use]
pub fn owner(addr: &Words) -> Option<(u32, &'static Uplink6)> {
    let found = find(&bytes(addr))?;
    same(&words(&found.1.addr), addr).then_some(found)
}

/// The uplink whose pools have this number, and its index.
#[inline(always)]
#[must_use]
pub fn with_number(outside: u8) -> Option<(u32, &'static Uplink6)> {
    find(&numbered(outside)).filter(|(_, uplink)| uplink.outside == u32::from(outside))
}

#[inline(always)]
fn find(key: &Ipv6) -> Option<(u32, &'static Uplink6)> {
    // SAFETY: one aligned number, replaced whole.
    let link = unsafe { OWN6.get(key) }?.link;
    Some((link, uplink(link)?))
}
