//! Limits for each inside host: what it has is counted, what goes beyond is refused by name, and
//! what was there stays (RFC 6888 REQ-4).

use std::net::Ipv4Addr;

use vnet_common::account::Reason;
use vnet_common::host::Host;
use vnet_common::policy::Config;
use vnet_tests::datapath::Datapath;
use vnet_tests::packet::{Packet, TcpFlags};

use crate::scene::{CLIENT, OTHER, SECOND, SERVER, datagram, key, outside};

/// What is counted for a host.
fn counted(datapath: &mut Datapath, host: Ipv4Addr) -> (u32, u32) {
    let host = datapath.hash::<[u8; 4], Host>("hosts").get(&host.octets(), 0).unwrap_or_default();
    (host.mappings, host.flows)
}

/// A datagram of the client from some port.
fn from(port: u16) -> Packet {
    datagram().from((*CLIENT.ip(), port))
}

#[test]
fn a_host_has_as_many_ports_as_it_may_and_others_have_theirs() {
    let mut datapath = Datapath::plan().limits(2, 0).build();
    datapath.out(&from(4000), Reason::NatOut);
    datapath.out(&Packet::tcp(CLIENT, SERVER, TcpFlags::SYN), Reason::NatOut);
    datapath.out(&from(4002), Reason::HostPorts);
    datapath.out(&Packet::ping(*CLIENT.ip(), *SERVER.ip(), 7), Reason::HostPorts);
    // Its mappings go on, also to others; so does everybody else.
    datapath.out(&from(4000), Reason::NatOut);
    datapath.out(&from(4000).to(SECOND), Reason::NatOut);
    datapath.back(&Packet::udp(SERVER, outside(4000)), Reason::NatIn);
    datapath.out(&datagram().from(OTHER), Reason::NatOut);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (2, 3));
    assert_eq!(counted(&mut datapath, *OTHER.ip()), (1, 1));
}

#[test]
fn a_host_has_as_many_connections_as_it_may() {
    let mut datapath = Datapath::plan().limits(0, 2).build();
    datapath.out(&from(4000), Reason::NatOut);
    datapath.out(&from(4000).to(SECOND), Reason::NatOut);
    datapath.out(&from(4000).to("203.0.113.7:80"), Reason::HostFlows);
    datapath.out(&from(4001), Reason::HostFlows);
    datapath.out(&from(4000), Reason::NatOut);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (1, 2));
    assert_eq!(datapath.mapping(&crate::scene::endpoint(&from(4001))), None, "no port is used up");
}

#[test]
fn nobody_is_counted_while_there_is_no_limit() {
    let mut datapath = Datapath::new();
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (0, 0));
    // A limit that comes later finds what is there uncounted, and lets it be.
    let config: Config = datapath.array("config").get(&0, 0).expect("config has an entry");
    let limited = Config { host_flows: 1, host_mappings: 1, ..config };
    datapath.array("config").set(0, limited, 0).expect("config can be written");
    datapath.out(&from(4001), Reason::NatOut);
    datapath.out(&from(4002), Reason::HostFlows);
    datapath.out(&datagram(), Reason::NatOut);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (1, 1));
}

#[test]
fn what_ends_is_counted_no_more() {
    let mut datapath = Datapath::plan().limits(1, 1).build();
    let first = datagram();
    datapath.out(&first, Reason::NatOut);
    datapath.out(&from(4001), Reason::HostFlows);
    // Its route moves to another uplink, so its next packet ends it and begins anew.
    let mut flow = datapath.flow(&key(&first)).expect("the flow is there");
    flow.link = 1;
    datapath.hash("flows4").insert(key(&first), flow, 0).expect("there is room");
    datapath.out(&first, Reason::NatOut);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (1, 1));
}

#[test]
fn a_refusal_for_another_reason_is_not_counted() {
    let mut datapath = Datapath::plan().ports(6000, 6000).limits(5, 5).build();
    datapath.out(&datagram().from(OTHER), Reason::NatOut);
    datapath.out(&datagram(), Reason::PortsExhausted);
    assert_eq!(counted(&mut datapath, *CLIENT.ip()), (0, 0));
    assert_eq!(counted(&mut datapath, *OTHER.ip()), (1, 1));
}

#[test]
fn the_router_itself_has_no_limit() {
    let datapath = Datapath::plan().limits(1, 1).build();
    for port in 5000..5003 {
        let own = Packet::tcp(outside(port), SERVER, TcpFlags::SYN);
        datapath.host_out(&own, Reason::NatOut);
    }
}
