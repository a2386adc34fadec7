//! Facts about the network namespace a command runs in.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use crate::spec::{self, Hook};

/// The sysctl without which nothing is forwarded.
pub const IP_FORWARD: &str = "net.ipv4.ip_forward";

/// The sysctl without which connection tracking takes for invalid what follows segments that it has
/// not seen.
pub const LIBERAL: &str = "net.netfilter.nf_conntrack_tcp_be_liberal";

/// [`IP_FORWARD`] for IPv6, which vnet only looks at.
pub const IPV6_FORWARD: &str = "net.ipv6.conf.all.forwarding";

/// Device of a `net.ipv4.conf.DEVICE.forwarding`.
#[must_use]
pub fn conf_device(sysctl: &str) -> Option<&str> {
    sysctl.strip_prefix("net.ipv4.conf.")?.strip_suffix(".forwarding")
}

/// A network device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// Its name now.
    pub name: String,
    /// Bytes of link header before the IP header at most, when known.
    pub header: Option<u32>,
    /// Its IPv4 addresses in the kernel's order, and whether their scope is global.
    pub addresses: Vec<(Ipv4Addr, bool)>,
    /// The networks these are in (on point-to-point devices, the other end).
    pub networks: Vec<Ipv4Net>,
    /// Its IPv6 addresses of global scope, with the length of their network.
    pub networks6: Vec<Ipv6Net>,
    /// Whether what it receives is given to this host's IP: it is up, is not the loopback, and is
    /// no port of another device.
    pub enters: bool,
    /// Whether it wants to know by which route a packet comes to it, as tunnels may.
    pub needs_route: bool,
    /// Whether it is up.
    pub up: bool,
    /// Its address on the link; zero when it has none, or another kind of.
    pub mac: [u8; 6],
    /// What matters to XDP.
    pub xdp: DeviceXdp,
}

/// What matters to XDP about a device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceXdp {
    /// What its driver can do; `None` when the kernel does not tell.
    pub driver: Option<Driver>,
    /// The program that is there.
    pub program: Option<XdpProgram>,
    /// Whether there are VLAN devices on it.
    pub vlans: bool,
    /// Whether it is a bond: a driver's program runs on its members.
    pub bond: bool,
    /// Whether what it receives was sent on this machine, where checksums are left unfinished (veth,
    /// tun and tap).
    pub unfinished: bool,
}

/// What a driver can do with XDP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Driver {
    /// Run a program that redirects.
    pub redirects: bool,
    /// Send what a program elsewhere has redirected to it.
    pub sends: bool,
}

/// An XDP program on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpProgram {
    /// Its kernel id.
    pub id: u32,
    /// Whether the kernel runs it, and not the driver.
    pub generic: bool,
    /// The instance that it belongs to.
    pub owner: Option<spec::Instance>,
}

impl Device {
    /// Its addresses in words.
    #[must_use]
    pub fn present(&self) -> String {
        let words: Vec<_> = self.addresses.iter().map(|(address, _)| address.to_string()).collect();
        if words.is_empty() { "no IPv4 address".to_owned() } else { words.join(", ") }
    }

    /// Whether the address is one of its own.
    #[must_use]
    pub fn has(&self, address: Ipv4Addr) -> bool {
        self.addresses.iter().any(|(own, _)| *own == address)
    }
}

/// A traffic control filter of `clsact`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Where it sits.
    pub hook: Hook,
    /// Its priority.
    pub priority: u16,
    /// Its handle.
    pub handle: u32,
    /// Its kind (`bpf`, `flower`, …).
    pub kind: String,
    /// Name of its program, if it is one.
    pub name: String,
    /// Kernel id of its program, if it is one.
    pub program: Option<u32>,
}

/// A program on a TCX hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcxProgram {
    /// Where it sits.
    pub hook: Hook,
    /// Its kernel id.
    pub id: u32,
    /// Its name.
    pub name: String,
}

/// What sits on a device's hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tc {
    /// Kind of the qdisc on the handle that `clsact` needs, if there is one.
    pub qdisc: Option<String>,
    /// Whether that qdisc was added by an instance of vnet, which may be another one.
    pub ours: bool,
    /// Filters of that qdisc.
    pub filters: Vec<Filter>,
    /// TCX programs.
    pub tcx: Vec<TcxProgram>,
    /// Whether a qdisc makes packets wait or chooses among them by more than fairness.
    pub shaped: bool,
}

/// A network namespace as found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its identity.
    pub netns: u64,
    /// Identities of all namespaces that could be found alive.
    pub namespaces: BTreeSet<u64>,
    /// Its devices by interface index.
    pub devices: BTreeMap<u32, Device>,
    /// What sits on those devices.
    pub tc: BTreeMap<u32, Tc>,
    /// Devices of those whose hooks somebody else uses.
    pub foreign: BTreeSet<u32>,
    /// Uplinks of the instances that live here.
    pub uplinks: BTreeMap<u32, spec::Instance>,
    /// Instances that have a network namespace where fragments are put in order, or what is left of
    /// one.
    pub sorters: BTreeSet<spec::Instance>,
    /// Why such a namespace cannot be made, when that was tried and it cannot.
    pub unsortable: Option<String>,
    /// Why programs cannot sit on the calls of its sockets, when that was tried and they cannot.
    pub uncallable: Option<String>,
    /// Devices where the kernel was asked to take an XDP program natively, and why it did not.
    pub xdp_refused: BTreeMap<u32, String>,
    /// Its sysctls that matter to forwarding, by dotted name.
    pub sysctls: BTreeMap<String, i32>,
    /// Whether the kernel has TCX.
    pub tcx: bool,
}

impl Host {
    /// The device of that name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<(u32, &Device)> {
        self.devices.iter().find(|(_, device)| device.name == name).map(|(i, device)| (*i, device))
    }

    /// Names of all devices, in words.
    #[must_use]
    pub fn present(&self) -> String {
        let names: Vec<_> = self.devices.values().map(|device| device.name.as_str()).collect();
        names.join(", ")
    }

    /// A device's present name, or `fallback` when it is gone.
    #[must_use]
    pub fn name_of(&self, index: u32, fallback: &str) -> String {
        self.devices.get(&index).map_or_else(|| fallback.to_owned(), |device| device.name.clone())
    }
}
