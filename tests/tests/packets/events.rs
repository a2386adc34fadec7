//! Mappings that begin and end are told of where that is wished for, and cost nothing where not.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use vnet_common::account::Reason;
use vnet_common::event::kind::{BLOCK_CREATED, BLOCK_DELETED, CREATED, DELETED};
use vnet_common::policy::{Source, source};
use vnet_tests::datapath::{Datapath, Hook, OUTSIDE, Plan};
use vnet_tests::packet::{Packet, TcpFlags};

use crate::room::{displaces, tick};
use crate::scene::{CLIENT, OTHER, SECOND, SERVER, datagram, outside, ping};

/// Events that fit the buffer while nobody reads.
const ROOM: u16 = 8192;

fn from(port: u16) -> Packet {
    datagram().from(SocketAddrV4::new(*CLIENT.ip(), port))
}

#[test]
fn rfc6888_4_a_mapping_that_begins_and_ends_is_told_of() {
    let mut datapath = Datapath::plan().max_flows(1).events().build();
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(datapath.events(), [(CREATED, CLIENT, outside(4000))]);
    tick();
    displaces(&datapath, &ping(7));
    let query = SocketAddrV4::new(*CLIENT.ip(), 7);
    let told = datapath.events();
    assert_eq!(told, [(DELETED, CLIENT, outside(4000)), (CREATED, query, outside(7))]);
}

#[test]
fn a_mapping_is_told_of_once_however_many_it_talks_to() {
    let mut datapath = Datapath::plan().events().build();
    datapath.out(&datagram(), Reason::NatOut);
    datapath.out(&datagram().to(SECOND), Reason::NatOut);
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(datapath.events(), [(CREATED, CLIENT, outside(4000))]);
    let moved = datapath.out(&datagram().from(OTHER), Reason::NatOut).source();
    datapath.out(&Packet::tcp(CLIENT, SERVER, TcpFlags::SYN), Reason::NatOut);
    let told = datapath.events();
    assert_eq!(told, [(CREATED, OTHER, moved), (CREATED, CLIENT, outside(4000))]);
}

#[test]
fn rfc6888_req14_a_block_is_told_of_once_and_when_it_is_not_used_any_more() {
    let mut datapath = Datapath::plan().max_flows(3).blocks(64).events().build();
    let number = 0u32.wrapping_sub(u32::from(Ipv4Addr::new(10, 0, 0, 0)));
    datapath.source_record([10, 0, 0, 0], 24, Source { action: source::TRANSLATE, number });
    for port in 0..3 {
        datapath.out(&from(4000 + port), Reason::NatOut);
    }
    let told = datapath.events();
    let [(BLOCK_CREATED, first, last)] = told[..] else { panic!("{told:?}") };
    assert_eq!((first.ip(), last.ip()), (CLIENT.ip(), &OUTSIDE));
    assert_eq!(last.port() - first.port(), 63);
    // Nobody has answered: another host's connections take the place of these.
    tick();
    for port in 0..3 {
        displaces(&datapath, &datagram().from(SocketAddrV4::new(*OTHER.ip(), 5000 + port)));
    }
    let told = datapath.events();
    let [(BLOCK_CREATED, others, _), (BLOCK_DELETED, was, until)] = told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((was, until), (first, last));
    assert_eq!(others.ip(), OTHER.ip());
}

#[test]
fn what_nobody_reads_is_lost_and_counted() {
    let mut datapath = Datapath::plan().max_flows(20_000).events().build();
    for port in 0..ROOM + 10 {
        let frame = from(10_000 + port).bytes();
        let _ = datapath.run_frame(Hook::Out, &datapath.forwarded(), &frame);
    }
    let (made, lost) =
        (datapath.counter(Reason::NatOut).packets, datapath.counter(Reason::EventLost).packets);
    assert_eq!(made, u64::from(ROOM) + 10, "mappings are made all the same");
    let told = datapath.events();
    assert_eq!(told.len() as u64 + lost, made);
    assert!(lost > 0 && told.len() > usize::from(ROOM) - 10, "{lost} lost");
    assert_eq!(told[0], (CREATED, SocketAddrV4::new(*CLIENT.ip(), 10_000), outside(10_000)));
    datapath.out(&from(9_999), Reason::NatOut);
    assert_eq!(datapath.events().len(), 1, "there is room again");
}

/// The least time of a new mapping, of many: what others do on this machine only adds to it.
fn least(datapath: &Datapath) -> Duration {
    let context = datapath.forwarded();
    let took = |n: u16| datapath.run_frame(Hook::Out, &context, &from(20_000 + n).bytes()).took;
    (0..3000).map(took).min().expect("there are some")
}

#[test]
fn switched_off_nothing_is_told_and_its_code_is_not_there() {
    let build = |plan: Plan| plan.max_flows(10_000).build();
    let (mut off, on) = (build(Datapath::plan()), build(Datapath::plan().events()));
    let sizes = [&off, &on].map(|datapath| datapath.size(Hook::Out));
    let times = [least(&off), least(&on)];
    let _ =
        writeln!(std::io::stderr(), "EVENTS off, on: {sizes:?} bytes, {times:?} for a new mapping");
    assert_eq!(off.events(), []);
    assert!(sizes[0] < sizes[1], "bytes of the program off and on: {sizes:?}");
}
