//! `fragments6` and `strays6`: the same for IPv6 as `fragments` and `strays`.

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use vnet_common::nat66::{Datagram6, FragmentKey6};

/// As many as of IPv4.
const ROOM: usize = 4096;

#[btf_map(name = "fragments6")]
static FRAGMENTS: LruHashMap<FragmentKey6, Datagram6, ROOM> = LruHashMap::new();
#[btf_map(name = "strays6")]
static STRAYS: LruHashMap<FragmentKey6, Datagram6, ROOM> = LruHashMap::new();

/// What is noted of a datagram. What is known of flows counts more than what strangers make us note.
#[inline(always)]
#[must_use]
pub fn find(key: &FragmentKey6) -> Option<&'static Datagram6> {
    // SAFETY: as in `fragments::find`.
    unsafe { FRAGMENTS.get(key).or_else(|| STRAYS.get(key)) }
}

/// Notes a datagram that belongs to a flow.
#[inline(always)]
#[must_use]
pub fn note(key: &FragmentKey6, datagram: &Datagram6) -> bool {
    FRAGMENTS.insert(key, datagram, 0).is_ok()
}

/// Notes a datagram that belongs to none.
#[inline(always)]
pub fn note_stray(key: &FragmentKey6, datagram: &Datagram6) {
    // What has no room is not noted: what follows is judged by itself then.
    let _ = STRAYS.insert(key, datagram, 0);
}

/// Forgets a datagram that belongs to a flow after all.
#[inline(always)]
pub fn forget_stray(key: &FragmentKey6) {
    // There may be none.
    let _ = STRAYS.remove(key);
}
