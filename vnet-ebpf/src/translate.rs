//! Mappings: one outside port for an inside endpoint, whoever it talks to.

use vnet_common::{
    account::Reason,
    flow::{FlowKey, proto},
    policy::Config,
    translate::{Endpoint, Mapping, pool},
};

use crate::{
    kernel::{
        self, clock,
        flows::{Refusal, insert_mapping, mapping, remove_mapping},
        frame::Frame,
        ports::{self, Slot},
        socket::{self, Socket},
    },
    opening::Opening,
    port::{Pool, Range},
};

/// Every identifier of an ICMP query may be used: `--ports` is about ports.
const IDENTIFIERS: Range = Range { min: 0, max: u16::MAX };
/// Ports tried for one packet. More than one is needed only where a host's socket owns what was
/// found, which is then set aside, or where another CPU claimed it first.
const TRIES: u32 = 256;

/// Gives the opening its port, with one more use: that of its mapping, else of a new one. Not
/// inlined: it is off the steady path and needs a stack frame of its own.
#[inline(never)]
pub fn acquire(frame: &Frame, opening: &mut Opening, config: &Config) -> Result<(), Reason> {
    opening.port = port_of(frame, opening, config)?;
    Ok(())
}

#[inline(always)]
fn port_of(frame: &Frame, opening: &Opening, config: &Config) -> Result<u16, Reason> {
    let endpoint = opening.endpoint();
    let number = pool::number(opening.outside, endpoint.proto).ok_or(Reason::Protocol)?;
    if let Some(found) = mapping(&endpoint) {
        return join(number, &endpoint, found);
    }
    let pool = ports::pool(number).ok_or(Reason::PortsExhausted)?;
    let port = choose(frame, opening, config, number, pool).ok_or(Reason::PortsExhausted)?;
    let slot = Slot::find(number, port).ok_or(Reason::PortsExhausted)?;
    slot.give(&endpoint);
    let new = Mapping { addr: opening.addr, port, reserved: 0, created: clock::now() };
    match insert_mapping(&endpoint, &new) {
        Ok(()) => Ok(port),
        Err(refusal) => {
            // The last use is this one: nobody else can have found the slot by the mapping.
            let _ = slot.leave();
            pool.free.add(port);
            Err(match refusal {
                // Another CPU made it at this moment; the next packet finds it.
                Refusal::Exists => Reason::MappingRace,
                Refusal::Full => Reason::FlowsFull,
            })
        }
    }
}

#[inline(always)]
fn join(number: u32, endpoint: &Endpoint, found: &Mapping) -> Result<u16, Reason> {
    let slot = Slot::find(number, found.port).ok_or(Reason::MappingRace)?;
    if slot.join() {
        if slot.is_of(endpoint) {
            return Ok(found.port);
        }
        release(endpoint, found.port);
    }
    Err(Reason::MappingRace)
}

/// Gives back one use; with the last one the mapping ends and the port rests.
#[inline(always)]
pub fn release(endpoint: &Endpoint, port: u16) {
    let Some(number) = pool::number(endpoint.outside, endpoint.proto) else { return };
    let Some(slot) = Slot::find(number, port) else { return };
    if slot.leave() {
        remove_mapping(endpoint);
        if let Some(pool) = ports::pool(number) {
            pool.resting.add(port);
        }
    }
}

/// Claims a port: the endpoint's own if it can be had, else any of the range.
#[inline(always)]
fn choose(
    frame: &Frame,
    opening: &Opening,
    config: &Config,
    number: u32,
    pool: &Pool,
) -> Option<u16> {
    if opening.by_host() && pool.claim(opening.key.sport, true) {
        return Some(opening.key.sport);
    }
    let range = range(opening.key.proto, config);
    let mut search = Search { frame, opening, range, number, stage: Stage::Own, found: None };
    kernel::repeat(TRIES, look, &mut search);
    search.found
}

/// A search for a port that no socket of the host owns.
struct Search<'a> {
    frame: &'a Frame,
    opening: &'a Opening,
    range: Range,
    number: u32,
    stage: Stage,
    found: Option<u16>,
}

/// Where a search looks next: at the endpoint's own port, then at any that is free, and when none
/// is, at those that have rested, longest first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Own,
    Free,
    Rested,
    Resting,
}

/// One try; returns 1 when the search is over.
extern "C" fn look(_turn: u64, search: &mut Search<'_>) -> i64 {
    let Some(pool) = ports::pool(search.number) else { return 1 };
    let set = match search.stage {
        Stage::Own => None,
        Stage::Free => Some(&pool.free),
        Stage::Rested => Some(&pool.rested),
        Stage::Resting => Some(&pool.resting),
    };
    let (port, claimed) = match set {
        None => {
            search.stage = Stage::Free;
            (search.opening.key.sport, claim_own(pool, search))
        }
        Some(set) => match set.any(search.range, clock::random() as u16) {
            Some(port) => (port, set.claim(port)),
            None => return next_stage(search),
        },
    };
    if claimed && is_sockets(search.frame, search.opening, port) {
        pool.resting.add(port);
    } else if claimed {
        search.found = Some(port);
        return 1;
    }
    0
}

/// The endpoint's own port need not have rested when its host had it last.
#[inline(always)]
fn claim_own(pool: &Pool, search: &Search<'_>) -> bool {
    let key = &search.opening.key;
    let again = Slot::find(search.number, key.sport).is_some_and(|slot| slot.is_host(key.saddr));
    search.range.contains(key.sport) && pool.claim(key.sport, again)
}

/// Nothing there: looks elsewhere, or ends the search.
#[inline(always)]
fn next_stage(search: &mut Search<'_>) -> i64 {
    match search.stage {
        Stage::Own | Stage::Free => search.stage = Stage::Rested,
        Stage::Rested => search.stage = Stage::Resting,
        Stage::Resting => return 1,
    }
    0
}

#[inline(always)]
fn range(protocol: u8, config: &Config) -> Range {
    match protocol {
        proto::ICMP => IDENTIFIERS,
        _ => Range { min: config.port_min, max: config.port_max },
    }
}

/// Whether a socket of this host would receive the answers sent to `port`.
#[inline(always)]
fn is_sockets(frame: &Frame, opening: &Opening, port: u16) -> bool {
    let answer = FlowKey {
        saddr: opening.key.daddr,
        daddr: opening.addr,
        sport: opening.key.dport,
        dport: port,
        proto: opening.key.proto,
        reserved: [0; 3],
    };
    socket::receiver(frame, &answer) != Socket::None
}
