//! Changes under running traffic: nobody inside is seen, and what talks goes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use vnet_tests::lab::{self, Lab, UPLINK};

use crate::scene::{Scene, ask, exchange, outside, server};

/// Talks without a pause while `work` is done.
fn while_talking(scene: &Scene, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    let client = scene.udp(0, 4000);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Refused while nothing forwards: that is no matter here.
                let _ = client.send_to(b"one of many", server());
                thread::sleep(Duration::from_micros(200));
            }
        });
        work();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn attaching_shows_nobody() {
    let scene = Scene::unattached(Lab::plan());
    scene.lab.fix_neighbours();
    while_talking(&scene, || {
        scene.lab.attach(&[]);
        thread::sleep(Duration::from_millis(100));
    });
    assert!(scene.end() > 0, "what was said after attaching has left");
}

#[test]
fn detaching_shows_nobody() {
    let scene = Scene::new();
    scene.lab.fix_neighbours();
    while_talking(&scene, || {
        thread::sleep(Duration::from_millis(100));
        scene.lab.vnetctl(&["detach", UPLINK]).ok();
        thread::sleep(Duration::from_millis(100));
    });
    assert!(scene.end() > 0, "what was said before detaching has left");
}

#[test]
fn changing_in_place_shows_nobody_and_keeps_connections() {
    let scene = Scene::new();
    let listener = scene.lab.server.listen(server());
    let mut client = scene.connect(0, 4000, server());
    let (mut there, _) = listener.accept().expect("a connection comes");
    while_talking(&scene, || {
        for words in [&["--timeout-udp", "100"][..], &["--ports", "2000-3000"], &[]] {
            scene.lab.attach(words);
            exchange(&mut client, &mut there);
        }
    });
    assert!(scene.end() > 0);
}

#[test]
fn a_connection_whose_port_is_kept_survives_a_restart() {
    let scene = Scene::new();
    let listener = scene.lab.server.listen(server());
    let mut client = scene.connect(0, 4000, server());
    let (mut there, from) = listener.accept().expect("a connection comes");
    assert_eq!(from, outside(4000).into());
    exchange(&mut client, &mut there);
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
    scene.lab.attach(&[]);
    exchange(&mut client, &mut there);
    let flows = scene.lab.flows();
    assert_eq!(flows[0]["state"], "ESTABLISHED", "{}", flows[0]);
    scene.end();
}

#[test]
fn nothing_runs_and_all_goes_on() {
    let scene = Scene::new();
    // The namespace has no process but the sockets' owner: vnetctl has ended long ago.
    let remote = scene.lab.server.udp(lab::server(0, 5001));
    ask(&scene.udp(0, 4000), &remote);
    let status = scene.lab.vnetctl(&["status", "--json"]).ok().json();
    assert_eq!((status[0]["health"].as_str(), status[0]["flows"].as_u64()), (Some("ok"), Some(1)));
    scene.end();
}

#[test]
fn a_new_address_is_taken_up_by_flows_that_go_on() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    // As DHCP does it: another address, and the old one gone.
    lab.router.ip("address add 198.51.100.9/24 dev up0");
    lab.router.ip("address del 198.51.100.1/24 dev up0");
    lab.router.ip("address replace 198.51.100.9/24 dev up0");
    lab.attach(&[]);
    assert_eq!(ask(&client, &remote), "198.51.100.9:4000".parse().expect("an address"));
    assert_eq!(lab.flows().len(), 1, "the flow from the old address has ended");
    scene.end();
}

#[test]
fn an_address_that_stays_keeps_its_flows_when_another_is_chosen() {
    let scene = Scene::new();
    let lab = &scene.lab;
    let remote = lab.server.udp(server());
    let client = scene.udp(0, 4000);
    assert_eq!(ask(&client, &remote), outside(4000));
    lab.router.ip("address add 198.51.100.9/24 dev up0");
    lab.attach(&["--address", "198.51.100.9"]);
    assert_eq!(ask(&client, &remote), outside(4000), "it goes on from where it was");
    let new = ask(&scene.udp(0, 5000), &remote);
    assert_eq!(new, "198.51.100.9:5000".parse().expect("an address"));
    scene.end();
}
