//! veth pairs between two namespaces: the cables of a lab.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ifreq::{self, Offload};
use crate::netns::Netns;
use crate::packet::Mac;
use crate::patience;

/// The largest payload of an Ethernet frame, and what [`Cable::new`] gives its two devices.
pub const DEFAULT_MTU: u32 = 1500;

/// One device of a namespace, as a test needs to know it.
#[derive(Clone, Debug)]
pub struct Port {
    /// The device's name.
    pub device: String,
    /// Its index in its own namespace.
    pub index: u32,
    /// Its hardware address.
    pub mac: Mac,
}

impl Port {
    /// An index and a hardware address ("vt" is in its middle) that nobody else in this process
    /// has.
    ///
    /// Indexes that differ across namespaces keep a mixed-up index from going unnoticed. They also
    /// save a second: the kernel takes a device whose index equals its peer's for one of its own
    /// that may wait for its carrier to be noticed (net/core/link_watch.c).
    fn next(device: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(100);
        // Between two of them there is room for those that vnetctl makes, next to what it finds.
        let index = NEXT.fetch_add(8, Ordering::Relaxed);
        let [_, a, b, c] = index.to_be_bytes();
        Self { device: device.to_owned(), index, mac: Mac([0x02, b'v', b't', a, b, c]) }
    }
}

/// What to plug together; [`Cable::plug`] does it.
///
/// ```no_run
/// # use vnet_tests::{link::Cable, netns::Netns};
/// let (left, right) = (Netns::new("left"), Netns::new("right"));
/// let (a, b) = Cable::new((&left, "eth0"), (&right, "eth0")).plug();
/// ```
#[derive(Debug)]
#[must_use = "a cable does nothing until it is plugged"]
pub struct Cable<'a> {
    ends: [(&'a Netns, &'a str); 2],
    mtu: u32,
    offloads: bool,
}

impl<'a> Cable<'a> {
    /// A cable between two devices that do not exist yet; both ends may be in one namespace.
    pub fn new(a: (&'a Netns, &'a str), b: (&'a Netns, &'a str)) -> Self {
        Self { ends: [a, b], mtu: DEFAULT_MTU, offloads: false }
    }

    /// Another MTU than 1500.
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu, ..self }
    }

    /// Leaves checksum and segmentation offloads on. They are off otherwise, so that every frame
    /// on the wire is a complete one whose checksums mean something.
    pub fn with_offloads(self) -> Self {
        Self { offloads: true, ..self }
    }

    /// Makes the pair, sets both ends up and waits until both carry packets.
    ///
    /// # Panics
    /// When the kernel refuses, with the words of `ip`.
    pub fn plug(self) -> (Port, Port) {
        let [(a_ns, a), (b_ns, b)] = self.ends;
        let (a_port, b_port, mtu) = (Port::next(a), Port::next(b), self.mtu);
        a_ns.ip(&format!(
            "link add name {a} index {} address {} mtu {mtu} type veth \
             peer name {b} index {} address {} mtu {mtu} netns {}",
            a_port.index,
            a_port.mac,
            b_port.index,
            b_port.mac,
            b_ns.path().display()
        ));
        for (netns, device) in self.ends {
            offloads(netns, device, self.offloads);
            netns.ip(&format!("link set dev {device} up"));
        }
        wait_running(a_ns, a);
        wait_running(b_ns, b);
        (a_port, b_port)
    }
}

/// Switches what a device may leave to its peer: transmit checksums, segmentation, joining.
///
/// # Panics
/// When the device does not exist or cannot switch them.
pub fn offloads(netns: &Netns, device: &str, on: bool) {
    netns.run(|| {
        for offload in [Offload::TxChecksum, Offload::Tso, Offload::Gso, Offload::Gro] {
            ifreq::set_offload(device, offload, on)
                .unwrap_or_else(|e| panic!("cannot set {offload:?} of {device}: {e}"));
        }
    });
}

/// Has a veth poll for what it receives (NAPI): then XDP may send packets to it. Packets of small ones are
/// joined there.
///
/// # Panics
/// When the device does not exist or cannot.
pub fn polls(netns: &Netns, device: &str) {
    let set = netns.run(|| ifreq::set_offload(device, Offload::Gro, true));
    set.unwrap_or_else(|e| panic!("cannot set {:?} of {device}: {e}", Offload::Gro));
}

/// Waits until the kernel lets packets through a device that was just set up.
///
/// Right after `ip link set up` a device still has the queue that drops everything: the kernel
/// replaces it when it has noticed the carrier, a little later.
///
/// # Panics
/// After five seconds.
pub fn wait_running(netns: &Netns, device: &str) {
    let limit = Instant::now() + patience::seconds(5);
    netns.run(|| {
        while !ifreq::is_running(device).expect("the device exists") {
            assert!(Instant::now() < limit, "{device} in {} has no carrier", netns.name());
            sleep(Duration::from_millis(2));
        }
    });
}

/// Gives a device an address, e.g. `10.0.0.1/24`.
pub fn address(netns: &Netns, device: &str, cidr: &str) {
    netns.ip(&format!("address add {cidr} dev {device}"));
}

/// Writes a neighbour down for good, so that no ARP is sent for it.
pub fn neighbour(netns: &Netns, device: &str, address: Ipv4Addr, mac: Mac) {
    netns.ip(&format!("neighbour replace {address} lladdr {mac} dev {device} nud permanent"));
}
