//! Any frame to any target: for each frame a flow is written into the maps that knows it, with a target,
//! a state and sequence numbers that no conversation would lead to.

use vnet_common::flow::{Direction, Flow, FlowKey};
use vnet_common::policy::source;
use vnet_common::tcp::State;
use vnet_ebpf::packet::Kind;
use vnet_ebpf::quote::{self, End};
use vnet_judge::{ETHERNET, Frame, look};
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::packet::explain;

use crate::generate::{error_about, frame, inward, outward, with_key};
use crate::pair::Pair;
use crate::random::{self, Random};

/// A pair where every address counts as one of the router's, so that known flows are served
/// whatever they write.
pub(crate) fn pair() -> Pair {
    let mut datapath = Datapath::new();
    for (net, length) in [([0; 4], 0), ([10, 0, 0, 0], 8)] {
        datapath.source(net, length, source::KEEP);
    }
    Pair::new(datapath)
}

/// Runs a frame both ways, as one of a flow that writes `flow`'s tuple.
#[track_caller]
pub(crate) fn to_target(pair: &mut Pair, frame: &[u8], flow: &Flow) {
    for (hook, direction) in [(Hook::Out, Direction::Out), (Hook::In, Direction::In)] {
        let context = pair.datapath.own();
        let own = Flow { direction: direction as u8, link: context.ifindex, ..*flow };
        let installed = known_by(frame, direction).and_then(|key| install(pair, &key, own));
        pair.agree(hook, &context, frame);
        for key in installed.into_iter().flatten() {
            let gone = pair.datapath.hash::<FlowKey, Flow>("flows4").remove(&key);
            gone.unwrap_or_else(|e| panic!("the flow was ended by {}: {e}", explain(frame)));
        }
    }
}

/// The tuple by which a flow knows the frame, or what it quotes.
fn known_by(frame: &[u8], direction: Direction) -> Option<FlowKey> {
    let frame = Frame(frame.to_vec());
    let packet = look(&frame, ETHERNET).ok()?;
    let end = if direction == Direction::Out { End::Destination } else { End::Source };
    match packet.kind {
        Kind::Error => Some(quote::read(&frame, &packet, end)?.key.reversed()),
        _ => Some(packet.key),
    }
}

/// Writes both entries; none when they would be the same.
fn install(pair: &mut Pair, key: &FlowKey, own: Flow) -> Option<[FlowKey; 2]> {
    let twin_key = own.twin(key.proto);
    if twin_key == *key {
        return None;
    }
    let twin = Flow {
        saddr: key.daddr,
        daddr: key.saddr,
        sport: key.dport,
        dport: key.sport,
        direction: 1 - own.direction,
        seq_end: own.ack.wrapping_add(1000),
        ack: own.seq_end.wrapping_sub(1000),
        packets: 1,
        ..own
    };
    let mut flows = pair.datapath.hash("flows4");
    flows.insert(*key, own, 0).expect("there is room");
    flows.insert(twin_key, twin, 0).expect("there is room");
    Some([*key, twin_key])
}

/// A flow that writes anything.
fn any_flow(random: &mut Random, frame: &[u8]) -> Flow {
    let addr = |random: &mut Random| random.word().to_be_bytes();
    let port = |random: &mut Random| {
        let any = random.half();
        random.of(&[0, 1, 80, 0xffff, any, any])
    };
    let state =
        random.of(&[2, 3, 4, 5, 6, 7, 8, 9].map(|n| State::from_number(n).expect("a state")));
    let (saddr, daddr) = (addr(random), addr(random));
    let (sport, dport) = (port(random), port(random));
    // Near the frame's own number if it is TCP, so that RSTs fall on both sides of what counts.
    let seq = look(&Frame(frame.to_vec()), ETHERNET).map_or(0, |packet| packet.segment.seq);
    let far = random.word();
    let seq_end = seq.wrapping_add(random.of(&[0, 1, u32::MAX, 999, 1000, 1001, 1 << 20, far]));
    let ack = random.of(&[0, far]);
    let packets = random.of(&[0, 1]);
    Flow {
        saddr,
        daddr,
        sport,
        dport,
        state: state as u8,
        seq_end,
        ack,
        packets,
        ..Flow::default()
    }
}

#[test]
fn any_frame_to_any_target() {
    let (seed, frames) = random::run();
    let mut random = Random::new(!seed);
    let mut pair = pair();
    // Each is tried both ways.
    for number in 0..frames / 2 {
        println!("seed {seed}, frame {number}");
        let packet = match random.below(4) {
            0 => outward(&mut random),
            1 => inward(&mut random),
            2 => {
                let key = any_key(&mut random);
                with_key(&mut random, &key, Direction::In)
            }
            _ => {
                let key = any_key(&mut random);
                let entry = Flow { direction: random.byte() & 1, ..Flow::default() };
                error_about(&mut random, &key, &entry)
            }
        };
        let bytes = frame(&mut random, packet);
        let flow = any_flow(&mut random, &bytes);
        to_target(&mut pair, &bytes, &flow);
    }
}

fn any_key(random: &mut Random) -> FlowKey {
    let (saddr, daddr) = (random.word().to_be_bytes(), random.word().to_be_bytes());
    let proto = random.of(&[1, 6, 17]);
    let sport = random.half();
    let dport = if proto == 1 { sport } else { random.half() };
    FlowKey { saddr, daddr, sport, dport, proto, reserved: [0; 3] }
}
