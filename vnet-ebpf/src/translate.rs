//! Mappings: one outside port for an inside endpoint, whoever it talks to.

use vnet_common::{
    account::Reason,
    event::kind,
    flow::FlowKey,
    policy::filtering,
    port::port_at,
    translate::{Endpoint, Mapping, Peer, pool},
};

use crate::{
    flow, forward, host,
    kernel::{
        self, addresses6, clock,
        desk::desk,
        events,
        flows::{Entry, Refusal, insert_mapping, mapping, remove_mapping, remove_peer},
        frame::Frame,
        hosts::What,
        maps,
        ports::{self, Slot},
        socket::{self, Socket},
    },
    opening::Opening,
    port::{Look, Pool, Range, Set},
};

/// Ports tried for one packet. More than one is needed only where a host's socket owns what was
/// found, which is then set aside, or where another CPU claimed it first.
const TRIES: u32 = 256;

/// Finds the port for the opening on the desk: that of its mapping, else one that is claimed for a
/// new one, which is counted for its host then. Apart from what follows, because a search calls deep,
/// and there is little stack.
#[inline(always)]
pub fn seek(frame: &mut Frame) -> Result<(), Reason> {
    let on = desk().ok_or(Reason::Unmanaged)?;
    on.search = Search::START;
    let endpoint = on.opening.endpoint();
    let Some(number) = pool::number(endpoint.outside, endpoint.proto) else { return Ok(()) };
    if let Some(found) = mapping(&endpoint) {
        on.search.port = found.port;
        // A socket of this host may have the same port towards another destination since before the
        // mapping was made; its conversations are not for sale.
        let clash = !on.opening.by_host() && is_sockets(frame, &on.opening, found.port);
        return if clash { Err(Reason::SocketClash) } else { Ok(()) };
    }
    host::map(&on.opening)?;
    if choose(frame, number) != 0 {
        return Ok(());
    }
    host::give_back(endpoint.addr, What::Mappings, flags());
    Err(Reason::PortsExhausted)
}

/// Flags of the opening on the desk.
#[inline(always)]
fn flags() -> u8 {
    desk().map_or(0, |desk| desk.opening.flags)
}

/// Gives the opening on the desk the port that [`seek`] has found, with one more use: that of its
/// mapping, else of a new one. `false` when another CPU has made that at this moment.
#[inline(always)]
pub fn acquire() -> Result<bool, Reason> {
    let on = desk().ok_or(Reason::Unmanaged)?;
    let endpoint = on.opening.endpoint();
    let Some(number) = pool::number(endpoint.outside, endpoint.proto) else {
        // A protocol without ports: its flow is all there is, and the first to have one has it.
        return Ok(true);
    };
    if on.search.found == 0 {
        return join(&mut on.opening, number, on.search.port);
    }
    let made = make(&mut on.opening, number, on.search.port);
    if made != Ok(true) {
        host::give_back(endpoint.addr, What::Mappings, flags());
    }
    made
}

/// Makes a mapping with one use; `false` when another CPU made it at this moment.
#[inline(always)]
fn make(opening: &mut Opening, number: u32, port: u16) -> Result<bool, Reason> {
    let slot = Slot::find(number, port).ok_or(Reason::PortsExhausted)?;
    let new = Mapping { addr: opening.addr, port, reserved: 0, created: clock::now() };
    match insert_mapping(&opening.endpoint(), &new) {
        Ok(()) => {
            // Until now the mapping had no uses, and nobody could join it.
            slot.give(opening);
            events::tell(kind::CREATED, &opening.endpoint(), &new, &slot);
            host::begin(opening);
            opening.port = port;
            Ok(true)
        }
        Err(refusal) => {
            forward::put_back_unused(opening.outside, opening.key.proto, port);
            match refusal {
                Refusal::Exists => Ok(false),
                Refusal::Full => Err(Reason::FlowsFull),
            }
        }
    }
}

/// One more use of the mapping that is there.
#[inline(always)]
fn join(opening: &mut Opening, number: u32, port: u16) -> Result<bool, Reason> {
    let slot = Slot::find(number, port).ok_or(Reason::MappingRace)?;
    if !slot.join() {
        return Err(Reason::MappingRace);
    }
    opening.port = port;
    // Else it is given back by who has called.
    Ok(slot.holder() == (opening.key.saddr, opening.key.sport))
}

/// One more use of a port that somebody holds.
#[inline(always)]
#[must_use]
pub fn join_held(outside: u8, proto: u8, port: u16) -> bool {
    let slot = pool::number(outside, proto).and_then(|pool| Slot::find(pool, port));
    slot.is_some_and(|slot| slot.join())
}

/// Gives back one use; with the last one the mapping ends and the port rests.
#[inline(always)]
pub fn release(outside: u8, proto: u8, port: u16) {
    vnet_release(outside.into(), proto.into(), port.into());
}

#[expect(unsafe_code, reason = "exported, so that the verifier walks it by itself")]
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn vnet_release(outside: u32, proto: u32, port: u32) -> u32 {
    let (outside, proto, port) = (outside as u8, proto as u8, port as u16);
    let Some(number) = pool::number(outside, proto) else { return 0 };
    let Some(slot) = Slot::find(number, port) else { return 0 };
    let ((addr, inside), flags) = (slot.holder(), slot.flags());
    if slot.leave() {
        host::cease(addr, flags);
        let endpoint = Endpoint { addr, port: inside, proto, outside };
        if let Some(ended) = mapping(&endpoint).filter(|mapping| mapping.port == port) {
            events::tell(kind::DELETED, &endpoint, ended, &slot);
            remove_mapping(&endpoint);
        }
        forward::put_back(outside, proto, port);
    }
    0
}

/// Ends a connection: removes both entries and gives back its use of the mapping, if it has one:
/// who comes through a forward uses none. Not inlined, as
/// all that is off the steady path.
#[inline(never)]
pub fn end(key: &FlowKey, entry: Entry) {
    let (outside, target, flags) = (entry.outside(), entry.target(), entry.flags());
    let other = Entry::find(&entry.twin(key.proto)).map_or(outside, |twin| twin.outside());
    let (forwarded, hairpin) = (entry.forwarded(), entry.hairpin());
    if flow::forget(key, &entry.twin(key.proto)) {
        if !forwarded || hairpin {
            release(outside, key.proto, target.sport);
        }
        host::give_back(key.saddr, What::Flows, flags);
        if hairpin && !forwarded {
            release(other, key.proto, key.dport);
        }
        if by_address() {
            let port = target.sport;
            remove_peer(&Peer { addr: target.daddr, port, proto: key.proto, outside });
        }
        // Last: all that is above knows the flow's addresses by their handles.
        addresses6::release(key.saddr);
        addresses6::release(target.daddr);
    }
}

/// Whether it matters to which addresses a mapping's owner has flows.
#[inline(always)]
#[must_use]
pub fn by_address() -> bool {
    maps::config().is_some_and(|config| config.filtering == filtering::ADDRESS_DEPENDENT)
}

/// Claims a port: the endpoint's own if it can be had, else any it may have. Whether there is one; it
/// is what the search on the desk has found.
#[inline(always)]
fn choose(frame: &mut Frame, number: u32) -> u16 {
    let (Some(pool), Some(on)) = (ports::pool(number), desk()) else { return 0 };
    let own = on.opening.key.sport;
    on.search = Search { number, port: own, ..Search::START };
    if on.opening.by_host() && pool.claim(own, true) {
        on.search.found = 1;
        return 1;
    }
    if let Some(port) = forward::own_port(&on.opening).filter(|port| pool.reserved.claim(*port)) {
        (on.search.port, on.search.found) = (port, 1);
        return 1;
    }
    kernel::repeat(TRIES, look, frame);
    desk().map_or(0, |desk| desk.search.found)
}

/// A search for a port that no socket of the host owns. It lies on the desk, where the verifier does
/// not follow it: it walks one step of the search for all.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Search {
    /// Number of the pool.
    number: u32,
    /// Where it looks (see [`STAGES`]).
    stage: u32,
    /// The position to look from.
    from: u16,
    /// The last position that will do.
    last: u16,
    /// The port, once it is found.
    port: u16,
    /// Whether it is.
    found: u16,
}

/// Stages of one range. The first is the endpoint's own port; after it, every set of ports has four:
/// those of the same parity (RFC 4787 REQ-4), from anywhere to the end of the range and from its
/// start, then those of the other one.
const STAGES: u32 = 1 + 3 * 4;

impl Search {
    const START: Self = Self { number: 0, stage: 0, from: 0, last: 0, port: 0, found: 0 };

    /// Whether a port was claimed.
    #[inline(always)]
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.found != 0
    }

    /// The ports that will do: low ones first, if the endpoint shall have one.
    #[inline(always)]
    fn range(&self, opening: &Opening) -> Range {
        if self.low(opening) { opening.low } else { opening.ports }
    }

    #[inline(always)]
    fn low(&self, opening: &Opening) -> bool {
        self.stage < STAGES && opening.low != Range::NONE
    }

    /// Stage of the present range.
    #[inline(always)]
    fn step(&self) -> u32 {
        if self.stage < STAGES { self.stage } else { self.stage - STAGES }
    }

    /// The set that is looked at; none for the endpoint's own port.
    #[inline(always)]
    fn set<'a>(&self, pool: &'a Pool) -> Option<&'a Set> {
        match (self.step() + 3) >> 2 {
            0 => None,
            1 => Some(&pool.free),
            2 => Some(&pool.rested),
            _ => Some(&pool.resting),
        }
    }

    /// Looks elsewhere from now on; returns 1 when everything was looked at.
    #[inline(always)]
    fn next(&mut self, opening: &Opening) -> i64 {
        let low = self.low(opening);
        self.stage += 1;
        let parity = opening.key.sport ^ ((self.step() + 3) >> 1 & 1) as u16;
        let range = self.range(opening).positions(parity);
        (self.from, self.last) = (range.min, range.max);
        if self.step() & 1 == 1 && range != Range::NONE {
            self.from += (clock::random() % (u32::from(range.max - range.min) + 1)) as u16;
        }
        i64::from(!low && self.stage == STAGES || self.stage >= 2 * STAGES)
    }
}

/// One try; returns 1 when the search is over.
extern "C" fn look(_turn: u64, frame: &mut Frame) -> i64 {
    let Some(desk) = desk() else { return 1 };
    let (search, opening) = (&mut desk.search, &desk.opening);
    let Some(pool) = ports::pool(search.number) else { return 1 };
    let (port, claimed) = match search.set(pool) {
        None => {
            let claimed = claim_own(pool, search, opening);
            search.next(opening);
            (opening.key.sport, claimed)
        }
        Some(set) => match set.look(search.from) {
            Look::Found(place) if place <= search.last => {
                (port_at(place), set.claim(port_at(place)))
            }
            Look::On(place) => {
                search.from = place;
                return 0;
            }
            Look::Found(_) | Look::Empty => return search.next(opening),
        },
    };
    if claimed && is_sockets(frame, opening, port) {
        forward::put_back(opening.outside, opening.key.proto, port);
    } else if claimed {
        (search.port, search.found) = (port, 1);
        return 1;
    }
    0
}

/// The endpoint's own port need not have rested when its host had it last.
#[inline(always)]
fn claim_own(pool: &Pool, search: &Search, opening: &Opening) -> bool {
    let key = &opening.key;
    let again =
        Slot::find(search.number, key.sport).is_some_and(|slot| slot.holder().0 == key.saddr);
    search.range(opening).contains(key.sport) && pool.claim(key.sport, again)
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
