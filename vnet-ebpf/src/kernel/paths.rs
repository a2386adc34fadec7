//! `paths`.

use core::{
    mem::offset_of,
    ptr::{NonNull, addr_of, addr_of_mut},
};

use aya_ebpf::{btf_maps::LruHashMap, macros::btf_map};
use vnet_common::{
    flow::FlowKey,
    path::{Path, PathKey, flag, written},
};

use super::{atomic::Atomic64, frame::Wire, hops::WayPlace, maps::SIZED_BY_LOADER};
use crate::{packet6::Words, shortcut::Remembered};

#[btf_map(name = "paths")]
static PATHS: LruHashMap<PathKey, Path, SIZED_BY_LOADER> = LruHashMap::new();

/// An entry of `paths`. What it says may be another's from one moment to the next: who acts on it asks
/// [`PathEntry::is_of`] after all else.
#[derive(Clone, Copy)]
pub struct PathEntry(NonNull<Path>);

/// Reads one field.
macro_rules! get {
    ($entry:expr, $field:ident) => {
        // SAFETY: the entry is a live map value of this type (see the module's promise).
        unsafe { addr_of!((*$entry.0.as_ptr()).$field).read_volatile() }
    };
}

/// Writes one field.
macro_rules! set {
    ($entry:expr, $field:ident, $value:expr) => {
        // SAFETY: as in `get`; other CPUs may write the same field, the last one wins.
        unsafe { addr_of_mut!((*$entry.0.as_ptr()).$field).write_volatile($value) }
    };
}

impl PathEntry {
    /// The entry of the packet's own tuple.
    #[inline(always)]
    #[must_use]
    pub fn find(key: &PathKey) -> Option<Self> {
        NonNull::new(PATHS.get_ptr_mut(key)?).map(Self)
    }

    /// Makes one, or makes it anew.
    #[inline(always)]
    pub fn put(key: &PathKey, path: &Path) {
        // Where there is no room, its packets go on by the kernel's way.
        let _ = PATHS.insert(key, path, 0);
    }

    /// Removes one.
    #[inline(always)]
    pub fn remove(key: &PathKey) {
        // There may be none.
        let _ = PATHS.remove(key);
    }

    /// Whether it is still the one of this check ([`check`]).
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, check: u32) -> bool {
        get!(self, check) == check
    }

    /// What is written into its packets: one of [`written`].
    #[inline(always)]
    #[must_use]
    pub fn written(&self) -> u8 {
        get!(self, written)
    }

    /// The address to write, as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub fn addr(&self) -> Words {
        const _: () = assert!(offset_of!(Path, addr) % 4 == 0);
        // SAFETY: as in `get`; on a boundary of four (asserted above).
        unsafe { addr_of!((*self.0.as_ptr()).addr).cast::<Words>().read_volatile() }
    }

    /// The port to write.
    #[inline(always)]
    #[must_use]
    pub fn port(&self) -> u16 {
        get!(self, port)
    }

    /// Key of its connection in `flows4`, if it has one.
    #[inline(always)]
    #[must_use]
    pub fn flow(&self) -> Option<FlowKey> {
        let flow = get!(self, flow);
        (flow.proto != 0).then_some(flow)
    }

    /// When it was first seen, or its connection was.
    #[inline(always)]
    #[must_use]
    pub fn first_seen(&self) -> u32 {
        get!(self, first_seen)
    }

    /// The flow label of its packets.
    #[inline(always)]
    #[must_use]
    pub fn label(&self) -> u32 {
        get!(self, label)
    }

    /// Notes another one.
    #[inline(always)]
    pub fn set_label(&self, label: u32) {
        set!(self, label, label);
    }

    /// Whether the kernel has let packets of both directions pass.
    #[inline(always)]
    #[must_use]
    pub fn accepted(&self) -> bool {
        get!(self, flags) & flag::ACCEPTED != 0
    }

    /// Notes whether it has.
    #[inline(always)]
    pub fn set_accepted(&self, accepted: bool) {
        let others = get!(self, flags) & !flag::ACCEPTED;
        set!(self, flags, if accepted { others | flag::ACCEPTED } else { others });
    }

    /// Whether it leads to the same end as this path, for the same connection.
    #[inline(always)]
    #[must_use]
    pub fn leads_to(&self, path: &Path) -> bool {
        let same_flow = path.flow.proto == 0 || get!(self, first_seen) == path.first_seen;
        let same_addr = get!(self, addr) == path.addr;
        same_flow
            && same_addr
            && get!(self, port) == path.port
            && get!(self, written) == path.written
    }

    /// Key of the other direction.
    #[inline(always)]
    #[must_use]
    pub fn twin(&self, key: &PathKey) -> PathKey {
        let (addr, port) = (get!(self, addr), get!(self, port));
        let twin = key.reversed();
        match self.written() {
            written::SOURCE => PathKey { daddr: addr, dport: port, ..twin },
            written::DESTINATION => PathKey { saddr: addr, sport: port, ..twin },
            _ => twin,
        }
    }

    /// Counts what passed, and when; nothing but when where a connection counts.
    #[inline(always)]
    pub fn count(&self, wire: Wire, now: u64) {
        let path = self.0.as_ptr();
        // SAFETY: live, aligned fields that are only ever added to, atomically.
        let (packets, bytes) = unsafe {
            (
                &*addr_of!((*path).packets).cast::<Atomic64>(),
                &*addr_of!((*path).bytes).cast::<Atomic64>(),
            )
        };
        packets.add(u64::from(wire.packets));
        bytes.add(wire.bytes);
        self.touch(now);
    }

    /// Notes when this direction last saw a packet.
    #[inline(always)]
    pub fn touch(&self, now: u64) {
        set!(self, last_seen, now);
    }
}

impl Remembered for PathEntry {
    #[inline(always)]
    fn way(&self) -> WayPlace {
        const _: () = assert!(offset_of!(Path, way) % 8 == 0);
        // SAFETY: a field of a live map value.
        WayPlace(unsafe { NonNull::new_unchecked(addr_of_mut!((*self.0.as_ptr()).way)) })
    }

    #[inline(always)]
    fn last_seen(&self) -> u64 {
        get!(self, last_seen)
    }
}

/// A number that two entries which follow each other in the same place hardly ever have in common.
#[inline(always)]
#[must_use]
pub fn check(key: &PathKey) -> u32 {
    let at = core::ptr::from_ref(key).cast::<u32>();
    let mut sum = 1;
    let mut word = 0;
    while word < size_of::<PathKey>() / 4 {
        // SAFETY: a key is so many words, on a boundary of four.
        let next: u32 = unsafe { at.add(word).read() };
        sum = (sum ^ next).wrapping_mul(0x9e37_79b1);
        word += 1;
    }
    sum
}
