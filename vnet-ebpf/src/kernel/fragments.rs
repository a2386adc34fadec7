//! `fragments`, `strays` and `serial`.

use core::ptr::addr_of;

use aya_ebpf::{
    btf_maps::{Array, LruHashMap},
    macros::btf_map,
};
use vnet_common::fragment::{Datagram, FragmentKey, Serial};

use super::atomic::Atomic32;

/// Datagrams each of the maps has room for. The kernel hands room out to CPUs by the hundred, so
/// it must be more than are under way at once.
const ROOM: usize = 4096;

#[btf_map(name = "fragments")]
static FRAGMENTS: LruHashMap<FragmentKey, Datagram, ROOM> = LruHashMap::new();
/// Apart from the others, because anybody can send fragments that no flow wants.
#[btf_map(name = "strays")]
static STRAYS: LruHashMap<FragmentKey, Datagram, ROOM> = LruHashMap::new();
#[btf_map(name = "serial")]
static SERIAL: Array<Serial, 1> = Array::new();

/// What is noted of a datagram. What is known of flows counts more than what strangers make us note.
#[inline(always)]
#[must_use]
pub fn find(key: &FragmentKey) -> Option<&'static Datagram> {
    // SAFETY: entries are written whole; one that is reused this moment was the least recently used
    // of thousands, while this one is being used.
    unsafe { FRAGMENTS.get(key).or_else(|| STRAYS.get(key)) }
}

/// Notes a datagram that belongs to a flow.
#[inline(always)]
#[must_use]
pub fn note(key: &FragmentKey, datagram: &Datagram) -> bool {
    FRAGMENTS.insert(key, datagram, 0).is_ok()
}

/// Notes a datagram that belongs to none.
#[inline(always)]
pub fn note_stray(key: &FragmentKey, datagram: &Datagram) {
    // What has no room is not noted: what follows is judged by itself then.
    let _ = STRAYS.insert(key, datagram, 0);
}

/// Forgets a datagram that belongs to a flow after all.
#[inline(always)]
pub fn forget_stray(key: &FragmentKey) {
    // There may be none.
    let _ = STRAYS.remove(key);
}

/// An identification that no other datagram of this instance has had for long.
#[inline(always)]
#[must_use]
pub fn fresh_id() -> u16 {
    fresh_id6() as u16
}

/// The same for IPv6, where it is longer.
#[inline(always)]
#[must_use]
pub fn fresh_id6() -> u32 {
    let Some(serial) = SERIAL.get_ptr_mut(0) else { return 0 };
    // SAFETY: a live, aligned field, only ever changed atomically.
    let id = unsafe { &*addr_of!((*serial).id).cast::<Atomic32>() };
    id.decrement()
}
