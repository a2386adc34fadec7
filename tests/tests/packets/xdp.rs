//! The shortcut by XDP, frame by frame: it does what the shortcut of traffic control does, and passes
//! whatever that would not take, or what is not complete.

use vnet_common::account::Reason;
use vnet_common::flow::{Flow, flag};
use vnet_common::policy::Outside;
use vnet_common::shortcut::{Hop, Way};
use vnet_common::tcp::State;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::{Body, Mac, Packet, Sum, TcpFlags};

use crate::scene::{CLIENT, SERVER, datagram, key};
use crate::shortcut::{HOPS, at_inside, both_ways, change, change_hop, now, way};

/// A connection that may take the shortcut, where XDP may send packets out by both devices.
fn open(packet: &Packet) -> (Datapath, Packet) {
    let mut datapath = Datapath::new();
    let left = both_ways(&mut datapath, packet);
    fresh(&mut datapath);
    let (inside, uplink) = (datapath.inside.clone(), datapath.uplink.clone());
    for index in [inside.index, uplink.index] {
        datapath.exit(index);
    }
    for (number, port) in HOPS.into_iter().zip([inside, uplink]) {
        change_hop(&mut datapath, number, |hop| hop.to = port.mac.0);
    }
    (datapath, left)
}

/// The uplink's address has just been looked at.
fn fresh(datapath: &mut Datapath) {
    let mut outsides = datapath.array::<Outside>("outsides");
    let outside = outsides.get(&0, 0).expect("there is one");
    outsides
        .set(0, Outside { checked: Hop::stamp(now()), ..outside }, 0)
        .expect("it is only replaced");
}

/// What comes of a packet from inside.
#[track_caller]
fn enters(datapath: &Datapath, packet: &Packet, end: Option<Reason>) -> Vec<u8> {
    let framed = packet.clone().frame(Mac::default(), datapath.inside.mac);
    datapath.early(&datapath.inside, &framed.bytes(), end)
}

#[test]
fn a_packet_becomes_the_same_as_by_traffic_control() {
    for sample in [datagram(), Packet::tcp(CLIENT, SERVER, TcpFlags::SYN)] {
        let (datapath, left) = open(&sample);
        let goes_on = match sample.body {
            Body::Tcp(_) => Packet::tcp(CLIENT, SERVER, TcpFlags::ACK),
            _ => sample.clone(),
        };
        for payload in [&b""[..], b"odd", b"as long as it is"] {
            let packet = goes_on.clone().payload(payload);
            let framed = packet.clone().frame(Mac::default(), datapath.inside.mac);
            let early = enters(&datapath, &packet, Some(Reason::XdpOut));
            let late =
                datapath.judged(Hook::In, &at_inside(&datapath), &framed, Reason::ShortcutOut);
            assert_eq!(early, late.bytes(), "{packet}");
        }
        let answer = match goes_on.body {
            Body::Tcp(_) => Packet::tcp(SERVER, left.source(), TcpFlags::ACK),
            _ => Packet::udp(SERVER, left.source()),
        };
        let framed = answer.frame(Mac::default(), datapath.uplink.mac);
        let early = datapath.early(&datapath.uplink, &framed.bytes(), Some(Reason::XdpIn));
        let late = datapath.judged(Hook::In, &datapath.own(), &framed, Reason::ShortcutIn);
        assert_eq!(early, late.bytes());
    }
}

#[test]
fn it_is_counted_in_its_flow() {
    let (mut datapath, _) = open(&datagram());
    let tuple = key(&datagram());
    let before = datapath.flow(&tuple).expect("the flow is there");
    enters(&datapath, &datagram(), Some(Reason::XdpOut));
    let after = datapath.flow(&tuple).expect("the flow is there");
    assert_eq!((after.packets - before.packets, after.bytes - before.bytes), (1, 36));
}

#[test]
fn what_is_not_complete_passes() {
    let (datapath, _) = open(&datagram());
    enters(&datapath, &datagram(), Some(Reason::XdpOut));
    // The checksum is left to hardware: only the pseudo-header is summed up (CHECKSUM_PARTIAL).
    let [a, b] = [CLIENT, SERVER].map(|end| u32::from(*end.ip()));
    let length = 8 + u32::try_from(datagram().data().len()).expect("it is short");
    let sum = (a >> 16) + (a & 0xffff) + (b >> 16) + (b & 0xffff) + 17 + length;
    let begun = u16::try_from((sum & 0xffff) + (sum >> 16)).expect("it carries once");
    enters(&datapath, &datagram().checksum(Sum::Wrong(begun)), None);
    // No checksum at all says nothing about what is inside (a tunnel's packet).
    enters(&datapath, &datagram().checksum(Sum::Wrong(0)), None);
}

#[test]
fn what_is_unlike_those_that_showed_the_way_passes() {
    let (mut datapath, _) = open(&datagram());
    let mut last = datagram();
    last.ip.ttl = 1;
    let mut other = datagram();
    other.ip.tos = 0xb8;
    let mut record = datagram();
    record.ip.options = vec![7, 7, 4, 0, 0, 0, 0, 0];
    let mut damaged = datagram();
    damaged.ip.checksum = Sum::Wrong(0x1234);
    let unknown = datagram().from("10.0.0.77:9");
    for packet in [last, other, record, damaged, unknown] {
        enters(&datapath, &packet, None);
    }
    for fragment in datagram().payload(&[1; 99]).fragments(64) {
        enters(&datapath, &fragment, None);
    }
    // For another station; with a tag; by another device; and what is no packet.
    let passing = datagram().frame(Mac::default(), Mac([2, 9, 9, 9, 9, 9])).bytes();
    datapath.early(&datapath.inside, &passing, None);
    let framed = datagram().frame(Mac::default(), datapath.inside.mac).bytes();
    let tagged = [&framed[..12], &[0x81, 0, 0, 7], &framed[12..]].concat();
    datapath.early(&datapath.inside, &tagged, None);
    datapath.early(&datapath.uplink, &framed, None);
    datapath.early(&datapath.inside, &framed[..30], None);
    let tuple = key(&datagram());
    let known = datapath.flow(&tuple).expect("the flow is there");
    let mut shown = Hop::default();
    change_hop(&mut datapath, HOPS[0], |hop| shown = *hop);
    let changes: [fn(&mut Flow, &mut Hop); 12] = [
        |flow, _| flow.way.hop = 0,
        |_, hop| hop.device = 0,
        |_, hop| hop.device = 1,
        |_, hop| hop.from += 1,
        |flow, _| flow.way.learnt = flow.way.learnt.wrapping_sub(Way::VALID),
        |flow, _| flow.way.epoch += 1,
        |flow, _| flow.way.size = 35,
        |_, hop| hop.header = 0,
        |flow, _| flow.flags &= !flag::ACCEPTED,
        |flow, _| flow.state = State::Unreplied as u8,
        |_, hop| hop.class = 0x20,
        |_, hop| hop.to[5] ^= 1,
    ];
    for how in changes {
        let sound = Flow { way: way(HOPS[0]), last_seen: now(), ..known };
        change_hop(&mut datapath, HOPS[0], |hop| *hop = shown);
        change(&mut datapath, &tuple, |flow| *flow = sound);
        fresh(&mut datapath);
        enters(&datapath, &datagram(), Some(Reason::XdpOut));
        let (mut flow, mut hop) = (sound, shown);
        how(&mut flow, &mut hop);
        change_hop(&mut datapath, HOPS[0], |place| *place = hop);
        change(&mut datapath, &tuple, |place| *place = flow);
        enters(&datapath, &datagram(), None);
    }
}

#[test]
fn where_xdp_cannot_send_the_packet_passes() {
    let mut datapath = Datapath::new();
    both_ways(&mut datapath, &datagram());
    fresh(&mut datapath);
    let inside = datapath.inside.clone();
    change_hop(&mut datapath, HOPS[0], |hop| hop.to = inside.mac.0);
    enters(&datapath, &datagram(), None);
    datapath.exit(datapath.uplink.index);
    enters(&datapath, &datagram(), Some(Reason::XdpOut));
}

#[test]
fn a_flow_on_an_address_that_is_gone_passes() {
    let (mut datapath, _) = open(&datagram());
    enters(&datapath, &datagram(), Some(Reason::XdpOut));
    // Nobody has asked for a second; another address is in its place.
    let changes: [fn(&mut Outside); 2] =
        [|outside| outside.checked -= Hop::SECOND, |outside| outside.addr[3] += 50];
    for how in changes {
        fresh(&mut datapath);
        enters(&datapath, &datagram(), Some(Reason::XdpOut));
        let mut outsides = datapath.array::<Outside>("outsides");
        let mut other = outsides.get(&0, 0).expect("there is one");
        how(&mut other);
        outsides.set(0, other, 0).expect("it is only replaced");
        enters(&datapath, &datagram(), None);
    }
}
