//! Limits for each inside host, set and lifted while it talks.

use vnet_tests::counters::Counters;
use vnet_tests::lab::{self, Lab};
use vnet_tests::socket::expect_silence;

use crate::scene::{PORT, Scene, ask, server};

#[test]
fn rfc6888_req4_a_host_cannot_take_more_ports_than_it_may() {
    let scene =
        Scene::of(Lab::plan().clients(2).server_addresses(2), &["--max-ports-per-host", "2"]);
    let lab = &scene.lab;
    let remote = lab.server.udp(server());
    let greedy: Vec<_> = (0..3).map(|n| scene.udp(0, 4000 + n)).collect();
    let seen = [ask(&greedy[0], &remote), ask(&greedy[1], &remote)];
    let before = Counters::of(lab);
    greedy[2].send_to(b"one too many", server()).expect("a datagram can be sent");
    expect_silence(&remote, || {
        greedy[0].send_to(b"one of its own", server()).expect("a datagram can be sent");
    });
    let moved = Counters::of(lab).since(&before);
    assert_eq!(moved.get("host_ports"), Some(&1), "{moved:?}");
    assert_eq!([ask(&greedy[0], &remote), ask(&greedy[1], &remote)], seen, "what is there stays");
    assert_eq!(ask(&greedy[0], &lab.server.udp(lab::server(1, PORT))), seen[0], "also to others");
    ask(&scene.udp(1, 4000), &remote);
    lab.attach(&["--max-ports-per-host", "3"]);
    ask(&scene.udp(0, 4003), &remote);
    lab.attach(&[]);
    ask(&scene.udp(0, 4004), &remote);
    scene.end();
}

#[test]
fn rfc6888_req5_a_host_cannot_have_more_connections_than_it_may() {
    let scene = Scene::of(Lab::plan().clients(2), &["--max-flows-per-host", "4"]);
    let lab = &scene.lab;
    let listener = lab.server.listen(server());
    let client = lab.client();
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(client.netns.connect((client.address, 0), server()).expect("connects"));
        listener.accept().expect("a connection comes");
    }
    let before = Counters::of(lab);
    client.netns.connect((client.address, 0), server()).expect_err("is refused");
    let moved = Counters::of(lab).since(&before);
    assert!(moved.get("host_flows").is_some_and(|n| *n >= 1), "{moved:?}");
    assert_eq!(lab.flows().len(), 4);
    drop(scene.connect(1, 4000, server()));
    scene.end();
}
