//! `pools` and `owners`: outside ports and who holds them.

use core::ptr::{NonNull, addr_of, addr_of_mut};

use aya_ebpf::{btf_maps::Array, macros::btf_map};
use vnet_common::{
    Ipv4,
    port::PortPool,
    translate::{Endpoint, Owner, owner_index, pool},
};

use super::atomic::Atomic32;
use crate::port::Pool;

/// Room for every outside address an instance can have.
#[btf_map(name = "owners")]
static OWNERS: Array<Owner, { (pool::COUNT as usize) << 16 }> = Array::new();
#[btf_map(name = "pools")]
static POOLS: Array<PortPool, { pool::COUNT as usize }> = Array::new();

/// Pool number `number`.
#[inline(always)]
#[must_use]
pub fn pool(number: u32) -> Option<&'static Pool> {
    let pool: *const Pool = POOLS.get_ptr(number)?.cast();
    // SAFETY: `Pool` has the layout of `PortPool` with atomics in the place of integers (sizes are
    // asserted beside it), and array entries live as long as the map.
    Some(unsafe { &*pool })
}

/// The slot of an outside port. Slots are part of an array: never freed, never another port's.
#[derive(Clone, Copy)]
pub struct Slot(NonNull<Owner>);

impl Slot {
    /// The slot of `port` in pool number `pool`.
    #[inline(always)]
    #[must_use]
    pub fn find(pool: u32, port: u16) -> Option<Self> {
        NonNull::new(OWNERS.get_ptr_mut(owner_index(pool, port))?).map(Self)
    }

    #[inline(always)]
    fn uses(&self) -> &Atomic32 {
        // SAFETY: a live, aligned field (see `find`), only ever changed through this type.
        unsafe { &*addr_of!((*self.0.as_ptr()).uses).cast::<Atomic32>() }
    }

    /// Whether any mapping holds the port.
    #[inline(always)]
    #[must_use]
    pub fn held(&self) -> bool {
        self.uses().load() != 0
    }

    /// Whether `endpoint` holds the port, or was the last one to.
    #[inline(always)]
    #[must_use]
    pub fn is_of(&self, endpoint: &Endpoint) -> bool {
        let owner = self.0.as_ptr();
        // SAFETY: live fields; the holder of the port's bit is the only one who writes them.
        let (addr, port) =
            unsafe { (addr_of!((*owner).addr).read(), addr_of!((*owner).port).read()) };
        addr == endpoint.addr && port == endpoint.port
    }

    /// Whether the host with this address holds the port, or was the last one to.
    #[inline(always)]
    #[must_use]
    pub fn is_host(&self, addr: Ipv4) -> bool {
        // SAFETY: as in `is_of`.
        unsafe { addr_of!((*self.0.as_ptr()).addr).read() == addr }
    }

    /// Gives the port to `endpoint` with one use. Only who claimed the port's bit may call it.
    #[inline(always)]
    pub fn give(&self, endpoint: &Endpoint) {
        let owner = self.0.as_ptr();
        // SAFETY: as in `is_of`; the caller holds the bit, so nobody else writes.
        unsafe {
            addr_of_mut!((*owner).addr).write(endpoint.addr);
            addr_of_mut!((*owner).port).write(endpoint.port);
        }
        self.uses().store(1);
    }

    /// One more flow uses the mapping; `false` when it has just ended.
    #[inline(always)]
    #[must_use]
    pub fn join(&self) -> bool {
        let uses = self.uses();
        for _ in 0..8 {
            let now = uses.load();
            if now == 0 {
                return false;
            }
            if uses.replace(now, now + 1) {
                return true;
            }
        }
        false
    }

    /// One flow fewer; `true` when it was the last, and the caller must give the port back.
    #[inline(always)]
    #[must_use]
    pub fn leave(&self) -> bool {
        self.uses().decrement() == 1
    }
}
