//! Mappings: one outside port for an inside endpoint, whoever it talks to.

use vnet_common::{
    account::Reason,
    flow::{FlowKey, proto},
    policy::Config,
    translate::{Endpoint, Mapping, pool},
};

use crate::{
    flow,
    kernel::{
        self, clock,
        flows::{Entry, Refusal, insert_mapping, mapping, remove_mapping},
        frame::Frame,
        ports::{self, Slot},
        socket::{self, Socket},
    },
    opening::Opening,
    port::{Look, Pool, Range, Set},
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
    let endpoint = opening.endpoint();
    let number = pool::number(opening.outside, endpoint.proto).ok_or(Reason::Protocol)?;
    if mapping(&endpoint).is_none() && make(frame, opening, config, number)? {
        return Ok(());
    }
    let found = mapping(&endpoint).ok_or(Reason::MappingRace)?;
    join(frame, opening, number, found.port)
}

/// Makes a mapping with one use; `false` when another CPU made it at this moment.
#[inline(always)]
fn make(
    frame: &Frame,
    opening: &mut Opening,
    config: &Config,
    number: u32,
) -> Result<bool, Reason> {
    let pool = ports::pool(number).ok_or(Reason::PortsExhausted)?;
    let port = choose(frame, opening, config, number, pool).ok_or(Reason::PortsExhausted)?;
    let slot = Slot::find(number, port).ok_or(Reason::PortsExhausted)?;
    let new = Mapping { addr: opening.addr, port, reserved: 0, created: clock::now() };
    match insert_mapping(&opening.endpoint(), &new) {
        Ok(()) => {
            // Until now the mapping had no uses, and nobody could join it.
            slot.give(opening);
            opening.port = port;
            Ok(true)
        }
        Err(refusal) => {
            pool.free.add(port);
            match refusal {
                Refusal::Exists => Ok(false),
                Refusal::Full => Err(Reason::FlowsFull),
            }
        }
    }
}

/// One more use of the mapping that is there. A socket of this host may have the same port towards
/// another destination since before the mapping was made; its conversations are not for sale.
#[inline(always)]
fn join(frame: &Frame, opening: &mut Opening, number: u32, port: u16) -> Result<(), Reason> {
    let slot = Slot::find(number, port).ok_or(Reason::MappingRace)?;
    if !slot.join() {
        return Err(Reason::MappingRace);
    }
    let ours = slot.holder() == (opening.key.saddr, opening.key.sport);
    if ours && (opening.by_host() || !is_sockets(frame, opening, port)) {
        opening.port = port;
        return Ok(());
    }
    release(opening.outside, opening.key.proto, port);
    Err(if ours { Reason::SocketClash } else { Reason::MappingRace })
}

/// Gives back one use; with the last one the mapping ends and the port rests.
#[inline(always)]
pub fn release(outside: u8, proto: u8, port: u16) {
    let Some(number) = pool::number(outside, proto) else { return };
    let Some(slot) = Slot::find(number, port) else { return };
    let (addr, inside) = slot.holder();
    if slot.leave() {
        let endpoint = Endpoint { addr, port: inside, proto, outside };
        if mapping(&endpoint).is_some_and(|mapping| mapping.port == port) {
            remove_mapping(&endpoint);
        }
        if let Some(pool) = ports::pool(number) {
            pool.resting.add(port);
        }
    }
}

/// Ends a connection: removes both entries and gives back its use of the mapping. Not inlined, as
/// all that is off the steady path.
#[inline(never)]
pub fn end(key: &FlowKey, entry: Entry) {
    let (outside, port) = (entry.outside(), entry.target().sport);
    if flow::forget(key, &entry.twin(key.proto)) {
        release(outside, key.proto, port);
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
    let (stage, from) = (config.reserved, opening.key.sport);
    let mut search = Search { frame, opening, range, number, stage, from, found: None };
    kernel::repeat(TRIES, look, &mut search);
    search.found
}

/// A search for a port that no socket of the host owns.
struct Search<'a> {
    frame: &'a Frame,
    opening: &'a Opening,
    range: Range,
    number: u32,
    /// One of [`stage`].
    stage: u32,
    /// The port to look from.
    from: u16,
    found: Option<u16>,
}

/// Where a search looks. Numbers, and the first one read from the map: kernels before 6.7 walk the
/// step of a loop only once, with what they know of its context before the first turn, and would
/// take out whatever other values lead to. After the first stage, each set has two: from anywhere to
/// the end of the range, and from the start of the range.
mod stage {
    /// At the endpoint's own port.
    pub(super) const OWN: u32 = 0;
    /// At those that are free.
    pub(super) const FREE: u32 = 1;
    /// At those that have rested longest.
    pub(super) const RESTED: u32 = 3;
    /// At those that have not.
    pub(super) const RESTING: u32 = 5;
    /// Nowhere.
    pub(super) const END: u32 = 7;
}

/// One try; returns 1 when the search is over.
extern "C" fn look(_turn: u64, search: &mut Search<'_>) -> i64 {
    let Some(pool) = ports::pool(search.number) else { return 1 };
    let (port, claimed) = match set(pool, search.stage) {
        None => {
            let claimed = claim_own(pool, search);
            next_stage(search);
            (search.opening.key.sport, claimed)
        }
        Some(set) => match set.look(search.from) {
            Look::Found(port) if port <= search.range.max => (port, set.claim(port)),
            Look::On(port) => {
                search.from = port;
                return 0;
            }
            Look::Found(_) | Look::Empty => return next_stage(search),
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

/// The set that is looked at; none for the endpoint's own port.
#[inline(always)]
fn set(pool: &Pool, stage: u32) -> Option<&Set> {
    match stage {
        stage::OWN => None,
        stage::FREE..stage::RESTED => Some(&pool.free),
        stage::RESTED..stage::RESTING => Some(&pool.rested),
        _ => Some(&pool.resting),
    }
}

/// The endpoint's own port need not have rested when its host had it last.
#[inline(always)]
fn claim_own(pool: &Pool, search: &Search<'_>) -> bool {
    let key = &search.opening.key;
    let again =
        Slot::find(search.number, key.sport).is_some_and(|slot| slot.holder().0 == key.saddr);
    search.range.contains(key.sport) && pool.claim(key.sport, again)
}

/// Looks elsewhere from now on; returns 1 when everything was looked at.
#[inline(always)]
fn next_stage(search: &mut Search<'_>) -> i64 {
    search.stage += 1;
    let anywhere = clock::random() as u16;
    let first = search.stage & 1 == 1 && search.range.contains(anywhere);
    search.from = if first { anywhere } else { search.range.min };
    i64::from(search.stage >= stage::END)
}

#[inline(always)]
fn range(protocol: u8, config: &Config) -> Range {
    match protocol {
        proto::ICMP => IDENTIFIERS,
        _ => Range { min: config.port_min, max: config.port_max },
    }
}

/// Whether a socket of this host would receive the answers sent to `port`. Not inlined, so that the
/// verifier forgets on which way it came here.
#[inline(never)]
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
