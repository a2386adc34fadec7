//! Attaching with other words changes a running instance, and what runs over it goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use vnet_tests::lab;

use crate::scene::{Scene, attach};

/// A connection through the router that is alive all the time.
struct Alive {
    client: TcpStream,
    server: TcpStream,
}

impl Alive {
    fn new(scene: &Scene) -> Self {
        let listener = scene.lab.server.listen(lab::server(0, 5000));
        let client = scene.lab.client();
        let stream = client.netns.connect((client.address, 4000), lab::server(0, 5000));
        let (server, _) = listener.accept().expect("a connection comes");
        Self { client: stream.expect("connects"), server }
    }

    #[track_caller]
    fn check(&mut self) {
        let mut heard = [0; 4];
        self.client.write_all(b"ping").expect("the connection is alive");
        self.server.read_exact(&mut heard).expect("the server hears");
        self.server.write_all(b"pong").expect("the connection is alive");
        self.client.read_exact(&mut heard).expect("the client hears");
        assert_eq!(&heard, b"pong");
    }
}

#[test]
fn ports_timeouts_and_insides_change_and_a_connection_goes_on() {
    let scene = Scene::new();
    scene.attach(&[]);
    let mut alive = Alive::new(&scene);
    let changes: [&[&str]; 5] = [
        &["--timeout-udp", "42"],
        &["--ports", "20000-29999"],
        &["--inside", "172.16.0.0/12"],
        &["--inside", "in0"],
        &[],
    ];
    for words in changes {
        let done = scene.attach(&[words, &["--json"]].concat()).json();
        assert_eq!(done["changed"], true, "{words:?}: {done}");
        assert_eq!(scene.steps(&attach(words)), [""; 0], "{words:?}");
        alive.check();
    }
    assert_eq!(scene.lab.flows().len(), 1, "it is one connection all along");
    scene.detach();
}

#[test]
fn every_change_raises_the_epoch() {
    let scene = Scene::new();
    scene.attach(&[]);
    let first = scene.status()["epoch"].as_u64().expect("a number");
    scene.attach(&[]);
    assert_eq!(scene.status()["epoch"], first);
    scene.attach(&["--timeout-icmp", "61"]);
    assert_eq!(scene.status()["epoch"], first + 1);
    assert_eq!(scene.status()["timeout_icmp_s"], 61);
    scene.detach();
}

#[test]
fn programs_are_exchanged_under_a_connection() {
    let scene = Scene::new();
    scene.attach(&[]);
    let mut alive = Alive::new(&scene);
    // Another log level means other programs.
    for level in ["debug", "trace", "off"] {
        scene.attach(&["--log-level", level]);
        assert_eq!(scene.status()["log_level"], level);
        assert_eq!(scene.status()["health"], "ok");
        alive.check();
    }
    scene.detach();
}

#[test]
fn a_hook_that_was_lost_is_put_back() {
    let scene = Scene::new();
    scene.attach(&[]);
    let mut alive = Alive::new(&scene);
    let link = format!("link_{}_out", scene.lab.uplink.index);
    let pin = vnet_tests::instance::pins(scene.lab.instance()).join(link);
    std::fs::remove_file(pin).expect("the link is pinned there");
    assert_eq!(scene.status()["health"], "broken", "{}", scene.status());
    scene.attach(&[]);
    assert_eq!(scene.status()["health"], "ok");
    alive.check();
    scene.detach();
}
