//! Nothing stays for ever: silent flows end, their ports rest, and then are free.

use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use vnet_tests::lab::{self, Lab};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::PATIENCE;

use crate::scene::{Scene, ask, exchange, outside, server, wait_until};

/// Long enough for every look at tickets that are due, on the slowest guest.
const LONG: Duration = Duration::from_secs(30);

/// Seconds that are soon over, and still enough for a guest to run vnetctl.
const SHORT: &str = "5";

/// Half seconds that are longer than that.
const TURNS: u32 = 16;

fn of_proto(rows: &[Value], proto: &str) -> usize {
    rows.iter().filter(|row| row["proto"] == proto).count()
}

#[test]
fn a_silent_flow_ends_with_its_mapping_and_its_port_rests() {
    let words = ["--timeout-udp", SHORT, "--port-rest", "600"];
    let scene = Scene::of(Lab::plan().clients(2), &words);
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    assert_eq!((scene.lab.flows().len(), scene.lab.mappings().len()), (1, 1));
    wait_until("the flow is gone", LONG, || scene.lab.flows().is_empty());
    assert_eq!(scene.lab.mappings().len(), 0, "the mapping goes with its last flow");
    let other = ask(&scene.udp(1, 4000), &remote);
    assert_ne!(other.port(), 4000, "another client waits until the port has rested");
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000), "its own client need not");
    scene.end();
}

#[test]
fn a_port_that_has_rested_is_anybodys() {
    let words = ["--timeout-udp", "2", "--port-rest", "1", "--ports", "4000-4000"];
    let scene = Scene::of(Lab::plan().clients(2), &words);
    let remote = scene.lab.server.udp(server());
    assert_eq!(ask(&scene.udp(0, 4000), &remote), outside(4000));
    // The only port is taken: what the other client says does not leave.
    scene.udp(1, 7000).send_to(b"refused", server()).expect("a datagram can be sent");
    wait_until("the mapping is gone", LONG, || scene.lab.mappings().is_empty());
    sleep(Duration::from_secs(3));
    assert_eq!(ask(&scene.udp(1, 7000), &remote), outside(4000));
    scene.end();
}

#[test]
fn a_flow_that_talks_lives_on() {
    let scene = Scene::of(Lab::plan(), &["--timeout-udp", SHORT]);
    let remote = scene.lab.server.udp(server());
    let client = scene.udp(0, 4000);
    for _ in 0..TURNS {
        ask(&client, &remote);
        sleep(Duration::from_millis(500));
    }
    let flows = scene.lab.flows();
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0]["packets_out"], TURNS, "it is the first one still: {}", flows[0]);
    scene.end();
}

#[test]
fn an_answer_alone_keeps_a_flow() {
    let scene = Scene::of(Lab::plan(), &["--timeout-udp", SHORT]);
    let remote = scene.lab.server.udp(server());
    let client = scene.udp(0, 4000);
    let from = ask(&client, &remote);
    for _ in 0..TURNS {
        remote.send_to(b"news", from).expect("a datagram can be sent");
        sleep(Duration::from_millis(500));
    }
    assert_eq!(scene.lab.flows().len(), 1);
    scene.end();
}

#[test]
fn a_closed_connection_ends_soon_and_an_open_one_does_not() {
    let words = ["--timeout-tcp-transitory", SHORT];
    let scene = Scene::of(Lab::plan(), &words);
    let listener = scene.lab.server.listen(server());
    let mut open = scene.connect(0, 4000, server());
    let (mut open_there, _) = listener.accept().expect("a connection comes");
    let closed = scene.connect(0, 4001, server());
    let (closed_there, _) = listener.accept().expect("a connection comes");
    exchange(&mut open, &mut open_there);
    assert_eq!(of_proto(&scene.lab.flows(), "tcp"), 2);
    drop(closed);
    drop(closed_there);
    wait_until("the closed connection is gone", LONG, || scene.lab.flows().len() == 1);
    sleep(Duration::from_secs(5));
    exchange(&mut open, &mut open_there);
    let flows = scene.lab.flows();
    assert_eq!((flows.len(), &flows[0]["state"]), (1, &"ESTABLISHED".into()));
    scene.end();
}

#[test]
fn a_ping_ends() {
    let scene = Scene::of(Lab::plan(), &["--timeout-icmp", SHORT]);
    let pinger = Pinger::new(&scene.lab.client().netns);
    assert!(pinger.ping(lab::server_address(0), 7, PATIENCE).is_some());
    assert_eq!(of_proto(&scene.lab.flows(), "icmp"), 1);
    wait_until("the query is gone", LONG, || scene.lab.flows().is_empty());
    assert!(pinger.ping(lab::server_address(0), 7, PATIENCE).is_some(), "and may be anew");
    scene.end();
}
