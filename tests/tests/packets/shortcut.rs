//! The shortcut, packet by packet: what is remembered, and what it takes to go by it.

use rustix::time::{ClockId, clock_gettime};
use vnet_common::account::Reason;
use vnet_common::flow::{Flow, FlowKey, flag};
use vnet_common::policy::{Config, Link, link_flag, role};
use vnet_common::shortcut::{Hop, Way};
use vnet_common::tcp::State;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{Body, Mac, Packet, Sum, TcpFlags};
use vnet_tests::test_run::{Action, Context};

use crate::scene::{CLIENT, SERVER, answered, datagram, key, outside};

/// Where the next station is, on either side, and what the device says it is itself.
const NEXT: [u8; 6] = [2, 0, 0, 0, 0, 7];
const OWN: [u8; 6] = [2, 0, 0, 0, 0, 8];

const ACK: TcpFlags = TcpFlags::ACK;

/// Now, in nanoseconds of the programs' clock.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let seconds = u64::try_from(now.tv_sec).expect("the clock has begun");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec).expect("less than a second")
}

/// What is remembered of a hop that was shown just now.
pub(crate) fn way(hop: u16) -> Way {
    Way { hop, size: 1500, learnt: Way::stamp(now()), epoch: Config::DEFAULT.epoch as u16 }
}

/// The context of a packet that comes in from inside.
pub(crate) fn at_inside(datapath: &Datapath) -> Context {
    Context { ifindex: datapath.inside.index, ..Context::default() }
}

/// A hop from one device to another, as the kernel would have shown it.
fn hop(from: u32, device: u32) -> Hop {
    let (dmac, smac, noted) = (NEXT, OWN, Hop::stamp(now()));
    Hop { device, from, dmac, smac, header: 14, came: 14, noted, ..Hop::default() }
}

/// Number of the hop of both directions, out and in, that [`both_ways`] makes.
pub(crate) const HOPS: [u16; 2] = [1, 2];

/// Changes a hop.
pub(crate) fn change_hop(datapath: &mut Datapath, number: u16, how: impl FnOnce(&mut Hop)) {
    let mut hops = datapath.array::<Hop>("hops");
    let mut hop = hops.get(&u32::from(number), 0).expect("there is such a number");
    how(&mut hop);
    hops.set(u32::from(number), hop, 0).expect("it is only replaced");
}

/// A connection that may take the shortcut in both directions: begins with this packet. Returns what
/// left.
pub(crate) fn both_ways(datapath: &mut Datapath, packet: &Packet) -> Packet {
    datapath.role(datapath.inside.index, role::INSIDE);
    let left = answered(datapath, packet);
    if let Body::Tcp(_) = packet.body {
        datapath.out(&Packet::tcp(packet.source(), packet.destination(), ACK), Reason::NatOut);
    }
    let (inside, uplink) = (datapath.inside.index, datapath.uplink.index);
    let back = datapath.flow(&key(packet)).expect("the flow is there").twin(key(packet).proto);
    let ways = [(key(packet), hop(inside, uplink)), (back, hop(uplink, inside))];
    for (number, (tuple, hop)) in HOPS.into_iter().zip(ways) {
        change_hop(datapath, number, |place| *place = hop);
        change(datapath, &tuple, |flow| {
            (flow.way, flow.last_seen) = (way(number), now());
            flow.flags |= flag::ACCEPTED;
        });
    }
    left
}

pub(crate) fn change(datapath: &mut Datapath, key: &FlowKey, how: impl FnOnce(&mut Flow)) {
    let mut flow = datapath.flow(key).expect("the flow is there");
    how(&mut flow);
    datapath.hash::<FlowKey, Flow>("flows4").insert(key, flow, 0).expect("it is only replaced");
}

/// What comes of a packet from inside, where it comes in.
#[track_caller]
fn enters(datapath: &Datapath, packet: &Packet, end: Reason) -> Packet {
    let framed = packet.clone().frame(Mac::default(), datapath.inside.mac);
    datapath.judged(Hook::In, &at_inside(datapath), &framed, end)
}

#[test]
fn a_packet_leaves_as_nat_forwarding_and_neighbour_would_have_made_it() {
    let mut datapath = Datapath::new();
    let left = both_ways(&mut datapath, &datagram());
    let sent = enters(&datapath, &datagram(), Reason::ShortcutOut);
    assert_eq!((sent.source(), sent.destination()), (left.source(), SERVER));
    assert_eq!(sent.ip.ttl, datagram().ip.ttl - 1);
    assert_eq!((sent.ether.destination, sent.ether.source), (Mac(NEXT), Mac(OWN)));
    let answer = Packet::udp(SERVER, left.source()).payload(b"answer");
    let framed = answer.clone().frame(Mac::default(), datapath.uplink.mac);
    let heard = datapath.judged(Hook::In, &datapath.own(), &framed, Reason::ShortcutIn);
    assert_eq!((heard.source(), heard.destination()), (SERVER, CLIENT));
    assert_eq!(heard.ip.ttl, answer.ip.ttl - 1);
    let flow = datapath.flow(&key(&datagram())).expect("the flow is there");
    assert_eq!((flow.packets, flow.bytes), (2, 2 * 36), "counted as by the other way");
}

#[test]
fn it_has_the_marks_that_the_kernel_gave() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    change_hop(&mut datapath, HOPS[0], |hop| hop.mark = 0x77);
    let framed = datagram().frame(Mac::default(), datapath.inside.mac).bytes();
    let verdict = datapath.run_frame(Hook::In, &at_inside(&datapath), &framed);
    assert_eq!((verdict.action, verdict.mark), (Action::Redirect, 0x77));
}

#[test]
fn what_is_unlike_those_that_showed_the_way_takes_the_kernels() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    let mut last = datagram();
    last.ip.ttl = 1;
    let mut other = datagram();
    other.ip.tos = 0xb8;
    let mut record = datagram();
    record.ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    for packet in [last, other, record] {
        enters(&datapath, &packet, Reason::Inside);
    }
    // Congestion is not a class (RFC 3168).
    let mut congested = datagram();
    congested.ip.tos = 3;
    enters(&datapath, &congested, Reason::ShortcutOut);
    // A damaged header ends at a router, and the kernel is one (RFC 1812 section 5.2.2).
    let mut damaged = datagram();
    damaged.ip.checksum = Sum::Wrong(0x1234);
    enters(&datapath, &damaged, Reason::Inside);
    // A short frame is filled up, a long one is not.
    for (data, end) in [(8, Reason::ShortcutOut), (40, Reason::Inside)] {
        let framed = datagram().payload(&vec![0; data]).frame(Mac::default(), datapath.inside.mac);
        let filled = [framed.bytes(), vec![0; 10]].concat();
        datapath.judged_frame(Hook::In, &at_inside(&datapath), &filled, end);
    }
    // For another station: the kernel would not look at it.
    let passing = datagram().frame(Mac::default(), Mac([2, 9, 9, 9, 9, 9]));
    datapath.judged(Hook::In, &at_inside(&datapath), &passing, Reason::Inside);
}

#[test]
fn what_is_remembered_holds_only_for_what_it_was_seen_of() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    let tuple = key(&datagram());
    let known = datapath.flow(&tuple).expect("the flow is there");
    let shown = hop(datapath.inside.index, datapath.uplink.index);
    // Nothing is known; the hop is being written; another device; more than a second ago; so long ago
    // that the number is the same again; another epoch; only smaller packets; only one direction has
    // passed; nobody has answered; another class.
    let changes: [fn(&mut Flow, &mut Hop); 10] = [
        |flow, _| flow.way.hop = 0,
        |_, hop| hop.device = 0,
        |_, hop| hop.from += 1,
        |flow, _| flow.way.learnt = flow.way.learnt.wrapping_sub(Way::VALID),
        |flow, _| flow.last_seen -= 1_000_000_000,
        |flow, _| flow.way.epoch += 1,
        |flow, _| flow.way.size = 35,
        |flow, _| flow.flags &= !flag::ACCEPTED,
        |flow, _| flow.state = State::Unreplied as u8,
        |_, hop| hop.class = 0x20,
    ];
    for how in changes {
        let fresh = Flow { way: way(HOPS[0]), last_seen: now(), ..known };
        change_hop(&mut datapath, HOPS[0], |hop| *hop = shown);
        change(&mut datapath, &tuple, |flow| *flow = fresh);
        enters(&datapath, &datagram(), Reason::ShortcutOut);
        let (mut flow, mut hop) = (fresh, shown);
        how(&mut flow, &mut hop);
        change_hop(&mut datapath, HOPS[0], |place| *place = hop);
        change(&mut datapath, &tuple, |place| *place = flow);
        enters(&datapath, &datagram(), Reason::Inside);
    }
}

#[test]
fn what_is_too_old_is_forgotten() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    let tuple = key(&datagram());
    change(&mut datapath, &tuple, |flow| {
        flow.way.learnt = flow.way.learnt.wrapping_sub(Way::VALID);
    });
    enters(&datapath, &datagram(), Reason::Inside);
    let left = datapath.flow(&tuple).expect("the flow is there").way;
    assert_eq!(left, Way::default(), "or it would be fresh again in 18 minutes");
}

#[test]
fn of_tcp_what_begins_or_ends_it_is_for_the_kernel_too() {
    let mut datapath = Datapath::new();
    let syn = Packet::tcp(CLIENT, SERVER, TcpFlags::SYN);
    both_ways(&mut datapath, &syn);
    let segment = |flags| Packet::tcp(CLIENT, SERVER, flags);
    enters(&datapath, &segment(ACK), Reason::ShortcutOut);
    // What acknowledges nothing belongs to no connection (RFC 9293).
    for flags in [TcpFlags::FIN | ACK, TcpFlags::SYN, TcpFlags::RST, TcpFlags::default()] {
        enters(&datapath, &segment(flags), Reason::Inside);
    }
    // One end has said all, and the other goes on.
    for state in [State::FinOut, State::FinIn] {
        change(&mut datapath, &key(&syn), |flow| flow.state = state as u8);
        enters(&datapath, &segment(ACK), Reason::ShortcutOut);
    }
    for state in [State::SynRecv, State::TimeWait, State::Reset, State::PickedUp] {
        change(&mut datapath, &key(&syn), |flow| flow.state = state as u8);
        enters(&datapath, &segment(ACK), Reason::Inside);
    }
}

#[test]
fn the_way_is_learnt_where_packets_leave() {
    let mut datapath = Datapath::new();
    datapath.role(datapath.inside.index, role::INSIDE);
    let tuple = key(&datagram());
    let learnt = |datapath: &mut Datapath| {
        let way = datapath.flow(&tuple).expect("the flow is there").way;
        let hops = datapath.array::<Hop>("hops");
        (way, hops.get(&u32::from(way.hop), 0).expect("there is such a number"))
    };
    answered(&datapath, &datagram());
    let nothing = learnt(&mut datapath).0;
    assert_eq!(nothing, Way::default(), "not from a question nobody has answered");
    let leaving = datagram().frame(Mac(OWN), Mac(NEXT));
    datapath.judged(Hook::Out, &datapath.forwarded(), &leaving, Reason::NatOut);
    let (first, shown) = learnt(&mut datapath);
    let (from, device) = (datapath.inside.index, datapath.uplink.index);
    assert_eq!(first, Way { learnt: first.learnt, size: 36, ..way(first.hop) });
    assert_eq!(shown, Hop { noted: shown.noted, ..hop(from, device) });
    assert!(Way::holds(first.learnt, Way::stamp(now())));
    // A larger one that passes shows that others may be as large; a smaller one shows nothing.
    for (data, size) in [(100, 128), (8, 128)] {
        let packet = datagram().payload(&vec![0; data]).frame(Mac(OWN), Mac(NEXT));
        datapath.judged(Hook::Out, &datapath.forwarded(), &packet, Reason::NatOut);
        assert_eq!(learnt(&mut datapath).0.size, size);
    }
    // Another neighbour, when a second is over.
    change(&mut datapath, &tuple, |flow| {
        flow.way.learnt = flow.way.learnt.wrapping_sub(Way::VALID);
    });
    let leaving = datagram().frame(Mac(OWN), Mac(OWN));
    datapath.judged(Hook::Out, &datapath.forwarded(), &leaving, Reason::NatOut);
    let (way, other) = learnt(&mut datapath);
    assert_eq!((other.dmac, way.size), (OWN, 36));
    assert_ne!(way.hop, first.hop, "what others follow is left as it is");
}

#[test]
fn nothing_is_learnt_of_devices_that_are_kept_off_or_unknown() {
    let mut datapath = Datapath::new();
    answered(&datapath, &datagram());
    let tried = |datapath: &mut Datapath| {
        datapath.judged(Hook::Out, &datapath.forwarded(), &datagram(), Reason::NatOut);
        datapath.flow(&key(&datagram())).expect("the flow is there").way.hop
    };
    assert_eq!(tried(&mut datapath), 0, "nothing would meet the next packet where it comes in");
    datapath.role(datapath.inside.index, role::INSIDE);
    for index in [datapath.inside.index, datapath.uplink.index] {
        let mut links = datapath.hash::<u32, Link>("links");
        let link = links.get(&index, 0).expect("it is managed");
        let off = Link { flags: link_flag::NO_SHORTCUT, ..link };
        links.insert(index, off, 0).expect("it is only replaced");
        assert_eq!(tried(&mut datapath), 0);
        datapath.hash::<u32, Link>("links").insert(index, link, 0).expect("it is only replaced");
    }
    assert_ne!(tried(&mut datapath), 0);
}

#[test]
fn a_new_epoch_ends_what_was_remembered() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    enters(&datapath, &datagram(), Reason::ShortcutOut);
    let config = datapath.array::<Config>("config").get(&0, 0).expect("there is one");
    let next = Config { epoch: config.epoch + 1, ..config };
    datapath.array::<Config>("config").set(0, next, 0).expect("there is room for one");
    enters(&datapath, &datagram(), Reason::Inside);
    let answer = Packet::udp(SERVER, outside(4000)).frame(Mac::default(), datapath.uplink.mac);
    datapath.judged(Hook::In, &datapath.own(), &answer, Reason::NatIn);
}

#[test]
fn flows_that_go_the_same_way_share_it() {
    let mut datapath = Datapath::new();
    datapath.role(datapath.inside.index, role::INSIDE);
    let hops: Vec<_> = (0..3)
        .map(|n| {
            let packet = datagram().from(format!("10.0.0.{}:4000", 2 + n).as_str());
            answered(&datapath, &packet);
            let leaving = packet.clone().frame(Mac(OWN), Mac(NEXT));
            datapath.judged(Hook::Out, &datapath.forwarded(), &leaving, Reason::NatOut);
            datapath.flow(&key(&packet)).expect("the flow is there").way.hop
        })
        .collect();
    assert!(hops[0] != 0 && hops.iter().all(|hop| *hop == hops[0]), "{hops:?}");
}

#[test]
fn a_hop_that_somebody_follows_is_not_given_away() {
    let mut datapath = Datapath::new();
    datapath.role(datapath.inside.index, role::INSIDE);
    answered(&datapath, &datagram());
    let show = |datapath: &mut Datapath| {
        let leaving = datagram().frame(Mac(OWN), Mac(NEXT));
        datapath.judged(Hook::Out, &datapath.forwarded(), &leaving, Reason::NatOut);
        let way = datapath.flow(&key(&datagram())).expect("the flow is there").way;
        change(datapath, &key(&datagram()), |flow| flow.way = Way::default());
        way.hop
    };
    let first = show(&mut datapath);
    // Others are where it is, and in all places it may be in.
    let other = |age| {
        let noted = Hop::stamp(now()).wrapping_sub(age);
        Hop { device: 77, noted, ..Hop::default() }
    };
    // The first is noted by somebody whose clock is ahead.
    let ahead = 0_u32.wrapping_sub(1000);
    for (age, taken) in
        [(ahead, false), (0, false), (3 * Hop::SECOND, false), (5 * Hop::SECOND, true)]
    {
        for number in first..first + 8 {
            change_hop(&mut datapath, number, |hop| *hop = other(age));
        }
        assert_eq!(show(&mut datapath) != 0, taken, "noted {age} ago");
    }
}
