//! One host scans the world through a small table: those who talk go on, and others get in.

use vnet_tests::lab::{self, Lab};

use crate::scene::{Scene, ask, exchange, outside, server};

#[test]
fn a_scan_from_inside_hurts_nobody_who_talks() {
    let scene = Scene::of(Lab::plan().clients(2), &["--max-flows", "64"]);
    let listener = scene.lab.server.listen(server());
    let mut client = scene.connect(0, 4000, server());
    let (mut there, _) = listener.accept().expect("a connection comes");
    exchange(&mut client, &mut there);
    let remote = scene.lab.server.udp(lab::server(0, 53));
    let talker = scene.udp(0, 4001);
    assert_eq!(ask(&talker, &remote), outside(4001));

    let scanner = scene.udp(1, 6000);
    for port in 10_000..14_000 {
        // The server's kernel answers with errors, of which a socket hears when it sends again.
        let _ = scanner.send_to(b"anybody there?", lab::server(0, port));
    }

    exchange(&mut client, &mut there);
    assert_eq!(ask(&talker, &remote), outside(4001), "it has the port it had");
    for port in 7000..7020 {
        let mut new = scene.connect(0, port, server());
        let (mut there, _) = listener.accept().expect("a connection comes");
        exchange(&mut new, &mut there);
    }
    let counters = scene.lab.vnetctl(&["counters", "--json"]).ok().json();
    let rows = counters.as_array().expect("rows are a list");
    let evicted = rows.iter().find(|row| row["name"] == "evicted").expect("it is counted");
    assert!(evicted["packets"].as_u64() > Some(20), "{evicted}");
    scene.end();
}
