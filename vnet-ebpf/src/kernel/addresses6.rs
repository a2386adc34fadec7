//! `addresses6` and what goes with it: IPv6 addresses that are in flows, and the handles that stand
//! for them there.
//!
//! A place is part of an array: it is never freed, so its uses can be counted where several CPUs
//! meet. They are raised from 0 only by who has taken the place from among the spare ones. When they
//! fall to 0, its generation is raised first, which ends its handle, and then it goes to the end of
//! the queue of spare places. So a handle stands for one address as long as anybody can have it.

use core::{
    ffi::c_void,
    ptr::{NonNull, addr_of, addr_of_mut, from_mut, from_ref},
};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    btf_maps::{Array, HashMap, Queue},
    helpers::{bpf_map_pop_elem, bpf_map_push_elem},
    macros::btf_map,
};
use vnet_common::{
    Ipv4, Ipv6,
    nat66::{ADDRESSES6, Address6, Fresh6, Handle, Standing},
};

use super::{atomic::Atomic32, maps::NO_PREALLOC};
use crate::packet6::Words;

const PLACES: usize = ADDRESSES6 as usize;

#[btf_map(name = "addresses6")]
static ADDRESSES: Array<Address6, PLACES> = Array::new();
#[btf_map(name = "handles6")]
static HANDLES: HashMap<Ipv6, Standing, PLACES, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "spare6")]
static SPARE: Queue<u32, PLACES> = Queue::new();
#[btf_map(name = "fresh6")]
static FRESH: Array<Fresh6, 1> = Array::new();

/// A place of `addresses6`.
struct Place(NonNull<Address6>);

impl Place {
    #[inline(always)]
    fn find(number: u32) -> Option<Self> {
        NonNull::new(ADDRESSES.get_ptr_mut(number)?).map(Self)
    }

    #[inline(always)]
    fn uses(&self) -> &Atomic32 {
        // SAFETY: a live, aligned field (see the module's promise), only ever changed atomically.
        unsafe { &*addr_of!((*self.0.as_ptr()).uses).cast::<Atomic32>() }
    }

    #[inline(always)]
    fn generation(&self) -> &Atomic32 {
        // SAFETY: as in `uses`.
        unsafe { &*addr_of!((*self.0.as_ptr()).generation).cast::<Atomic32>() }
    }

    /// The address in it, as it lies in memory.
    #[inline(always)]
    fn addr(&self) -> Words {
        // SAFETY: live, and aligned to the 4 bytes of the record; whoever takes the place writes it,
        // and what was read meanwhile is of another generation.
        unsafe { addr_of!((*self.0.as_ptr()).addr).cast::<Words>().read_volatile() }
    }

    /// One more use; `false` when there is none any more.
    #[inline(always)]
    fn join(&self) -> bool {
        for _ in 0..8 {
            let now = self.uses().load();
            if now == 0 {
                return false;
            }
            if self.uses().replace(now, now + 1) {
                return true;
            }
        }
        false
    }

    /// Ends its handles, and puts it among the spare ones.
    #[inline(always)]
    fn retire(&self, number: u32) {
        let _ = self.generation().increment();
        // There is room: as much as there are places.
        // SAFETY: a queue of numbers, and the helper reads a whole one.
        let _ = unsafe { bpf_map_push_elem(spare(), from_ref(&number).cast(), 0) };
    }
}

#[inline(always)]
fn spare() -> *mut c_void {
    from_ref(&SPARE).cast_mut().cast()
}

/// Number of a place that nobody has: one that nobody ever had, else the one left longest ago.
#[inline(always)]
fn next() -> Option<u32> {
    let fresh = FRESH.get_ptr_mut(0)?;
    // SAFETY: a live, aligned field, only ever changed atomically.
    let used = unsafe { &*addr_of!((*fresh).used).cast::<Atomic32>() };
    for _ in 0..8 {
        let number = used.load();
        if number >= ADDRESSES6 {
            break;
        }
        if used.replace(number, number + 1) {
            return Some(number);
        }
    }
    let mut number = 0;
    // SAFETY: a queue of numbers, and the helper writes a whole one or nothing.
    let refused = unsafe { bpf_map_pop_elem(spare(), from_mut(&mut number).cast()) };
    (refused == 0).then_some(number)
}

/// The handle of an address that is in some flow. Who wants to keep it must have a use of it.
#[inline(always)]
#[must_use]
pub fn handle(addr: &Words) -> Option<Ipv4> {
    // SAFETY: copied at once; of what may be another's by now, the generation or the address tells.
    unsafe { HANDLES.get(as_key(addr)) }.map(|standing| standing.handle)
}

/// Writes down the address that a handle stands for; `false` when that has left.
#[inline(always)]
#[must_use]
pub fn read(handle: Ipv4, addr: &mut Words) -> bool {
    let Some(handle) = Handle::read(handle) else { return false };
    let Some(place) = handle.place().and_then(Place::find) else { return false };
    *addr = place.addr();
    // After the address, so that it is of this generation.
    handle.is_of(place.generation().load())
}

/// Whether a handle stands for this address.
#[inline(always)]
#[must_use]
pub fn stands_for(handle: Ipv4, addr: &Words) -> bool {
    let Some(handle) = Handle::read(handle) else { return false };
    let Some(place) = handle.place().and_then(Place::find) else { return false };
    same(&place.addr(), addr) && handle.is_of(place.generation().load())
}

/// Whether two addresses are one, word by word.
#[inline(always)]
#[must_use]
pub fn same(a: &Words, b: &Words) -> bool {
    (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) == 0
}

/// An address in its place, as maps are keyed by it: they take it where it lies.
#[inline(always)]
fn as_key(addr: &Words) -> &Ipv6 {
    // SAFETY: as many bytes, and bytes need no alignment.
    unsafe { &*from_ref(addr).cast() }
}

/// A handle for this address, with one more use; none when there is no room, or the address was
/// leaving at this very moment.
#[inline(always)]
#[must_use]
pub fn acquire(addr: &Words) -> Option<Ipv4> {
    if let Some(found) = join(addr) {
        return Some(found);
    }
    let number = next()?;
    let place = Place::find(number)?;
    // SAFETY: nobody else writes: the place is this CPU's until it is published.
    unsafe { addr_of_mut!((*place.0.as_ptr()).addr).cast::<Words>().write_volatile(*addr) };
    let made = Handle::at(number, place.generation().load()).addr();
    place.uses().publish(1);
    if HANDLES.insert(as_key(addr), Standing { handle: made }, u64::from(BPF_NOEXIST)).is_ok() {
        return Some(made);
    }
    place.uses().publish(0);
    place.retire(number);
    join(addr)
}

/// One more use of an address that has some.
#[inline(always)]
fn join(addr: &Words) -> Option<Ipv4> {
    let found = handle(addr)?;
    join_held(found, addr).then_some(found)
}

#[inline(always)]
fn join_held(found: Ipv4, addr: &Words) -> bool {
    let place = Handle::read(found).and_then(Handle::place).and_then(Place::find);
    let Some(place) = place.filter(Place::join) else { return false };
    // From here on the place is the same address's.
    let ours = Handle::read(found).is_some_and(|found| found.is_of(place.generation().load()));
    if ours && same(&place.addr(), addr) {
        return true;
    }
    release(found);
    false
}

/// Gives back one use; nothing where it is no handle of a place.
#[inline(always)]
pub fn release(handle: Ipv4) {
    if Handle::read(handle).is_some() {
        vnet_release6(u32::from_be_bytes(handle));
    }
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_release6(handle: u32) -> u32 {
    let number = Handle::read(handle.to_be_bytes()).and_then(Handle::place);
    let Some(number) = number else { return 0 };
    let Some(place) = Place::find(number) else { return 0 };
    if place.uses().decrement() == 1 {
        // While it is there, nobody makes another one for this address.
        let _ = HANDLES.remove(as_key(&place.addr()));
        place.retire(number);
    }
    0
}
