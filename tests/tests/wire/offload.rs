//! With checksum and segmentation offloads as kernels have them: unfinished sums, joined segments.

use std::thread;

use vnet_tests::lab::{self, Lab};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::PATIENCE;

use crate::scene::{Scene, ask, bulk, echo, outside, server};

fn offloaded(clients: u8) -> Scene {
    Scene::of(Lab::plan().clients(clients).with_offloads(), &[])
}

#[test]
fn tcp_in_bulk_arrives_whole() {
    let scene = offloaded(2);
    let listener = scene.lab.server.listen(server());
    let length = 4_000_000;
    // The second one's port is moved, so that ports change in joined segments too.
    for n in 0..2 {
        thread::scope(|scope| {
            let served = scope.spawn(|| echo(&listener));
            bulk(&scene.connect(n, 4000, server()), length);
            let from = served.join().expect("the server does not panic");
            assert_eq!(from == outside(4000), n == 0, "{from}");
        });
    }
    for flow in scene.lab.flows() {
        let count = |name: &str| flow[name].as_u64().expect("a number");
        for (packets, bytes) in [("packets_out", "bytes_out"), ("packets_in", "bytes_in")] {
            // Segments are counted, not joined packets: each has headers and at most 1460 bytes.
            let least = length as u64 / 1460;
            assert!(count(packets) >= least, "at least {least} {packets}: {flow}");
            let headers = count(packets) * 40;
            assert!(count(bytes) >= length as u64 + headers, "{bytes} of {packets}: {flow}");
        }
    }
    assert!(scene.end() > 0);
}

#[test]
fn datagrams_and_pings_arrive() {
    let scene = offloaded(2);
    let remote = scene.lab.server.udp(server());
    for n in 0..2 {
        ask(&scene.udp(n, 4000), &remote);
        let pinger = Pinger::new(&scene.lab.clients[n].netns);
        assert!(pinger.ping(lab::server_address(0), 7, PATIENCE).is_some());
    }
    scene.end();
}

#[test]
fn the_hosts_own_traffic_arrives() {
    let scene = offloaded(1);
    let listener = scene.lab.server.listen(server());
    thread::scope(|scope| {
        let served = scope.spawn(|| echo(&listener));
        let own = scene.lab.router.connect(outside(6000), server()).expect("connects");
        bulk(&own, 1_000_000);
        assert_eq!(served.join().expect("the server does not panic"), outside(6000));
    });
    scene.end();
}
