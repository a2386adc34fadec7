//! `flows4` and `mappings`.

use core::{
    mem::offset_of,
    ptr::{NonNull, addr_of, addr_of_mut},
};

use aya_ebpf::{bindings::BPF_NOEXIST, btf_maps::HashMap, macros::btf_map};
use vnet_common::{
    flow::{Direction, Flow, FlowKey, flag},
    tcp::State,
    translate::{Endpoint, Mapping, Peer, PeerFlows},
};

use super::{
    atomic::{Atomic32, Atomic64},
    frame::Wire,
    maps::{NO_PREALLOC, SIZED_BY_LOADER},
};
use crate::rewrite::Target;

#[btf_map(name = "flows4")]
static FLOWS4: HashMap<FlowKey, Flow, SIZED_BY_LOADER, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "mappings")]
static MAPPINGS: HashMap<Endpoint, Mapping, SIZED_BY_LOADER, NO_PREALLOC> = HashMap::new();
#[btf_map(name = "peers")]
static PEERS: HashMap<Peer, PeerFlows, SIZED_BY_LOADER, NO_PREALLOC> = HashMap::new();

/// Why an entry was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is one already.
    Exists,
    /// There is no room.
    Full,
}

#[inline(always)]
fn refusal(result: Result<(), i32>) -> Result<(), Refusal> {
    const EEXIST: i32 = 17;
    result.map_err(|errno| if errno == -EEXIST { Refusal::Exists } else { Refusal::Full })
}

/// An entry of `flows4`.
#[derive(Clone, Copy)]
pub struct Entry(pub(super) NonNull<Flow>);

/// Reads one field.
macro_rules! get {
    ($entry:expr, $field:ident) => {
        // SAFETY: the entry is a live map value of this type (see the module's promise).
        unsafe { addr_of!((*$entry.0.as_ptr()).$field).read_volatile() }
    };
}

/// Reads an address: one load, because entries are aligned though addresses need not be.
macro_rules! address {
    ($entry:expr, $field:ident) => {
        // SAFETY: as in `get`; the offset is a multiple of four (asserted below).
        unsafe { addr_of!((*$entry.0.as_ptr()).$field).cast::<u32>().read_volatile() }.to_ne_bytes()
    };
}
const _: () = assert!(offset_of!(Flow, saddr) % 4 == 0 && offset_of!(Flow, daddr) % 4 == 0);

/// Writes one field.
macro_rules! set {
    ($entry:expr, $field:ident, $value:expr) => {
        // SAFETY: as in `get`; other CPUs may write the same field, the last one wins.
        unsafe { addr_of_mut!((*$entry.0.as_ptr()).$field).write_volatile($value) }
    };
}

impl Entry {
    /// The entry of the packet's own tuple.
    #[inline(always)]
    #[must_use]
    pub fn find(key: &FlowKey) -> Option<Self> {
        NonNull::new(FLOWS4.get_ptr_mut(key)?).map(Self)
    }

    /// Makes one.
    #[inline(always)]
    pub fn insert(key: &FlowKey, flow: &Flow) -> Result<(), Refusal> {
        refusal(FLOWS4.insert(key, flow, u64::from(BPF_NOEXIST)))
    }

    /// Removes one.
    #[inline(always)]
    pub fn remove(key: &FlowKey) -> bool {
        FLOWS4.remove(key).is_ok()
    }

    /// The tuple to write.
    #[inline(always)]
    #[must_use]
    pub fn target(&self) -> Target {
        Target {
            saddr: address!(self, saddr),
            daddr: address!(self, daddr),
            sport: get!(self, sport),
            dport: get!(self, dport),
        }
    }

    /// Key of the other direction's entry.
    #[inline(always)]
    #[must_use]
    pub fn twin(&self, proto: u8) -> FlowKey {
        let target = self.target();
        FlowKey {
            saddr: target.daddr,
            daddr: target.saddr,
            sport: target.dport,
            dport: target.sport,
            proto,
            reserved: [0; 3],
        }
    }

    /// Whether this is the entry for packets of `direction` on uplink `link`.
    #[inline(always)]
    #[must_use]
    pub fn serves(&self, direction: Direction, link: u32) -> bool {
        get!(self, direction) == direction as u8 && get!(self, link) == link && !self.hairpin()
    }

    /// Whether this is the entry for packets that leave by some uplink.
    #[inline(always)]
    #[must_use]
    pub fn outward(&self) -> bool {
        get!(self, direction) == Direction::Out as u8 && get!(self, flags) & flag::HAIRPIN == 0
    }

    /// Whether its connection is between two inside hosts.
    #[inline(always)]
    #[must_use]
    pub fn hairpin(&self) -> bool {
        get!(self, flags) & flag::HAIRPIN != 0
    }

    /// Which way its packets go: away from who opened the connection or is inside, or towards it.
    #[inline(always)]
    #[must_use]
    pub fn direction(&self) -> Direction {
        if get!(self, direction) == Direction::Out as u8 { Direction::Out } else { Direction::In }
    }

    /// Whether the connection was opened through a forward.
    #[inline(always)]
    #[must_use]
    pub fn forwarded(&self) -> bool {
        get!(self, flags) & flag::FORWARD != 0
    }

    /// The epoch under which the connection was last looked at anew.
    #[inline(always)]
    #[must_use]
    pub fn epoch(&self) -> u32 {
        get!(self, epoch)
    }

    /// Notes that the connection was looked at under this epoch.
    #[inline(always)]
    pub fn set_epoch(&self, epoch: u32) {
        set!(self, epoch, epoch);
    }

    /// The connection's state.
    #[inline(always)]
    #[must_use]
    pub fn state(&self) -> Option<State> {
        State::from_number(get!(self, state))
    }

    /// Its number.
    #[inline(always)]
    #[must_use]
    pub fn state_number(&self) -> u8 {
        get!(self, state)
    }

    /// Whether a TCP handshake is under way. (Asked of the map and not remembered from the step: the
    /// verifier would walk what follows once for each state.)
    #[inline(always)]
    #[must_use]
    pub fn in_handshake(&self) -> bool {
        let state = get!(self, state);
        state == State::SynSent as u8 || state == State::SynRecv as u8
    }

    /// Changes the state of this direction's entry.
    #[inline(always)]
    pub fn set_state(&self, state: State) {
        set!(self, state, state as u8);
    }

    /// Whether the other side has answered.
    #[inline(always)]
    #[must_use]
    pub fn replied(&self) -> bool {
        get!(self, flags) & flag::REPLIED != 0
    }

    /// The direction, as whoever opened the connection sees it: what a state says is out and in.
    #[inline(always)]
    #[must_use]
    pub fn as_opener_sees(&self, direction: Direction) -> Direction {
        let inward = get!(self, flags) & (flag::FORWARD | flag::INVITED) != 0;
        if inward { direction.reversed() } else { direction }
    }

    /// Notes that the other side has answered.
    #[inline(always)]
    pub fn set_replied(&self) {
        let flags = get!(self, flags);
        set!(self, flags, flags | flag::REPLIED);
    }

    /// Notes that the kernel has let packets of both directions pass.
    #[inline(always)]
    pub fn set_accepted(&self) {
        let flags = get!(self, flags);
        set!(self, flags, flags | flag::ACCEPTED);
    }

    /// Packets of this direction so far.
    #[inline(always)]
    #[must_use]
    pub fn packets(&self) -> u64 {
        get!(self, packets)
    }

    /// When this direction last saw a packet.
    #[inline(always)]
    #[must_use]
    pub fn last_seen(&self) -> u64 {
        get!(self, last_seen)
    }

    /// When the connection was made, as [`Flow::first_seen`] has it.
    #[inline(always)]
    #[must_use]
    pub fn first_seen(&self) -> u32 {
        get!(self, first_seen)
    }

    /// Number of the outside address the connection is on.
    #[inline(always)]
    #[must_use]
    pub fn outside(&self) -> u8 {
        get!(self, outside)
    }

    /// Bits of [`flag`].
    #[inline(always)]
    #[must_use]
    pub fn flags(&self) -> u8 {
        get!(self, flags)
    }

    /// Number of the connection's ticket.
    #[inline(always)]
    #[must_use]
    pub fn ticket(&self) -> u32 {
        get!(self, ticket)
    }

    /// End of the highest sequence number sent in this direction.
    #[inline(always)]
    #[must_use]
    pub fn sent(&self) -> u32 {
        get!(self, seq_end)
    }

    /// Last acknowledgement sent in this direction.
    #[inline(always)]
    #[must_use]
    pub fn acknowledged(&self) -> u32 {
        get!(self, ack)
    }

    /// Notes sequence numbers.
    #[inline(always)]
    pub fn set_sequence(&self, sent: u32, acknowledged: u32) {
        set!(self, seq_end, sent);
        set!(self, ack, acknowledged);
    }

    /// Counts what passed, and when.
    #[inline(always)]
    pub fn count(&self, wire: Wire, now: u64) {
        let flow = self.0.as_ptr();
        // SAFETY: live, aligned fields that are only ever added to, atomically.
        let (all_packets, all_bytes) = unsafe {
            (
                &*addr_of!((*flow).packets).cast::<Atomic64>(),
                &*addr_of!((*flow).bytes).cast::<Atomic64>(),
            )
        };
        all_packets.add(u64::from(wire.packets));
        all_bytes.add(wire.bytes);
        set!(self, last_seen, now);
    }
}

/// The mapping of an inside endpoint.
#[inline(always)]
#[must_use]
pub fn mapping(endpoint: &Endpoint) -> Option<&'static Mapping> {
    // SAFETY: entries are inserted whole and never edited in place.
    unsafe { MAPPINGS.get(endpoint) }
}

/// Makes a mapping.
#[inline(always)]
pub fn insert_mapping(endpoint: &Endpoint, mapping: &Mapping) -> Result<(), Refusal> {
    refusal(MAPPINGS.insert(endpoint, mapping, u64::from(BPF_NOEXIST)))
}

/// Removes a mapping.
#[inline(always)]
pub fn remove_mapping(endpoint: &Endpoint) {
    // There is nothing to remove where two removers meet, and nothing to do about it.
    let _ = MAPPINGS.remove(endpoint);
}

/// Whether the mapping's owner has a flow to that address.
#[inline(always)]
#[must_use]
pub fn is_peer(peer: &Peer) -> bool {
    PEERS.get_ptr(peer).is_some()
}

/// One more flow of a mapping to that address.
#[inline(always)]
pub fn add_peer(peer: &Peer) {
    if let Some(flows) = peer_flows(peer) {
        flows.increment();
    } else {
        // Where two CPUs meet, one flow goes uncounted, and the address is shut out a flow too
        // early; where there is no room, it is not let in.
        let _ = PEERS.insert(peer, PeerFlows { flows: 1 }, u64::from(BPF_NOEXIST));
    }
}

/// One flow fewer.
#[inline(always)]
pub fn remove_peer(peer: &Peer) {
    if peer_flows(peer).is_some_and(|flows| flows.decrement() <= 1) {
        let _ = PEERS.remove(peer);
    }
}

#[inline(always)]
fn peer_flows(peer: &Peer) -> Option<&'static Atomic32> {
    let flows: *const PeerFlows = PEERS.get_ptr(peer)?;
    // SAFETY: a live map value, only ever changed atomically.
    Some(unsafe { &*flows.cast::<Atomic32>() })
}
