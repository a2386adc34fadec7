//! The programs of vnet, loaded without vnetctl and tried on single frames.
//!
//! A [`Datapath`] lives in a namespace of its own with two devices, `in0` and `up0`, and nobody
//! behind them. Its maps are written as a control plane would: `up0` is the uplink with outside
//! address [`OUTSIDE`], sources in 10.0.0.0/8 are translated and [`KEPT`] is left alone; a test
//! changes what it needs before ([`Plan`]) or after ([`Datapath::hash`], [`Datapath::array`]).
//!
//! Every packet that is tried is judged: just the end that the test names must be counted, what
//! becomes of the packet must be what that end promises, and a packet that is left alone must come
//! out as it went in.

mod early;
mod plan;
mod six;
mod tables;
mod told;

use std::cell::RefCell;
use std::net::Ipv4Addr;

use aya::maps::PerCpuArray;
use aya::maps::lpm_trie::{Key, LpmTrie};
use vnet_common::LAYOUT_VERSION;
use vnet_common::account::{self, Counter, Reason};
use vnet_common::policy::{Config, Link, Outside, Source, config_flag, role, source};
use vnet_common::port::PortPool;
use vnet_common::translate::pool;
use vnet_ctl::bpf::Loaded;

use crate::counters::Counters;
use crate::link::Port;
use crate::netns::Netns;
use crate::packet::{Packet, assert_valid, explain, faults};
use crate::test_run::{self, Action, Context, Verdict};

pub use plan::Plan;
pub use six::frame6;

/// The outside address.
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

/// Another address of the router itself, which is not translated.
pub const KEPT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 9);

/// Which of the two programs of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// What the device has received: `vnet_in`.
    In,
    /// What the device is about to send: `vnet_out`.
    Out,
}

impl Hook {
    /// The program's name in the object.
    pub fn program(self) -> &'static str {
        match self {
            Self::In => "vnet_in",
            Self::Out => "vnet_out",
        }
    }
}

/// The loaded programs and maps, and the namespace they are tried in.
pub struct Datapath {
    /// Where the devices are.
    pub netns: Netns,
    /// The device towards the inside.
    pub inside: Port,
    /// The device towards the outside.
    pub uplink: Port,
    pub(crate) loaded: RefCell<Loaded>,
}

impl Datapath {
    /// The usual one.
    ///
    /// # Panics
    /// When the kernel refuses the object, in the verifier's words.
    pub fn new() -> Self {
        Self::plan().build()
    }

    /// Starts from the usual one and changes it.
    pub fn plan() -> Plan {
        let flags = Config::DEFAULT.flags & !config_flag::ANSWER;
        let default = Config { flags, max_flows: 4096, ..Config::DEFAULT };
        Plan { config: Config { version: LAYOUT_VERSION, ..default }, sorter: false }
    }

    fn fill(&mut self, config: &Config) {
        let mut pools = self.array("pools");
        for number in 0..pool::PER_ADDRESS * config.addresses {
            pools.set(number, PortPool::FULL, 0).expect("a pool for each protocol");
        }
        self.outside(0, OUTSIDE, self.uplink.index);
        self.source([10, 0, 0, 0], 8, source::TRANSLATE);
        self.source(KEPT.octets(), 32, source::KEEP);
        self.role(self.uplink.index, role::UPLINK);
        self.array("config").set(0, *config, 0).expect("config has an entry");
    }

    /// Gives a device a role.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn role(&mut self, index: u32, roles: u32) {
        let link =
            Link { roles, header: 14, addr: OUTSIDE.octets(), outsides: 1, ..Link::default() };
        self.hash("links").insert(index, link, 0).expect("links has room");
    }

    /// Makes the uplink a VLAN device, as far as the programs know.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn vlan_uplink(&mut self) {
        let index = self.uplink.index;
        let mut links = self.hash::<u32, Link>("links");
        let link = links.get(&index, 0).expect("the uplink is managed");
        links.insert(index, Link { header: 18, ..link }, 0).expect("links has room");
    }

    /// Says what becomes of sources in a prefix.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn source(&mut self, net: [u8; 4], length: u32, action: u32) {
        self.source_record(net, length, Source { action, number: 0 });
    }

    /// Makes an address an outside one.
    ///
    /// # Panics
    /// When there is no such number.
    pub fn outside(&mut self, number: u32, address: Ipv4Addr, link: u32) {
        let addr = address.octets();
        let outside = Outside { addr, link, ..Outside::default() };
        self.array("outsides").set(number, outside, 0).expect("room for the address");
        self.source_record(addr, 32, Source { action: source::OUTSIDE, number });
    }

    /// Says more of sources in a prefix than [`Datapath::source`] does.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn source_record(&mut self, net: [u8; 4], length: u32, source: Source) {
        self.prefix("sources", net, length, source);
    }

    /// Excludes destinations in a prefix from translation.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn exclude(&mut self, net: [u8; 4], length: u32) {
        self.prefix("exclusions", net, length, Source { action: source::KEEP, number: 0 });
    }

    fn prefix(&mut self, name: &str, net: [u8; 4], length: u32, source: Source) {
        let map = self.loaded.get_mut().ebpf().map_mut(name).expect("the object has the map");
        let mut map: LpmTrie<_, [u8; 4], Source> = map.try_into().expect("a trie of Source");
        map.insert(&Key::new(length, net), source, 0).expect("the map has room");
    }

    /// What is known of a source; zero where nothing is.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn source_of(&mut self, addr: Ipv4Addr) -> Source {
        let map = self.loaded.get_mut().ebpf().map_mut("sources").expect("the object has sources");
        let map: LpmTrie<_, [u8; 4], Source> = map.try_into().expect("a trie of Source");
        map.get(&Key::new(32, addr.octets()), 0).unwrap_or_default()
    }

    /// Tries a packet from inside at the uplink's way out: it must meet just this end. Returns
    /// what is left of it.
    #[track_caller]
    pub fn out(&self, packet: &Packet, end: Reason) -> Packet {
        self.judged(Hook::Out, &self.forwarded(), packet, end)
    }

    /// Tries a packet of the router's own, as [`Datapath::out`] does.
    #[track_caller]
    pub fn host_out(&self, packet: &Packet, end: Reason) -> Packet {
        self.judged(Hook::Out, &self.own(), packet, end)
    }

    /// Tries a packet from outside at the uplink's way in, as [`Datapath::out`] does.
    #[track_caller]
    pub fn back(&self, packet: &Packet, end: Reason) -> Packet {
        self.judged(Hook::In, &self.own(), packet, end)
    }

    /// The context of a packet that came in from inside.
    pub fn forwarded(&self) -> Context {
        let ingress_ifindex = self.inside.index;
        Context { ifindex: self.uplink.index, ingress_ifindex, ..Context::default() }
    }

    /// The context of a packet of the router's own, or of one that has just come in.
    pub fn own(&self) -> Context {
        Context { ifindex: self.uplink.index, ..Context::default() }
    }

    /// Tries a packet in any context; it must meet just this end.
    #[track_caller]
    pub fn judged(&self, hook: Hook, context: &Context, packet: &Packet, end: Reason) -> Packet {
        let left = self.judged_frame(hook, context, &packet.bytes(), end);
        Packet::parse(&left).unwrap_or_else(|why| panic!("{packet} became {why}"))
    }

    /// Tries any bytes in any context; they must meet just this end. Returns what is left of them.
    ///
    /// # Panics
    /// When another end is counted, or more than one, or the verdict is not that end's, or bytes
    /// changed that should not have, or a checksum that was right is wrong now.
    #[track_caller]
    pub fn judged_frame(
        &self,
        hook: Hook,
        context: &Context,
        frame: &[u8],
        end: Reason,
    ) -> Vec<u8> {
        let before = self.counters();
        let verdict = self.run_frame(hook, context, frame);
        let moved = self.counters().since(&before);
        let segments = i128::from(segments(context, frame));
        let wanted = std::iter::once((end.name().to_owned(), segments)).collect();
        assert_eq!(moved, wanted, "ends of {hook:?} {}, and the one expected", explain(frame));
        let action = match end.verdict() {
            account::Verdict::Pass => Action::Next,
            account::Verdict::Drop => Action::Drop,
            account::Verdict::Detour | account::Verdict::Shortcut => Action::Redirect,
        };
        assert_eq!(verdict.action, action, "{verdict}");
        if is_translation(end) {
            let (before, after) = (faults(frame), faults(&verdict.frame));
            assert_eq!(
                before.is_empty(),
                after.is_empty(),
                "{before:?} became {after:?}: {verdict}"
            );
        } else if action == Action::Next {
            assert_eq!(verdict.frame, frame, "{} was to be left alone", explain(frame));
        }
        verdict.frame
    }

    /// Tries a packet that must meet this end and become an ICMP error to its sender: returns that.
    ///
    /// # Panics
    /// When another end is counted, or the answer is not, or is not sent, or is not a valid packet.
    #[track_caller]
    pub fn answered(&self, hook: Hook, context: &Context, packet: &Packet, end: Reason) -> Packet {
        let before = self.counters();
        let verdict = self.run_frame(hook, context, &packet.bytes());
        let moved = self.counters().since(&before);
        let wanted = [end, Reason::IcmpSent].map(|end| (end.name().to_owned(), 1));
        assert_eq!(moved, wanted.into_iter().collect(), "ends of {packet}: {verdict}");
        assert_eq!(verdict.action, Action::Redirect, "{verdict}");
        let answer = verdict.packet();
        assert_valid(&verdict.frame);
        assert_eq!(answer.ip.destination, packet.ip.source, "{answer}");
        answer
    }

    /// Runs a program on any bytes, in any context, without judging what comes of it.
    ///
    /// # Panics
    /// When the kernel refuses to try it.
    #[track_caller]
    pub fn run_frame(&self, hook: Hook, context: &Context, frame: &[u8]) -> Verdict {
        let mut loaded = self.loaded.borrow_mut();
        let program = loaded.program(hook.program()).unwrap_or_else(|e| panic!("{e}"));
        let verdict = test_run::run(program, &self.netns, context, frame);
        verdict.unwrap_or_else(|e| panic!("cannot try {hook:?} on this frame: {e}"))
    }

    /// How many packets met each end so far, on all CPUs.
    pub fn counters(&self) -> Counters {
        let packets = |reason: &Reason| (reason.name().to_owned(), self.counter(*reason).packets);
        Counters(Reason::ALL.iter().map(packets).collect())
    }

    /// What was counted for one end, on all CPUs.
    ///
    /// # Panics
    /// When the map is not the one vnet-common describes.
    pub fn counter(&self, reason: Reason) -> Counter {
        let mut loaded = self.loaded.borrow_mut();
        let map = loaded.ebpf().map("counters").expect("the object has counters");
        let map = PerCpuArray::<_, Counter>::try_from(map).expect("a per-CPU array of Counter");
        let values = map.get(&(reason as u32), 0).expect("an entry for every reason");
        values.iter().fold(Counter::default(), |sum, more| Counter {
            packets: sum.packets + more.packets,
            bytes: sum.bytes + more.bytes,
        })
    }
}

impl Default for Datapath {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether a packet that meets this end has been changed.
fn is_translation(end: Reason) -> bool {
    matches!(
        end,
        Reason::NatOut
            | Reason::Moved
            | Reason::NatIn
            | Reason::IcmpErrorOut
            | Reason::IcmpErrorIn
            | Reason::Hairpin
            | Reason::ShortcutOut
            | Reason::ShortcutIn
            | Reason::XdpOut
            | Reason::XdpIn
    ) || six::is_translation(end)
}

/// How many packets a frame stands for on the wire.
fn segments(context: &Context, frame: &[u8]) -> u32 {
    let (_, size) = context.gso;
    if size == 0 {
        return 1;
    }
    let data = Packet::parse(frame).map_or(0, |packet| packet.data().len());
    u32::try_from(data).expect("a frame is shorter than a page").div_ceil(size).max(1)
}
