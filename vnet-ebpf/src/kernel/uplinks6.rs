//! `uplinks6` and `own6`: the address that IPv6 is masqueraded by on an uplink, and whose an address
//! is.

use core::ptr::addr_of;

use aya_ebpf::{btf_maps::HashMap, macros::btf_map};
use vnet_common::{
    Ipv6,
    nat66::{Own6, Uplink6, numbered},
};

use super::{addresses6::same, atomic::Atomic32, maps::NO_PREALLOC};
use crate::packet6::{Words, bytes, words};

#[btf_map(name = "uplinks6")]
static UPLINKS6: HashMap<u32, Uplink6, 64, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "own6")]
static OWN6: HashMap<Ipv6, Own6, 128, NO_PREALLOC> = HashMap::new();

/// The uplink with this index, if IPv6 is masqueraded there.
#[inline(always)]
#[must_use]
pub fn uplink(ifindex: u32) -> Option<&'static Uplink6> {
    // SAFETY: entries are replaced whole and not edited in place, but for `checked`, which nobody
    // reads but `refresh`.
    unsafe { UPLINKS6.get(ifindex) }
}

/// The uplink that masquerades by this address, which it has, and its index.
#[inline(always)]
#[must_use]
pub fn owner(addr: &Words) -> Option<(u32, &'static Uplink6)> {
    let found = find(&bytes(addr))?;
    (same(&words(&found.1.addr), addr) && found.1.gone == 0).then_some(found)
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

/// Takes it upon this CPU to ask the kernel at this tick; `false` when somebody has.
#[inline(always)]
#[must_use]
pub fn refresh(ifindex: u32, tick: u32) -> bool {
    let Some(uplink) = UPLINKS6.get_ptr_mut(ifindex) else { return false };
    // SAFETY: a live, aligned integer that is only exchanged whole.
    let checked = unsafe { &*addr_of!((*uplink).checked).cast::<Atomic32>() };
    let before = checked.load();
    before != tick && checked.replace(before, tick)
}

/// What is to be said of an uplink from now on.
#[inline(always)]
pub fn set(ifindex: u32, uplink: &Uplink6) {
    let Some(before) = self::uplink(ifindex) else { return };
    if before.addr != uplink.addr {
        let _ = OWN6.insert(uplink.addr, Own6 { link: ifindex }, 0);
        let _ = OWN6.remove(before.addr);
    }
    // Where there is no memory, the next tick tries again.
    let _ = UPLINKS6.insert(ifindex, uplink, 0);
}
