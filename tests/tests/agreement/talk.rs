//! Conversations: packets from inside open connections, answers and errors come back, strangers and
//! broken frames come between; the maps are what the kernel made them.

use std::collections::BTreeMap;

use vnet_common::flow::FlowKey;
use vnet_tests::datapath::{Datapath, Hook};
use vnet_tests::test_run::Context;

use crate::generate::{error_about, frame, inward, next, outward};
use crate::pair::Pair;
use crate::ports::Ports;
use crate::random::{self, Random};

/// Connections that there is room for: more than the generator has tuples.
const ROOM: u32 = 1 << 16;

#[test]
fn conversations() {
    let (seed, frames) = random::run();
    let mut random = Random::new(seed);
    let mut pair = Pair::new(Datapath::plan().max_flows(ROOM).build());
    let mut ports = Ports::new();
    let mut known: Vec<FlowKey> = Vec::new();
    let mut ends = BTreeMap::new();
    for number in 0..frames {
        println!("seed {seed}, frame {number}");
        let (hook, bytes) = invent(&mut random, &mut pair, &known);
        let context = context(&pair, hook);
        let agreed = pair.agree(hook, &context, &bytes);
        *ends.entry(agreed.end.name()).or_insert(0_u64) += 1;
        if let Some((packet, made)) = agreed.opened {
            ports.opened(&packet, &made);
            known.extend([packet.key, made.own.twin(packet.key.proto)]);
        }
    }
    ports.compare(&mut pair);
    println!("{} connections; ends: {ends:?}", known.len() / 2);
    // What never happens is never compared.
    for end in ["nat_out", "nat_in", "icmp_error_out", "icmp_error_in", "malformed", "malformed_in"]
    {
        assert!(ends.contains_key(end), "no frame met {end}: {ends:?}");
    }
}

/// A frame, and the hook it meets.
fn invent(random: &mut Random, pair: &mut Pair, known: &[FlowKey]) -> (Hook, Vec<u8>) {
    let choice = if known.is_empty() { 0 } else { random.below(10) };
    let (hook, packet) = match choice {
        0..3 => (Hook::Out, outward(random)),
        3 => (Hook::In, inward(random)),
        _ => {
            let key = random.of(known);
            let entries = pair.entries(&key).expect("a connection that nobody ended");
            let hook = if entries.own.direction == 0 { Hook::Out } else { Hook::In };
            let packet = match choice {
                4..8 => next(random, &key, &entries.own, &entries.twin),
                _ => error_about(random, &key, &entries.own),
            };
            (hook, packet)
        }
    };
    (hook, frame(random, packet))
}

fn context(pair: &Pair, hook: Hook) -> Context {
    match hook {
        Hook::Out => pair.datapath.forwarded(),
        Hook::In => pair.datapath.own(),
    }
}
