//! `vnet_ports`: what the control plane has done to ports and connections by the datapath's own
//! atomic hands, because a map that is written from user space knows no "unless somebody else".
//!
//! Promise: every order can be repeated, and holds while packets pass.

use vnet_common::{
    flow::FlowKey,
    forward::{Order, order},
};

use crate::{
    kernel::{self, flows::Entry, frame::Frame, ports},
    packet::Bytes as _,
    port::Range,
    translate,
};

const EINVAL: i32 = -22;

/// Carries out the order in the bytes of the packet: what [`order`] says it returns, or a negative
/// errno.
#[inline(always)]
#[must_use]
pub fn obey(frame: &Frame) -> i32 {
    let Some(words) = frame.words::<{ size_of::<Order>() / 4 }>(0) else { return EINVAL };
    let half = |word: u32| (word as u16, (word >> 16) as u16);
    let ((first, last), (sport, dport)) = (half(words[2]), half(words[5]));
    match words[0] {
        order::TAKE | order::GIVE => {
            range(words[0], words[1], Range { min: first, max: last }).cast_signed()
        }
        order::END => {
            let (saddr, daddr) = (words[3].to_ne_bytes(), words[4].to_ne_bytes());
            let proto = words[6] as u8;
            let key = FlowKey { saddr, daddr, sport, dport, proto, reserved: [0; 3] };
            if let Some(entry) = Entry::find(&key) {
                translate::end(&key, entry);
            }
            0
        }
        _ => EINVAL,
    }
}

/// A walk over the words of a set that hold ports of one parity.
struct Walk {
    what: u32,
    pool: u32,
    /// First position.
    from: u32,
    /// Last position.
    last: u32,
    /// Ports that could not be had.
    missing: u32,
}

/// Takes or gives the ports of a range; returns how many somebody holds.
#[inline(always)]
fn range(what: u32, pool: u32, range: Range) -> u32 {
    let mut walk = Walk { what, pool, from: 0, last: 0, missing: 0 };
    for parity in [0, 1] {
        let half = range.positions(parity);
        if half != Range::NONE {
            (walk.from, walk.last) = (half.min.into(), half.max.into());
            kernel::repeat(((walk.last >> 6) - (walk.from >> 6)) + 1, word, &mut walk);
        }
    }
    walk.missing
}

extern "C" fn word(turn: u64, walk: &mut Walk) -> i64 {
    let Some(pool) = ports::pool(walk.pool) else { return 1 };
    let number = (walk.from >> 6) + turn as u32;
    let mut bits = u64::MAX;
    if turn == 0 {
        bits &= u64::MAX << (walk.from & 63);
    }
    if number == walk.last >> 6 {
        bits &= u64::MAX >> (63 - (walk.last & 63));
    }
    if walk.what == order::TAKE {
        let reserved = pool.reserve_word(number as usize, bits);
        walk.missing += (bits & !reserved).count_ones();
    } else {
        pool.unreserve_word(number as usize, bits);
    }
    0
}
