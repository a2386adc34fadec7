//! `tickets` and `embryonic`: every connection has one ticket in one of them.

use core::ffi::c_void;

use aya_ebpf::{
    btf_maps::Queue,
    helpers::{bpf_map_peek_elem, bpf_map_pop_elem, bpf_map_push_elem},
    macros::btf_map,
};
use vnet_common::expire::Ticket;

use super::maps::SIZED_BY_LOADER;

#[btf_map(name = "tickets")]
static TICKETS: Queue<Ticket, SIZED_BY_LOADER> = Queue::new();
#[btf_map(name = "embryonic")]
static EMBRYONIC: Queue<Ticket, SIZED_BY_LOADER> = Queue::new();

/// One of the queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Connections that were answered, and those for which the other one has no room.
    Settled,
    /// Connections that nobody has answered yet.
    Embryonic,
}

impl Line {
    /// Joins it; `false` when it is full.
    #[inline(always)]
    #[must_use]
    pub fn push(self, ticket: &Ticket) -> bool {
        // SAFETY: both are queues of tickets, and the helper reads a whole one.
        unsafe { bpf_map_push_elem(self.map(), core::ptr::from_ref(ticket).cast(), 0) == 0 }
    }

    /// Reads the ticket that has waited longest; `false` when there is none.
    #[inline(always)]
    #[must_use]
    pub fn peek(self, ticket: &mut Ticket) -> bool {
        // SAFETY: as in `push`; the helper writes a whole ticket or nothing.
        unsafe { bpf_map_peek_elem(self.map(), core::ptr::from_mut(ticket).cast()) == 0 }
    }

    /// Takes the ticket that has waited longest; `false` when there is none.
    #[inline(always)]
    #[must_use]
    pub fn pop(self, ticket: &mut Ticket) -> bool {
        // SAFETY: as in `peek`.
        unsafe { bpf_map_pop_elem(self.map(), core::ptr::from_mut(ticket).cast()) == 0 }
    }

    /// The queue as helpers take it. They fill a ticket that the caller has; a ticket returned by
    /// value may be half undefined, and kernels before 6.3 refuse to see that moved around.
    #[inline(always)]
    fn map(self) -> *mut c_void {
        match self {
            Self::Settled => core::ptr::from_ref(&TICKETS).cast_mut().cast(),
            Self::Embryonic => core::ptr::from_ref(&EMBRYONIC).cast_mut().cast(),
        }
    }
}
