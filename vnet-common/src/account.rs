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
    /// It leaves at once, as the kernel let others of its flow leave.
    Shortcut,
}

/// The one list of [`Reason`]s: name, number, word, verdict and meaning, a row each.
macro_rules! reasons {
    ($($name:ident = $number:literal, $word:literal, $verdict:ident: $meaning:literal;)+) => {
        /// Why a packet's way through a program ended. The number is its index in `counters`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Reason {
            $(#[doc = $meaning] $name = $number,)+
        }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: [Self; [$($number),+].len()] = [$(Self::$name),+];

            /// The word for it: counter name, log word and metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)+
                }
            }

            /// What happens to the packet.
            #[inline(always)]
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self {
                    $(Self::$name => Verdict::$verdict,)+
                }
            }

            /// What it means, in a sentence for people.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => $meaning,)+
                }
            }
        }
    };
}

reasons! {
    NatOut = 0, "nat_out", Pass: "source translated, on its way out";
    NatIn = 1, "nat_in", Pass: "destination translated back, on its way in";
    IcmpErrorOut = 2, "icmp_error_out", Pass:
        "ICMP error about a translated flow, translated on its way out";
    IcmpErrorIn = 3, "icmp_error_in", Pass:
        "ICMP error about a translated flow, translated back on its way in";
    Host = 4, "host", Pass: "traffic of this host itself, left alone";
    Unsolicited = 5, "unsolicited", Pass: "no flow wants it: given to this host's own stack";
    NotOurs = 6, "not_ours", Pass: "not for the outside address: left to routing";
    Routed = 7, "routed", Pass: "public source outside every --inside: routed untranslated";
    Inside = 8, "inside", Pass: "seen on an inside device, left to routing";
    Ipv6 = 9, "ipv6", Pass: "IPv6 that no option translates: left alone";
    NotIp = 10, "not_ip", Pass: "neither IPv4 nor IPv6 (ARP and the like)";
    Vlan = 11, "vlan", Pass: "carries a VLAN tag: belongs to a VLAN device, not to this one";
    Multicast = 12, "multicast", Pass:
        "to a multicast or broadcast address, which are never translated";
    FragmentIn = 13, "fragment_in", Pass:
        "fragment from outside whose first was not seen: given to this host's own stack";
    MalformedIn = 14, "malformed_in", Pass:
        "headers contradict themselves: left to the kernel, which drops it";
    Unmanaged = 15, "unmanaged", Pass: "device is not (or no longer) managed";
    Fragment = 16, "fragment", Drop: "fragment from inside whose first was not seen";
    PrivateSource = 17, "private_source", Drop:
        "private source that no --inside covers: must not leave";
    MulticastSource = 18, "multicast_source", Drop:
        "from inside to a multicast or broadcast address: must not leave with its source";
    Protocol = 19, "protocol", Drop:
        "protocol without ports, by which another inside host talks to the same address";
    IcmpType = 20, "icmp_type", Drop:
        "ICMP from inside that is neither a query nor an error about a known flow";
    TcpNoFlow = 21, "tcp_no_flow", Drop:
        "TCP from inside that neither opens nor continues a connection";
    Filtered = 22, "filtered", Drop:
        "from outside to a mapped port, by someone the mapping's owner has not spoken to";
    IcmpUnmatched = 23, "icmp_unmatched", Drop: "ICMP error that quotes no known flow";
    PortsExhausted = 24, "ports_exhausted", Drop: "no outside port is free for a new mapping";
    FlowsFull = 25, "flows_full", Drop: "flow table is full";
    SocketClash = 26, "socket_clash", Drop:
        "a socket of this host has this very conversation on the endpoint's outside port";
    MappingRace = 27, "mapping_race", Drop:
        "mapping was ending at this very moment; a retransmission finds a new one";
    Malformed = 28, "malformed", Drop: "headers contradict themselves or are cut short";
    Rewrite = 29, "rewrite", Drop: "the kernel refused to change the packet";
    Hairpin = 30, "hairpin", Pass:
        "from inside to the outside address of another inside host: destination translated";
    HairpinOut = 31, "hairpin_out", Pass: "the same on its way to that host: source translated";
    HairpinLost = 32, "hairpin_lost", Drop:
        "from inside to another inside host by its outside address, but the sender's mapping \
         has ended";
    Moved = 33, "moved", Pass:
        "source translated from another outside address than before: the former one is gone";
    NoAddress = 34, "no_address", Drop: "the uplink has no address to translate to";
    IcmpSent = 35, "icmp_sent", Pass:
        "ICMP error that this host sent to say that it refused a packet";
    FragmentTiny = 36, "fragment_tiny", Drop:
        "first fragment too short to hold its transport header";
    FragmentOverlap = 37, "fragment_overlap", Drop:
        "fragment that lies over its datagram's first one";
    Evicted = 38, "evicted", Pass:
        "unanswered connection that was ended to make room for a new one";
    IcmpChecksum = 39, "icmp_checksum", Drop:
        "ICMP error about a translated flow that is damaged, or quotes a damaged header";
    Excluded = 40, "excluded", Pass: "to a destination of --exclude: left untranslated";
    HostPorts = 41, "host_ports", Drop:
        "inside host has as many ports as --max-ports-per-host allows";
    HostFlows = 42, "host_flows", Drop:
        "inside host has as many connections as --max-flows-per-host allows";
    NptOut = 43, "npt_out", Pass: "IPv6 from an inside prefix: prefix translated, on its way out";
    NptIn = 44, "npt_in", Pass: "IPv6 to an outside prefix: prefix translated back, on its way in";
    NptHairpin = 45, "npt_hairpin", Pass:
        "IPv6 from inside to an outside prefix: both prefixes translated";
    NptAddress = 46, "npt_address", Drop:
        "IPv6 address that cannot be translated so that there is a way back";
    Extensions = 47, "extensions", Drop: "IPv6 with more extension headers than are looked at";
    ForwardStray = 48, "forward_stray", Pass:
        "TCP to a forwarded port that neither opens nor continues a connection: given to this \
         host's own stack, which resets it";
    ForwardClash = 49, "forward_clash", Drop:
        "to a forwarded port, but its target has this very conversation by another port";
    EventLost = 50, "event_lost", Pass:
        "a mapping began or ended, and nobody was told: `events` was full";
    Sorted = 51, "sorted", Detour:
        "fragment that came before its first: goes where they are put in order, and comes back";
    Address6 = 52, "address6", Drop:
        "no room for another IPv6 address, or it was leaving at this very moment";
    ShortcutOut = 53, "shortcut_out", Shortcut:
        "source translated where it came in, and sent the way that the kernel had chosen for its flow";
    ShortcutIn = 54, "shortcut_in", Shortcut:
        "destination translated back, and sent the way that the kernel had chosen for its flow";
    XdpOut = 55, "xdp_out", Shortcut:
        "the same as shortcut_out, by XDP: before the kernel had made a packet of it";
    XdpIn = 56, "xdp_in", Shortcut:
        "the same as shortcut_in, by XDP: before the kernel had made a packet of it";
    ShortcutRouted = 57, "shortcut_routed", Shortcut:
        "untranslated, and sent the way that the kernel had chosen for its flow";
    XdpRouted = 58, "xdp_routed", Shortcut:
        "the same as shortcut_routed, by XDP: before the kernel had made a packet of it";
}

const _: () = {
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!(Reason::ALL[i] as usize == i);
        i += 1;
    }
};
