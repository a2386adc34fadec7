//! Room for a new connection when there is none: one that nobody has answered goes, and never one
//! that was answered. So whoever floods, from inside or by an inside host's hand, displaces himself.

use vnet_common::{account::Reason, expire::Ticket};

use crate::{
    flow,
    kernel::{self, clock, flows::Entry, frame::Wire, maps, tickets::Line},
    translate,
};

/// Tickets looked at for one packet: most are of connections that were answered since, and are put
/// where they belong.
const TRIES: u32 = 32;

/// Ends the oldest connection that nobody has answered; `false` when there is none.
#[inline(always)]
#[must_use]
pub fn make() -> bool {
    vnet_make_room() != 0
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_make_room() -> u32 {
    let mut ended = 0;
    kernel::repeat(TRIES, end_one, &mut ended);
    ended
}

/// Looks at the oldest; returns 1 when there is room, or none can be made.
extern "C" fn end_one(_turn: u64, ended: &mut u32) -> i64 {
    let mut ticket = Ticket::default();
    if !Line::Embryonic.pop(&mut ticket) {
        return 1;
    }
    let Some(entry) = Entry::find(&ticket.key) else { return 0 };
    if entry.ticket() != ticket.number {
        return 0;
    }
    // Not what is being sent at this moment: another CPU may have it in its hands.
    if entry.replied() || entry.last_seen() == clock::now() {
        let _ = flow::enqueue(&ticket.key, ticket.number, entry.replied());
        return 0;
    }
    translate::end(&ticket.key, entry);
    maps::count(Reason::Evicted as u32, Wire { packets: 1, bytes: 0 });
    *ended = 1;
    1
}
