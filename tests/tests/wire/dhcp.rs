//! The uplink has its address by DHCP, and one day gets another one.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vnet_tests::counters::Counters;
use vnet_tests::dhcp::{Client, Server};
use vnet_tests::lab::{ETH, Lab, UPLINK};
use vnet_tests::skip;
use vnet_tests::socket::try_receive;

use crate::scene::{Scene, exchange, server, wait_until};
use crate::tool_route::installed;

const FIRST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 77);
const SOON: Duration = Duration::from_secs(15);

/// Waits until the uplink has just this address, and a route.
fn wait_for_lease(lab: &Lab, address: Ipv4Addr) {
    wait_until(&format!("the uplink has {address}"), SOON, || {
        let shown = lab.router.ip("-4 -o address show dev up0");
        let routed = lab.router.ip("route show default").contains("via");
        shown.lines().count() == 1 && shown.contains(&format!("{address}/")) && routed
    });
}

/// Sends without a pause until told to stop; what is sent says whether the address has changed.
fn chatter(client: &UdpSocket, changed: &AtomicBool, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let word: &[u8] = if changed.load(Ordering::Relaxed) { b"after" } else { b"before" };
        // Unreachable while there is no route: that is no matter here.
        let _ = client.send_to(word, server());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Hears everything until the chatter ends; whoever was heard with which word.
fn hear(remote: &UdpSocket, done: &AtomicBool) -> Vec<(Vec<u8>, SocketAddrV4)> {
    let mut heard = Vec::new();
    while !done.load(Ordering::Relaxed) {
        // Between two leases there may be seconds without a route.
        heard.extend(try_receive(remote));
    }
    heard
}

#[test]
fn a_lease_that_changes_moves_what_talks() {
    if !installed("dnsmasq") {
        skip!("dnsmasq is not installed");
    }
    let scene = Scene::unattached(Lab::plan());
    let lab = &scene.lab;
    lab.router.ip("address flush dev up0");
    let first = Server::start(&lab.server, ETH, FIRST, *server().ip());
    let lease = Client::start(&lab.router, UPLINK);
    wait_for_lease(lab, FIRST);
    lab.attach(&[]);
    let listener = lab.server.listen(server());
    let mut old = scene.connect(0, 4001, server());
    let (mut old_there, from) = listener.accept().expect("a connection comes");
    assert_eq!(from.ip(), FIRST);
    exchange(&mut old, &mut old_there);

    let (client, remote) = (scene.udp(0, 4000), lab.server.udp(server()));
    let (changed, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let heard = thread::scope(|scope| {
        scope.spawn(|| chatter(&client, &changed, &done));
        let heard = scope.spawn(|| hear(&remote, &done));
        thread::sleep(Duration::from_millis(200));
        // Another server, who says that the old address is not to be used any more.
        drop(first);
        let _second = Server::start(&lab.server, ETH, SECOND, *server().ip());
        thread::sleep(Duration::from_millis(300));
        lease.renew();
        wait_for_lease(lab, SECOND);
        // One tick of any kernel's clock.
        thread::sleep(Duration::from_millis(10));
        changed.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        heard.join().expect("somebody was heard all the time")
    });
    let from = |word: &[u8]| {
        let mut from: Vec<_> =
            heard.iter().filter(|(said, _)| said == word).map(|(_, from)| *from).collect();
        from.sort();
        from.dedup();
        from
    };
    assert_eq!(from(b"after"), [SocketAddrV4::new(SECOND, 4000)]);
    let before = from(b"before");
    assert!(before.contains(&SocketAddrV4::new(FIRST, 4000)), "{before:?}");
    assert!(before.iter().all(|from| [FIRST, SECOND].contains(from.ip())), "{before:?}");

    // The old connection ends, a new one goes on; so does what the router itself says.
    use std::io::{Read as _, Write as _};
    old.write_all(b"ping").expect("it does not know yet");
    let ended = old.read(&mut [0; 4]).expect_err("the server does not know the new address");
    assert_eq!(ended.kind(), std::io::ErrorKind::ConnectionReset);
    let mut new = scene.connect(0, 4002, server());
    let (mut there, from) = listener.accept().expect("a connection comes");
    assert_eq!(from.ip(), SECOND);
    exchange(&mut new, &mut there);
    assert!(Counters::of(lab).0["moved"] >= 2, "{:?}", Counters::of(lab));
    let status = lab.vnetctl(&["status", "--json"]).ok().json();
    assert_eq!(status[0]["health"], "ok", "{status}");
    assert_eq!(status[0]["outside"], SECOND.to_string(), "{status}");
    scene.end();
}
