//! Expiry: the timer looks at the oldest tickets, once a second.

use core::ffi::c_void;

use vnet_common::{
    expire::{Ticket, period},
    flow::proto,
    policy::{Config, config_flag},
    port::WORDS,
    tcp::State,
    translate::pool,
};

use crate::{
    flow,
    kernel::{
        self, clock,
        flows::Entry,
        maps, ports,
        tickets::Line,
        timer::{self, Clock},
    },
    translate,
};

const SECOND: u64 = 1_000_000_000;
/// Tickets looked at in one go: about a millisecond's work.
const BATCH: u32 = 2048;
/// Pause before the next go while tickets are still due.
const PAUSE: u64 = SECOND / 100;

/// Starts the instance's timer, or hands it over to this version of the programs.
#[inline(always)]
#[must_use]
pub fn start() -> i32 {
    timer::arm(tick, SECOND) as i32
}

extern "C" fn tick(_map: *mut c_void, _key: *mut u32, clock: &mut Clock) -> i64 {
    rotate_if_due();
    kernel::repeat(BATCH, look_at_one, &mut 0);
    kernel::repeat(BATCH, look_at_embryonic, &mut 0);
    let ticket = &mut Ticket::default();
    let behind = due(Line::Settled, ticket) || due(Line::Embryonic, ticket);
    timer::rearm(clock, if behind { PAUSE } else { SECOND });
    0
}

/// Whether the oldest ticket of a queue has waited its time.
#[inline(always)]
fn due(line: Line, oldest: &mut Ticket) -> bool {
    let Some(config) = maps::config() else { return false };
    line.peek(oldest) && clock::seconds().wrapping_sub(oldest.since) >= period(config)
}

/// Returns 1 when nothing more is due.
extern "C" fn look_at_one(_turn: u64, _context: &mut u32) -> i64 {
    look(Line::Settled)
}

/// The same, where connections are that nobody has answered.
extern "C" fn look_at_embryonic(_turn: u64, _context: &mut u32) -> i64 {
    look(Line::Embryonic)
}

#[inline(always)]
fn look(line: Line) -> i64 {
    let mut ticket = Ticket::default();
    if !due(line, &mut ticket) || !line.pop(&mut ticket) {
        return 1;
    }
    if let Some(config) = maps::config() {
        examine(&ticket, config);
    }
    0
}

/// Removes the ticket's connection if it has been idle too long, else puts the ticket back.
#[inline(always)]
fn examine(ticket: &Ticket, config: &Config) {
    let Some(entry) = Entry::find(&ticket.key) else { return };
    if entry.ticket() != ticket.number {
        return;
    }
    let idle = clock::now().saturating_sub(last_seen(&entry, ticket.key.proto, config));
    if idle < u64::from(timeout(&entry, ticket.key.proto, config)) * SECOND {
        // There is room: as much as there may be connections.
        let _ = flow::enqueue(&ticket.key, ticket.number, entry.replied());
        return;
    }
    translate::end(&ticket.key, entry);
}

/// When the connection last saw a packet that keeps it alive.
#[inline(always)]
fn last_seen(entry: &Entry, protocol: u8, config: &Config) -> u64 {
    let out = entry.last_seen();
    // Who came through a forward is outside: what it sends is what keeps the connection alive.
    let outbound_only = protocol == proto::UDP && !entry.forwarded();
    if outbound_only && config.flags & config_flag::INBOUND_REFRESH == 0 {
        return out;
    }
    Entry::find(&entry.twin(protocol)).map_or(out, |twin| out.max(twin.last_seen()))
}

/// Seconds a connection may be idle.
#[inline(always)]
fn timeout(entry: &Entry, protocol: u8, config: &Config) -> u32 {
    match protocol {
        proto::TCP if entry.state() == Some(State::Established) => config.tcp_established,
        proto::TCP => config.tcp_transitory,
        proto::ICMP => config.icmp,
        _ => config.udp,
    }
}

/// Lets ports that have rested become free.
#[inline(always)]
fn rotate_if_due() {
    let (Some(config), Some(pool)) = (maps::config(), ports::pool(0)) else { return };
    if pool.rotated_before(u64::from(clock::seconds()), u64::from(config.port_rest)) {
        kernel::repeat(config.addresses * pool::PER_ADDRESS * WORDS as u32, rotate_one, &mut 0);
    }
}

extern "C" fn rotate_one(turn: u64, _context: &mut u32) -> i64 {
    let turn = turn as u32;
    if let Some(pool) = ports::pool(turn / WORDS as u32) {
        pool.rotate_word(turn as usize % WORDS);
    }
    0
}
