//! What the control plane writes and the programs obey: `config`, `links`, `sources`; and
//! `sysctls`, which only the control plane reads again, to put back what it changed.

use crate::{Ipv4, record};

/// The one entry of `config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// [`crate::LAYOUT_VERSION`] of the binary that made the maps; 0 while they are being made.
    pub version: u32,
    /// Raised with every change of configuration.
    pub epoch: u32,
    /// The network namespace the instance lives in: device (upper half) and inode (lower half) of
    /// its file `/proc/self/ns/net`.
    pub netns: u64,
    /// First port that may be handed out.
    pub port_min: u16,
    /// Last port that may be handed out.
    pub port_max: u16,
    /// First port handed out to who comes from a port below 1024 (RFC 4787 REQ-3); 0 = none.
    pub low_min: u16,
    /// Last of them.
    pub low_max: u16,
    /// Bits of [`config_flag`].
    pub flags: u32,
    /// Idle time of an established TCP connection, seconds (RFC 5382 REQ-5: at least 7,440).
    pub tcp_established: u32,
    /// Idle time of a half-open, closing or reset TCP connection, seconds (RFC 5382 REQ-5, RFC 7857).
    pub tcp_transitory: u32,
    /// Idle time of a UDP mapping, seconds (RFC 4787 REQ-5: not below 120, 300 recommended).
    pub udp: u32,
    /// Idle time of an ICMP query, seconds (RFC 5508 REQ-2: at least 60).
    pub icmp: u32,
    /// Least time a port rests before another host may get it, seconds.
    pub port_rest: u32,
    /// Connections the maps were made for.
    pub max_flows: u32,
    /// Level of the datapath's log the programs were loaded with: 0 off, 1 error … 5 trace.
    pub log_level: u32,
    /// Who may send to a mapping: one of [`filtering`].
    pub filtering: u32,
    /// Ports each inside host has for itself, computed from its address; 0 = no blocks (RFC 7422).
    pub port_block: u32,
    /// Mappings an inside host may have at once; 0 = no limit (RFC 6888 REQ-4).
    pub host_mappings: u32,
    /// Connections an inside host may have at once; 0 = no limit.
    pub host_flows: u32,
    /// Outside addresses the maps have room for.
    pub addresses: u32,
    /// Seconds a fragmented packet may take to arrive (RFC 4787 section 11).
    pub fragments: u32,
    /// Device where fragments go that came before their first one, to come back in order; 0 = none.
    pub sorter: u32,
    /// Always zero. The datapath reads it where the verifier must not know a number beforehand.
    pub reserved: u32,
    /// Whether devices shall have an XDP program, and how: one of [`xdp_wish`].
    pub xdp: u32,
    /// Which object the pinned programs are of, as a number made from all of its bytes; 0 = nobody knows.
    pub build: u32,
}
record!(Config, 96);

impl Config {
    /// The defaults of the project, stated here and nowhere else. The instance's own facts
    /// (version, netns) are zero.
    pub const DEFAULT: Self = Self {
        version: 0,
        epoch: 0,
        netns: 0,
        port_min: 1024,
        port_max: 65535,
        low_min: 1,
        low_max: 1023,
        flags: config_flag::INBOUND_REFRESH | config_flag::ANSWER,
        tcp_established: 7440,
        tcp_transitory: 240,
        udp: 300,
        icmp: 60,
        port_rest: 120,
        max_flows: 262_144,
        log_level: 0,
        filtering: filtering::ADDRESS_AND_PORT_DEPENDENT,
        port_block: 0,
        host_mappings: 0,
        host_flows: 0,
        addresses: 4,
        fragments: 30,
        sorter: 0,
        reserved: 0,
        xdp: xdp_wish::OFF,
        build: 0,
    };
}

/// Bits of [`Config::flags`].
pub mod config_flag {
    /// Packets from outside keep a UDP mapping alive (RFC 4787 REQ-6 allows it).
    pub const INBOUND_REFRESH: u32 = 1;
    /// Who is refused a connection is told so by ICMP (RFC 6888 REQ-1, RFC 5508 REQ-8).
    pub const ANSWER: u32 = 2;
    /// Mappings that begin and end are written to `events`.
    pub const EVENTS: u32 = 4;
    /// IPv6 is looked at: `prefixes6` has entries.
    pub const IPV6: u32 = 8;
}

/// Values of [`Config::filtering`] (RFC 4787 section 5).
pub mod filtering {
    /// Anybody may send to a mapping.
    pub const ENDPOINT_INDEPENDENT: u32 = 0;
    /// Whoever has an address the mapping's owner has sent to.
    pub const ADDRESS_DEPENDENT: u32 = 1;
    /// Only the endpoints the mapping's owner has sent to.
    pub const ADDRESS_AND_PORT_DEPENDENT: u32 = 2;
}

/// An outside address: the value of `outsides`, indexed by its number (see
/// [`crate::translate::pool`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// The address; 0.0.0.0 where the number is not in use, and while the uplink has none that will
    /// do. The datapath follows the uplink's address.
    pub addr: Ipv4,
    /// Interface index of its uplink.
    pub link: u32,
    /// The one address that will do; 0.0.0.0 = whichever the uplink has.
    pub asked: Ipv4,
    /// When the datapath last asked the kernel whether the address is there, by its own clock.
    pub checked: u32,
}
record!(Outside, 16);

/// A managed device: the value of `links`, keyed by interface index.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Bits of [`role`].
    pub roles: u32,
    /// Bytes of link header a frame starts with here: 14 (Ethernet), 0 (tun, wireguard), or on a VLAN
    /// device up to 18, because it may keep its tag in the frame's bytes.
    pub header: u32,
    /// First outside address, on an uplink.
    pub addr: Ipv4,
    /// Number of that address in `outsides`.
    pub outside: u32,
    /// How many outside addresses the uplink has; their numbers follow each other.
    pub outsides: u32,
    /// Bits of [`link_flag`].
    pub flags: u32,
    /// Name when it was attached, NUL-padded.
    pub name: [u8; 16],
    /// With `clsact`: priority of our filters, else 0.
    pub filter_priority: u32,
    /// With `clsact`: handle of the ingress filter.
    pub filter_in: u32,
    /// With `clsact`: handle of the egress filter.
    pub filter_out: u32,
    /// Its Ethernet address: what comes in for it has that.
    pub mac: [u8; 6],
    /// Mode of its XDP program, one of [`xdp`].
    pub xdp: u8,
    /// Always zero.
    pub reserved: u8,
}
record!(Link, 60);

impl Link {
    /// Number of the outside address that an inside host has here: always the same one, as long as
    /// there are as many (RFC 4787 REQ-2: paired).
    #[inline(always)]
    #[must_use]
    pub const fn paired(&self, saddr: Ipv4) -> u32 {
        // Neighbours get different ones (multiplicative hashing by the golden ratio).
        let mixed = u32::from_be_bytes(saddr).wrapping_mul(0x9e37_79b1);
        self.outside + ((mixed as u64 * self.outsides as u64) >> 32) as u32
    }
}

/// Bits of [`Link::roles`].
pub mod role {
    /// Traffic that leaves here is translated.
    pub const UPLINK: u32 = 1;
    /// Traffic that came in here is from inside.
    pub const INSIDE: u32 = 2;
    /// Inside hosts may come in here, and who does is one only if `sources` says so: the programs
    /// are attached for what inside hosts say to each other by an outside address.
    pub const HOOKED: u32 = 4;
    /// Fragments go there to be put in order, and come back ([`super::Config::sorter`]).
    pub const SORTER: u32 = 8;
}

/// Bits of [`Link::flags`].
pub mod link_flag {
    /// The programs are attached by `clsact` filters, not by TCX links.
    pub const CLSACT: u32 = 1;
    /// The `clsact` qdisc was added by us and goes when we go.
    pub const CLSACT_OURS: u32 = 2;
    /// `--inside DEV` named this device (it is attached for its role only).
    pub const BY_NAME: u32 = 4;
    /// What comes in or leaves here takes the kernel's way (`--no-shortcut DEV`).
    pub const NO_SHORTCUT: u32 = 8;
    /// The device wants to know by which route a packet comes to it (tunnels): what leaves here takes
    /// the kernel's way.
    pub const NEEDS_ROUTE: u32 = 16;
    /// XDP may send packets out here: the device is in `exits`.
    pub const EXIT: u32 = 32;
}

/// Values of [`Config::xdp`].
pub mod xdp_wish {
    /// No device.
    pub const OFF: u32 = 0;
    /// Devices whose drivers run it, where that is known to be good.
    pub const AUTO: u32 = 1;
    /// Devices whose drivers run it.
    pub const NATIVE: u32 = 2;
    /// Every Ethernet device, by the kernel.
    pub const GENERIC: u32 = 3;
}

/// Values of [`Link::xdp`].
pub mod xdp {
    /// None.
    pub const OFF: u8 = 0;
    /// The driver runs it, before there is an `skb`.
    pub const NATIVE: u8 = 1;
    /// The kernel runs it, on an `skb` (`XDP_FLAGS_SKB_MODE`).
    pub const GENERIC: u8 = 2;
}

/// Key of `sources`: a prefix in the layout of the kernel's LPM trie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// Length in bits.
    pub len: u32,
    /// Address, wire order.
    pub addr: Ipv4,
}
record!(Prefix, 8);

/// Value of `sources`: what becomes of a new flow with such a source, longest prefix first.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// One of [`source`].
    pub action: u32,
    /// With [`source::OUTSIDE`]: the address's number in `outsides`. With [`source::TRANSLATE`] and
    /// port blocks: what is added to an address of the prefix (as a number, wrapping) to get the
    /// number of its block.
    pub number: u32,
}
record!(Source, 8);

/// Values of [`Source::action`].
pub mod source {
    /// An inside host: translate.
    pub const TRANSLATE: u32 = 1;
    /// An address of this host other than the outside address: leave alone.
    pub const KEEP: u32 = 2;
    /// An outside address.
    pub const OUTSIDE: u32 = 3;
}

/// Key of `sysctls`: the name with dots, NUL-padded (`net.ipv4.conf.eth0.forwarding`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SysctlName {
    /// Bytes of the name.
    pub name: [u8; 64],
}
record!(SysctlName, 64);

/// Value of `sysctls`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctl {
    /// What it was before we touched it.
    pub before: i32,
    /// What we set it to; put back only while it still is.
    pub set: i32,
}
record!(Sysctl, 8);
