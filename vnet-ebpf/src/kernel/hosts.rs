//! `hosts`: what inside hosts have, counted by all CPUs at once.

use core::ptr::{NonNull, addr_of, addr_of_mut};

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::LruHashMap, macros::btf_map};
use vnet_common::{Ipv4, host::Host};

use super::atomic::Atomic32;

/// Those who have been seen last. Who is pushed out is counted anew.
#[btf_map(name = "hosts")]
static HOSTS: LruHashMap<Ipv4, Host, 16384> = LruHashMap::new();

/// What of a host is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its mappings.
    Mappings,
    /// Its connections.
    Flows,
}

/// A block of ports, as it is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Outside address.
    pub addr: Ipv4,
    /// First port.
    pub min: u16,
    /// Last port.
    pub max: u16,
}

/// An entry of `hosts`. One that is pushed out may become another host's under the hand: then a
/// number is wrong by one, and a limit with it.
#[derive(Clone, Copy)]
pub struct Account(NonNull<Host>);

impl Account {
    /// That of a host, if it has one.
    #[inline(always)]
    #[must_use]
    pub fn find(addr: Ipv4) -> Option<Self> {
        NonNull::new(HOSTS.get_ptr_mut(addr)?).map(Self)
    }

    /// That of a host, made if it has none.
    #[inline(always)]
    #[must_use]
    pub fn open(addr: Ipv4) -> Option<Self> {
        Self::find(addr).or_else(|| {
            // Another CPU may have made it at this moment: it is found all the same.
            let _ = HOSTS.insert(addr, Host::default(), u64::from(BPF_NOEXIST));
            Self::find(addr)
        })
    }

    #[inline(always)]
    fn number(&self, what: What) -> &Atomic32 {
        let host = self.0.as_ptr();
        // SAFETY: live, aligned fields, only ever changed through this type.
        unsafe {
            match what {
                What::Mappings => &*addr_of!((*host).mappings).cast::<Atomic32>(),
                What::Flows => &*addr_of!((*host).flows).cast::<Atomic32>(),
            }
        }
    }

    /// One more, unless there are `limit` already; 0 = no limit.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, what: What, limit: u32) -> bool {
        let number = self.number(what);
        let before = number.increment();
        if limit != 0 && before >= limit {
            let _ = number.decrement();
            return false;
        }
        true
    }

    /// One fewer; never below none. `true` when that was the last.
    #[inline(always)]
    pub fn give_back(&self, what: What) -> bool {
        let number = self.number(what);
        number.load() != 0 && number.decrement() == 1
    }

    /// Notes that the host, which has just got a mapping, uses this block; `true` if that is news.
    #[inline(always)]
    #[must_use]
    pub fn begin(&self, block: Block) -> bool {
        let (told, host) = (self.told(), self.0.as_ptr());
        let (before, now) = (told.load(), u32::from_ne_bytes(block.addr));
        // A first mapping is news whatever was told while nobody listened for its end.
        let news = self.number(What::Mappings).load() <= 1 || before != now;
        if !news || !told.replace(before, now) {
            return false;
        }
        // SAFETY: live, aligned fields; who notes them at the same time notes the same.
        unsafe {
            addr_of_mut!((*host).min).write_volatile(block.min);
            addr_of_mut!((*host).max).write_volatile(block.max);
        }
        true
    }

    /// Notes that the host uses no block any more, and returns which it was, if that is news.
    #[inline(always)]
    #[must_use]
    pub fn cease(&self) -> Option<Block> {
        let (told, host) = (self.told(), self.0.as_ptr());
        let before = told.load();
        if before == 0 || !told.replace(before, 0) {
            return None;
        }
        // SAFETY: live, aligned fields.
        let (min, max) = unsafe {
            (addr_of!((*host).min).read_volatile(), addr_of!((*host).max).read_volatile())
        };
        Some(Block { addr: before.to_ne_bytes(), min, max })
    }

    #[inline(always)]
    fn told(&self) -> &Atomic32 {
        // SAFETY: a live, aligned field, only ever changed through this type.
        unsafe { &*addr_of!((*self.0.as_ptr()).told).cast::<Atomic32>() }
    }
}
