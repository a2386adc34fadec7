//! What the programs themselves cost, stage by stage: frames that end at one after the other, tried many
//! times each (BPF_PROG_TEST_RUN), with everything in the caches. Nothing of the kernel's own is in it.

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};
use vnet_common::flow::{Direction, Flow, FlowKey, flag, proto};
use vnet_common::policy::{Config, Link, role};
use vnet_common::shortcut::{Hop, Way};
use vnet_common::tcp::State;

use super::series::Sample;
use crate::datapath::{Datapath, Hook};
use crate::packet::{Mac, Packet};
use crate::packet6::{ETHER_TYPE, Packet6};
use crate::test_run::{self, Action, Context, EarlyAction};

/// How often a frame is tried in a row: its TTL falls each time.
const REPEAT: u32 = 200;
/// Rows, of which the median counts.
const ROWS: usize = 31;
/// Somebody inside, and somebody not translated towards.
const FROM: &str = "10.0.0.2:4000";
const TO: &str = "172.16.5.9:80";
const NEXT: Mac = Mac([2, 0, 0, 0, 0, 7]);
const ARP: [u8; 2] = [8, 6];

/// Takes one sample of each stage.
pub(super) fn sample() -> Result<Vec<Sample>> {
    let mut bench = Bench::new();
    let mut other_class = known();
    other_class.ip.tos = 0xb8;
    let arp = bench.frame(&ARP, &[0; 46]);
    let stranger = Packet::udp("10.0.0.3:4000", TO);
    let early = [
        ("enter", "enters, and is not IP", arp, EarlyAction::Pass),
        ("miss", "is parsed, and looked up in vain twice", bench.of(&stranger), EarlyAction::Pass),
        (
            "unlike",
            "is known, and unlike others of its flow",
            bench.of(&other_class),
            EarlyAction::Pass,
        ),
        ("shortcut", "is translated and sent", bench.of(&known()), EarlyAction::Redirect),
        ("routed4", "is routed and sent, IPv4", bench.of(&routed()), EarlyAction::Redirect),
        ("routed6", "is routed and sent, IPv6", bench.six(&there()), EarlyAction::Redirect),
    ];
    let mut samples = Vec::new();
    for (id, what, frame, action) in early {
        let time = bench.early(&frame, action)?;
        samples.push(sample_of(&format!("stage-xdp-{id}"), &format!("vnet_xdp: {what}"), time));
    }
    let late = [
        ("shortcut", "is translated and sent", bench.of(&known())),
        ("routed4", "is routed and sent, IPv4", bench.of(&routed())),
        ("routed6", "is routed and sent, IPv6", bench.six(&there())),
    ];
    for (id, what, frame) in late {
        let time = bench.late(&frame)?;
        samples.push(sample_of(&format!("stage-tc-{id}"), &format!("vnet_in: {what}"), time));
    }
    Ok(samples)
}

fn sample_of(id: &str, title: &str, time: f64) -> Sample {
    Sample::less(id, &format!("Program alone, a packet {title}"), "ns/packet", time)
}

/// A packet of a flow.
fn known() -> Packet {
    lasting(Packet::udp(FROM, "203.0.113.5:80"))
}

/// One that is excluded.
fn routed() -> Packet {
    lasting(Packet::udp(FROM, TO))
}

fn lasting(mut packet: Packet) -> Packet {
    packet.ip.ttl = 255;
    packet
}

fn there() -> Packet6 {
    let ends = ["2001:db8:a::2", "2001:db8:b::2"].map(|addr| addr.parse().expect("an address"));
    let packet = Packet6::udp((ends[0], 4000), (ends[1], 5000), b"question");
    Packet6 { hops: 255, ..packet }
}

struct Bench {
    datapath: Datapath,
}

impl Bench {
    fn new() -> Self {
        let mut datapath = Datapath::new();
        datapath.exclude([172, 16, 0, 0], 12);
        let roles =
            [(datapath.inside.clone(), role::INSIDE), (datapath.uplink.clone(), role::UPLINK)];
        for (port, roles) in roles {
            datapath.role(port.index, roles);
            let mut links = datapath.hash::<u32, Link>("links");
            let link = links.get(&port.index, 0).expect("it was just written");
            links.insert(port.index, Link { mac: port.mac.0, ..link }, 0).expect("links has room");
            datapath.exit(port.index);
        }
        Self { datapath }
    }

    /// A frame that comes in by the inside device.
    fn frame(&self, ethertype: &[u8], packet: &[u8]) -> Vec<u8> {
        [&self.datapath.inside.mac.0, &NEXT.0, ethertype, packet].concat()
    }

    fn of(&self, packet: &Packet) -> Vec<u8> {
        packet.clone().frame(NEXT, self.datapath.inside.mac).bytes()
    }

    fn six(&self, packet: &Packet6) -> Vec<u8> {
        self.frame(&ETHER_TYPE.to_be_bytes(), &packet.bytes())
    }

    /// All ways are shown anew: they hold for a second.
    fn show(&mut self) {
        let (inside, uplink) = (self.datapath.inside.clone(), self.datapath.uplink.clone());
        self.remember(known());
        let back = Packet::udp(TO, FROM);
        let there6 = there();
        let (from, to) = ((there6.source, 4000), (there6.destination, 5000));
        let back6 = Packet6::udp(to, from, b"answer");
        let leave = |ethertype: &[u8],
                     packet: &[u8],
                     from: &crate::link::Port,
                     by: &crate::link::Port| {
            let frame = [&inside.mac.0, &by.mac.0, ethertype, packet].concat();
            let context =
                Context { ifindex: by.index, ingress_ifindex: from.index, ..Context::default() };
            let _ = self.datapath.run_frame(Hook::Out, &context, &frame);
        };
        let six = ETHER_TYPE.to_be_bytes();
        let bytes = |packet: Packet| packet.bytes()[14..].to_vec();
        leave(&[8, 0], &bytes(routed()), &inside, &uplink);
        leave(&[8, 0], &bytes(back), &uplink, &inside);
        leave(&six, &there6.bytes(), &inside, &uplink);
        leave(&six, &back6.bytes(), &uplink, &inside);
    }

    /// A flow that writes what is there already, so that it can be tried again and again.
    fn remember(&mut self, packet: Packet) {
        let (from, to) = (packet.source(), packet.destination());
        let (saddr, daddr) = (from.ip().octets(), to.ip().octets());
        let (sport, dport) = (from.port(), to.port());
        let key = FlowKey { saddr, daddr, sport, dport, proto: proto::UDP, reserved: [0; 3] };
        let now = now();
        let (inside, uplink) = (self.datapath.inside.clone(), self.datapath.uplink.clone());
        let hop = Hop {
            device: uplink.index,
            from: inside.index,
            // What has left is tried again, and has to be for this device then.
            dmac: inside.mac.0,
            smac: uplink.mac.0,
            header: 14,
            came: 14,
            to: inside.mac.0,
            noted: Hop::stamp(now),
            ..Hop::default()
        };
        self.datapath.array::<Hop>("hops").set(1, hop, 0).expect("a hop can be written");
        let epoch = Config::DEFAULT.epoch as u16;
        let way = Way { hop: 1, size: 1500, learnt: Way::stamp(now), epoch };
        let flags = flag::ACCEPTED | flag::REPLIED;
        let (state, direction) = (State::Replied as u8, Direction::In as u8);
        let flow = Flow {
            saddr,
            daddr,
            sport,
            dport,
            direction,
            state,
            flags,
            way,
            last_seen: now,
            ..Flow::default()
        };
        self.datapath.hash("flows4").insert(key, flow, 0).expect("flows4 has room");
    }

    fn early(&mut self, frame: &[u8], action: EarlyAction) -> Result<f64> {
        self.rows(|datapath| {
            let mut loaded = datapath.loaded.borrow_mut();
            let port = &datapath.inside;
            let run = test_run::run_early_often(
                loaded.xdp()?,
                &datapath.netns,
                port.index,
                frame,
                REPEAT,
            );
            let (found, _, took) = run.context("the kernel tries no XDP program")?;
            ensure!(found == action, "{found:?} came of a frame that is for {action:?}");
            Ok(took.as_nanos() as f64)
        })
    }

    fn late(&mut self, frame: &[u8]) -> Result<f64> {
        self.rows(|datapath| {
            let mut loaded = datapath.loaded.borrow_mut();
            let context = Context { ifindex: datapath.inside.index, ..Context::default() };
            let program = loaded.program(Hook::In.program())?;
            let run = test_run::run_often(program, &datapath.netns, &context, frame, REPEAT);
            let verdict = run.context("the kernel tries no program")?;
            ensure!(verdict.action == Action::Redirect, "it did not take the shortcut: {verdict}");
            Ok(verdict.took.as_nanos() as f64)
        })
    }

    fn rows(&mut self, row: impl Fn(&Datapath) -> Result<f64>) -> Result<f64> {
        let mut rows = Vec::new();
        for _ in 0..ROWS {
            // What is shown again is not shown anew while it holds, and may cease to a moment later.
            let mut turn = || {
                self.show();
                row(&self.datapath)
            };
            rows.push(turn().or_else(|_| turn())?);
        }
        rows.sort_by(f64::total_cmp);
        Ok(rows[ROWS / 2])
    }
}

/// Now, in nanoseconds of the programs' clock.
fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
