//! One packet of a sequence, in terms that mean the same in every lab: who says what to whom, and
//! what is odd about it. Addresses, ports and sequence numbers follow when it is sent
//! ([`super::history`], [`super::frames`]).

use crate::packet::{IcmpKind, TcpFlags};

/// Inside hosts, servers: so many of each belong to one sequence.
pub const HOSTS: u8 = 4;
/// Ports (and query identifiers) of an inside host that belong to one sequence.
pub const PORTS: u8 = 8;
/// Ports of servers, by the digit that stands for them in a file.
pub const SERVICES: [u16; 6] = [80, 443, 53, 123, 3478, 5000];

/// The most a packet carries that is not cut: more than the uplink takes on the way out, and all
/// that it takes on the way in.
const LONGEST_OUT: u16 = 1400;
const LONGEST_IN: u16 = 1352;

/// A sequence: packets that are sent one after the other, each when all that the one before it
/// caused has come out.
pub type Sequence = Vec<Step>;

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Whence.
    pub way: Way,
    /// What.
    pub kind: Kind,
    /// Who with whom.
    pub talk: Talk,
    /// What is odd about it, in the order in which it is done to the packet.
    pub quirks: Vec<Quirk>,
}

/// The direction of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Way {
    /// From an inside host to a server.
    Out,
    /// From a server to the outside port that the inside host has, or to one that nobody has.
    In,
    /// From an inside host to the outside port that another one has, or to one that nobody has.
    Hairpin,
}

/// The two ends of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Talk {
    /// Inside host, below [`HOSTS`].
    pub host: u8,
    /// Its port, below [`PORTS`].
    pub port: u8,
    /// Server, below [`HOSTS`]; of a hairpin the other inside host.
    pub server: u8,
    /// Its port: an index into [`SERVICES`]; of a hairpin as `port`.
    pub service: u8,
}

impl Talk {
    /// The same from the other end of a hairpin.
    pub fn turned(self) -> Self {
        let Self { host, port, server, service } = self;
        Self { host: server, port: service, server: host, service: port }
    }
}

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A TCP segment with these flags.
    Tcp(TcpFlags),
    /// A UDP datagram.
    Udp,
    /// An ICMP echo request.
    Ping,
    /// An ICMP echo reply.
    Pong,
    /// Another ICMP message, with the identifier where a query has it.
    Icmp(IcmpKind),
    /// An ICMP error about a packet of the other direction.
    Error(IcmpKind, About),
    /// Another protocol.
    Other(u8),
}

/// What an error is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// A segment of the conversation.
    Tcp,
    /// A datagram of it.
    Udp,
    /// An echo request that went out, or a reply that came in.
    Ping,
}

/// What is odd about a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quirk {
    /// It carries so many bytes.
    Length(u16),
    /// Its sequence number is so far off.
    Sequence(i32),
    /// Its acknowledgement number is so far off.
    Acknowledgement(i32),
    /// It may pass so many routers.
    Ttl(u8),
    /// Its DSCP and ECN.
    Tos(u8),
    /// Routers must not cut it.
    DontFragment,
    /// It has IP options (that do nothing).
    Options,
    /// Its transport checksum is wrong.
    BadSum,
    /// UDP: it has no checksum.
    NoSum,
    /// An error: so many bytes behind the quoted IP header.
    Quote(u16),
    /// An error: sent by a router on the way.
    ByRouter,
    /// Only so many bytes follow the IP header, which says so.
    Short(u16),
    /// The packet ends after so many bytes, whatever its header says.
    Cut(u16),
    /// This bit of the packet (IP options not counted) is the other way round. The IP header's
    /// checksum is right all the same, unless the bit is in it.
    Flip(u16),
    /// It comes in fragments of this size, in this order.
    Fragments(u16, Order),
}

/// How fragments come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Order {
    /// One after the other.
    Straight,
    /// The last one first.
    Reversed,
    /// The second one first.
    Swapped,
    /// Each of them twice.
    Twice,
    /// All but the first.
    Headless,
    /// All but the last.
    Endless,
}

impl Order {
    /// Every order.
    pub const ALL: [Self; 6] =
        [Self::Straight, Self::Reversed, Self::Swapped, Self::Twice, Self::Headless, Self::Endless];

    /// Whether all of the packet comes.
    pub fn is_complete(self) -> bool {
        !matches!(self, Self::Headless | Self::Endless)
    }
}

impl Step {
    /// A packet with nothing odd about it.
    pub fn new(way: Way, kind: Kind, talk: Talk) -> Self {
        Self { way, kind, talk, quirks: Vec::new() }
    }

    /// The same with one more quirk.
    pub fn with(mut self, quirk: Quirk) -> Self {
        self.quirks.push(quirk);
        self
    }

    /// Bytes of payload: what is asked for, as far as a frame holds it.
    pub fn length(&self) -> u16 {
        let asked = |quirk| if let Quirk::Length(bytes) = quirk { Some(bytes) } else { None };
        let longest = match (self.fragments(), self.way) {
            (Some(_), _) => u16::MAX,
            (None, Way::Out | Way::Hairpin) => LONGEST_OUT,
            (None, Way::In) => LONGEST_IN,
        };
        self.find(asked).unwrap_or(0).min(longest)
    }

    /// Whether it has such a quirk.
    pub fn has(&self, wanted: impl Fn(&Quirk) -> bool) -> bool {
        self.quirks.iter().any(wanted)
    }

    /// How it is cut, if it is.
    pub fn fragments(&self) -> Option<(u16, Order)> {
        self.find(|quirk| if let Quirk::Fragments(s, o) = quirk { Some((s, o)) } else { None })
    }

    /// What a quirk says, where there is one.
    pub fn find<T>(&self, wanted: impl Fn(Quirk) -> Option<T>) -> Option<T> {
        self.quirks.iter().find_map(|quirk| wanted(*quirk))
    }

    /// Whether its receiver would take it for a good, whole packet.
    pub fn is_sound(&self) -> bool {
        let damage = |quirk: &Quirk| match quirk {
            Quirk::BadSum | Quirk::Short(_) | Quirk::Cut(_) | Quirk::Flip(_) => true,
            Quirk::Fragments(_, order) => !order.is_complete(),
            Quirk::Length(_)
            | Quirk::Sequence(_)
            | Quirk::Acknowledgement(_)
            | Quirk::Ttl(_)
            | Quirk::Tos(_)
            | Quirk::DontFragment
            | Quirk::Options
            | Quirk::NoSum
            | Quirk::Quote(_)
            | Quirk::ByRouter => false,
        };
        !self.has(damage)
    }
}
