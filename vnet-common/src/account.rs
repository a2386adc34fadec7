//! `counters`: every end of a packet has a name, is counted per CPU, and is the word the CLI, the
//! log and the metrics use.

use crate::record;

/// Packets and bytes that met one end: the per-CPU value of `counters`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counter {
    /// Packets on the wire (a GSO packet counts its segments).
    pub packets: u64,
    /// Bytes of those packets from the link header on.
    pub bytes: u64,
}
record!(Counter, 16);

/// What happens to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, the kernel's way.
    Pass,
    /// It ends here.
    Drop,
    /// It goes elsewhere, and comes back to be decided about.
    Detour,
}

/// Why a packet's way through a program ended. The number is its index in `counters`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Source translated, on its way out.
    NatOut = 0,
    /// Destination translated back, on its way in.
    NatIn = 1,
    /// ICMP error about a translated flow, translated on its way out.
    IcmpErrorOut = 2,
    /// ICMP error about a translated flow, translated back on its way in.
    IcmpErrorIn = 3,
    /// Traffic of this host itself, left alone.
    Host = 4,
    /// No flow wants it: given to this host's own stack.
    Unsolicited = 5,
    /// Not for the outside address: left to routing.
    NotOurs = 6,
    /// Public source outside every --inside: routed untranslated.
    Routed = 7,
    /// Seen on an inside device, left to routing.
    Inside = 8,
    /// IPv6 that no option translates: left alone.
    Ipv6 = 9,
    /// Neither IPv4 nor IPv6 (ARP and the like).
    NotIp = 10,
    /// Carries a VLAN tag: belongs to a VLAN device, not to this one.
    Vlan = 11,
    /// To a multicast or broadcast address, which are never translated.
    Multicast = 12,
    /// Fragment from outside whose first was not seen: given to this host's own stack.
    FragmentIn = 13,
    /// Headers contradict themselves: left to the kernel, which drops it.
    MalformedIn = 14,
    /// Device is not (or no longer) managed.
    Unmanaged = 15,
    /// Fragment from inside whose first was not seen.
    Fragment = 16,
    /// Private source that no --inside covers: must not leave.
    PrivateSource = 17,
    /// From inside to a multicast or broadcast address: must not leave with its source.
    MulticastSource = 18,
    /// Protocol without ports, by which another inside host talks to the same address.
    Protocol = 19,
    /// ICMP from inside that is neither a query nor an error about a known flow.
    IcmpType = 20,
    /// TCP from inside that neither opens nor continues a connection.
    TcpNoFlow = 21,
    /// From outside to a mapped port, by someone the mapping's owner has not spoken to.
    Filtered = 22,
    /// ICMP error that quotes no known flow.
    IcmpUnmatched = 23,
    /// No outside port is free for a new mapping.
    PortsExhausted = 24,
    /// Flow table is full.
    FlowsFull = 25,
    /// A socket of this host has this very conversation on the endpoint's outside port.
    SocketClash = 26,
    /// Mapping was ending at this very moment; a retransmission finds a new one.
    MappingRace = 27,
    /// Headers contradict themselves or are cut short.
    Malformed = 28,
    /// The kernel refused to change the packet.
    Rewrite = 29,
    /// From inside to the outside address of another inside host: destination translated.
    Hairpin = 30,
    /// The same on its way to that host: source translated.
    HairpinOut = 31,
    /// From inside to another inside host by its outside address, but the sender's mapping has ended.
    HairpinLost = 32,
    /// Source translated from another outside address than before: the former one is gone.
    Moved = 33,
    /// The uplink has no address to translate to.
    NoAddress = 34,
    /// ICMP error that this host sent to say that it refused a packet.
    IcmpSent = 35,
    /// First fragment too short to hold its transport header.
    FragmentTiny = 36,
    /// Fragment that lies over its datagram's first one.
    FragmentOverlap = 37,
    /// Unanswered connection that was ended to make room for a new one.
    Evicted = 38,
    /// ICMP error about a translated flow that is damaged, or quotes a damaged header.
    IcmpChecksum = 39,
    /// To a destination of --exclude: left untranslated.
    Excluded = 40,
    /// Inside host has as many ports as --max-ports-per-host allows.
    HostPorts = 41,
    /// Inside host has as many connections as --max-flows-per-host allows.
    HostFlows = 42,
    /// IPv6 from an inside prefix: prefix translated, on its way out.
    NptOut = 43,
    /// IPv6 to an outside prefix: prefix translated back, on its way in.
    NptIn = 44,
    /// IPv6 from inside to an outside prefix: both prefixes translated.
    NptHairpin = 45,
    /// IPv6 address that cannot be translated so that there is a way back.
    NptAddress = 46,
    /// IPv6 with more extension headers than are looked at.
    Extensions = 47,
    /// TCP to a forwarded port that neither opens nor continues a connection: given to this host's
    /// own stack, which resets it.
    ForwardStray = 48,
    /// To a forwarded port, but its target has this very conversation by another port.
    ForwardClash = 49,
    /// A mapping began or ended, and nobody was told: `events` was full.
    EventLost = 50,
    /// Fragment that came before its first: goes where they are put in order, and comes back.
    Sorted = 51,
}

impl Reason {
    /// Every reason, in the order of its number.
    pub const ALL: [Self; 52] = [
        Self::NatOut,
        Self::NatIn,
        Self::IcmpErrorOut,
        Self::IcmpErrorIn,
        Self::Host,
        Self::Unsolicited,
        Self::NotOurs,
        Self::Routed,
        Self::Inside,
        Self::Ipv6,
        Self::NotIp,
        Self::Vlan,
        Self::Multicast,
        Self::FragmentIn,
        Self::MalformedIn,
        Self::Unmanaged,
        Self::Fragment,
        Self::PrivateSource,
        Self::MulticastSource,
        Self::Protocol,
        Self::IcmpType,
        Self::TcpNoFlow,
        Self::Filtered,
        Self::IcmpUnmatched,
        Self::PortsExhausted,
        Self::FlowsFull,
        Self::SocketClash,
        Self::MappingRace,
        Self::Malformed,
        Self::Rewrite,
        Self::Hairpin,
        Self::HairpinOut,
        Self::HairpinLost,
        Self::Moved,
        Self::NoAddress,
        Self::IcmpSent,
        Self::FragmentTiny,
        Self::FragmentOverlap,
        Self::Evicted,
        Self::IcmpChecksum,
        Self::Excluded,
        Self::HostPorts,
        Self::HostFlows,
        Self::NptOut,
        Self::NptIn,
        Self::NptHairpin,
        Self::NptAddress,
        Self::Extensions,
        Self::ForwardStray,
        Self::ForwardClash,
        Self::EventLost,
        Self::Sorted,
    ];

    /// The word for it: counter name, log word and metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NatOut => "nat_out",
            Self::NatIn => "nat_in",
            Self::IcmpErrorOut => "icmp_error_out",
            Self::IcmpErrorIn => "icmp_error_in",
            Self::Host => "host",
            Self::Unsolicited => "unsolicited",
            Self::NotOurs => "not_ours",
            Self::Routed => "routed",
            Self::Inside => "inside",
            Self::Ipv6 => "ipv6",
            Self::NotIp => "not_ip",
            Self::Vlan => "vlan",
            Self::Multicast => "multicast",
            Self::FragmentIn => "fragment_in",
            Self::MalformedIn => "malformed_in",
            Self::Unmanaged => "unmanaged",
            Self::Fragment => "fragment",
            Self::PrivateSource => "private_source",
            Self::MulticastSource => "multicast_source",
            Self::Protocol => "protocol",
            Self::IcmpType => "icmp_type",
            Self::TcpNoFlow => "tcp_no_flow",
            Self::Filtered => "filtered",
            Self::IcmpUnmatched => "icmp_unmatched",
            Self::PortsExhausted => "ports_exhausted",
            Self::FlowsFull => "flows_full",
            Self::SocketClash => "socket_clash",
            Self::MappingRace => "mapping_race",
            Self::Malformed => "malformed",
            Self::Rewrite => "rewrite",
            Self::Hairpin => "hairpin",
            Self::HairpinOut => "hairpin_out",
            Self::HairpinLost => "hairpin_lost",
            Self::Moved => "moved",
            Self::NoAddress => "no_address",
            Self::IcmpSent => "icmp_sent",
            Self::FragmentTiny => "fragment_tiny",
            Self::FragmentOverlap => "fragment_overlap",
            Self::Evicted => "evicted",
            Self::IcmpChecksum => "icmp_checksum",
            Self::Excluded => "excluded",
            Self::HostPorts => "host_ports",
            Self::HostFlows => "host_flows",
            Self::NptOut => "npt_out",
            Self::NptIn => "npt_in",
            Self::NptHairpin => "npt_hairpin",
            Self::NptAddress => "npt_address",
            Self::Extensions => "extensions",
            Self::ForwardStray => "forward_stray",
            Self::ForwardClash => "forward_clash",
            Self::EventLost => "event_lost",
            Self::Sorted => "sorted",
        }
    }

    /// What happens to the packet.
    #[inline(always)]
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::NatOut
            | Self::Moved
            | Self::NatIn
            | Self::IcmpErrorOut
            | Self::IcmpErrorIn
            | Self::Host
            | Self::Unsolicited
            | Self::NotOurs
            | Self::Routed
            | Self::Inside
            | Self::Ipv6
            | Self::NotIp
            | Self::Vlan
            | Self::Multicast
            | Self::FragmentIn
            | Self::MalformedIn
            | Self::Unmanaged
            | Self::Hairpin
            | Self::ForwardStray
            | Self::HairpinOut
            | Self::IcmpSent
            | Self::Evicted
            | Self::Excluded
            | Self::NptOut
            | Self::NptIn
            | Self::NptHairpin
            | Self::EventLost => Verdict::Pass,
            Self::Fragment
            | Self::PrivateSource
            | Self::MulticastSource
            | Self::Protocol
            | Self::IcmpType
            | Self::TcpNoFlow
            | Self::Filtered
            | Self::IcmpUnmatched
            | Self::PortsExhausted
            | Self::FlowsFull
            | Self::SocketClash
            | Self::MappingRace
            | Self::Malformed
            | Self::Rewrite
            | Self::HairpinLost
            | Self::NoAddress
            | Self::FragmentTiny
            | Self::FragmentOverlap
            | Self::IcmpChecksum
            | Self::HostPorts
            | Self::HostFlows
            | Self::NptAddress
            | Self::Extensions
            | Self::ForwardClash => Verdict::Drop,
            Self::Sorted => Verdict::Detour,
        }
    }

    /// What it means, in a sentence for people.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NatOut => "source translated, on its way out",
            Self::NatIn => "destination translated back, on its way in",
            Self::IcmpErrorOut => "ICMP error about a translated flow, translated on its way out",
            Self::IcmpErrorIn => {
                "ICMP error about a translated flow, translated back on its way in"
            }
            Self::Host => "traffic of this host itself, left alone",
            Self::Unsolicited => "no flow wants it: given to this host's own stack",
            Self::NotOurs => "not for the outside address: left to routing",
            Self::Routed => "public source outside every --inside: routed untranslated",
            Self::Inside => "seen on an inside device, left to routing",
            Self::Ipv6 => "IPv6 that no option translates: left alone",
            Self::NotIp => "neither IPv4 nor IPv6 (ARP and the like)",
            Self::Vlan => "carries a VLAN tag: belongs to a VLAN device, not to this one",
            Self::Multicast => "to a multicast or broadcast address, which are never translated",
            Self::FragmentIn => {
                "fragment from outside whose first was not seen: given to this host's own stack"
            }
            Self::MalformedIn => {
                "headers contradict themselves: left to the kernel, which drops it"
            }
            Self::Unmanaged => "device is not (or no longer) managed",
            Self::Fragment => "fragment from inside whose first was not seen",
            Self::PrivateSource => "private source that no --inside covers: must not leave",
            Self::MulticastSource => {
                "from inside to a multicast or broadcast address: must not leave with its source"
            }
            Self::Protocol => {
                "protocol without ports, by which another inside host talks to the same address"
            }
            Self::IcmpType => {
                "ICMP from inside that is neither a query nor an error about a known flow"
            }
            Self::TcpNoFlow => "TCP from inside that neither opens nor continues a connection",
            Self::Filtered => {
                "from outside to a mapped port, by someone the mapping's owner has not spoken to"
            }
            Self::IcmpUnmatched => "ICMP error that quotes no known flow",
            Self::PortsExhausted => "no outside port is free for a new mapping",
            Self::FlowsFull => "flow table is full",
            Self::SocketClash => {
                "a socket of this host has this very conversation on the endpoint's outside port"
            }
            Self::MappingRace => {
                "mapping was ending at this very moment; a retransmission finds a new one"
            }
            Self::Malformed => "headers contradict themselves or are cut short",
            Self::Rewrite => "the kernel refused to change the packet",
            Self::Hairpin => {
                "from inside to the outside address of another inside host: destination translated"
            }
            Self::HairpinOut => "the same on its way to that host: source translated",
            Self::HairpinLost => {
                "from inside to another inside host by its outside address, but the sender's \
                 mapping has ended"
            }
            Self::Moved => {
                "source translated from another outside address than before: the former one is gone"
            }
            Self::NoAddress => "the uplink has no address to translate to",
            Self::IcmpSent => "ICMP error that this host sent to say that it refused a packet",
            Self::FragmentTiny => "first fragment too short to hold its transport header",
            Self::FragmentOverlap => "fragment that lies over its datagram's first one",
            Self::Evicted => "unanswered connection that was ended to make room for a new one",
            Self::IcmpChecksum => {
                "ICMP error about a translated flow that is damaged, or quotes a damaged header"
            }
            Self::Excluded => "to a destination of --exclude: left untranslated",
            Self::HostPorts => "inside host has as many ports as --max-ports-per-host allows",
            Self::HostFlows => "inside host has as many connections as --max-flows-per-host allows",
            Self::NptOut => "IPv6 from an inside prefix: prefix translated, on its way out",
            Self::NptIn => "IPv6 to an outside prefix: prefix translated back, on its way in",
            Self::NptHairpin => "IPv6 from inside to an outside prefix: both prefixes translated",
            Self::NptAddress => {
                "IPv6 address that cannot be translated so that there is a way back"
            }
            Self::Extensions => "IPv6 with more extension headers than are looked at",
            Self::ForwardStray => {
                "TCP to a forwarded port that neither opens nor continues a connection: given to this host's own stack, which resets it"
            }
            Self::ForwardClash => {
                "to a forwarded port, but its target has this very conversation by another port"
            }
            Self::EventLost => "a mapping began or ended, and nobody was told: `events` was full",
            Self::Sorted => {
                "fragment that came before its first: goes where they are put in order, and comes back"
            }
        }
    }
}

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!(Reason::ALL[i] as usize == i);
        i += 1;
    }
};
