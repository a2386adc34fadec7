//! `vnetctl events`: what is told of mappings, to people, to programs and to syslog.

use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use serde_json::Value;
use vnet_tests::lab::{self, Lab, UPLINK};

use crate::scene::Scene;

const LIMIT: Duration = Duration::from_secs(10);

/// A router that tells of mappings, which end soon.
fn telling() -> Scene {
    let scene = Scene::of(Lab::plan());
    scene.attach(&["--events", "--timeout-udp", "2"]);
    assert_eq!(scene.status()["events"], true);
    scene
}

/// The client says something from that port.
fn say(scene: &Scene, port: u16) {
    let client = scene.lab.client();
    let socket = client.netns.udp((client.address, port));
    socket.send_to(b"hello", lab::server(0, 5000)).expect("a datagram can be sent");
}

#[test]
fn events_are_followed_line_by_line_and_name_no_destination() {
    let scene = telling();
    let mut running = scene.lab.start_vnetctl(&["events", "--json", "--follow"]);
    let lines = running.lines();
    say(&scene, 4000);
    for event in ["created", "deleted"] {
        let line = lines.recv_timeout(3 * LIMIT).expect("a line");
        let row: Value = serde_json::from_str(&line).expect("a line is JSON");
        assert_eq!((&row["event"], &row["proto"]), (&event.into(), &"udp".into()), "{line}");
        assert_eq!((&row["src"], &row["sport"]), (&"10.0.0.2".into(), &4000.into()), "{line}");
        let outside = (&row["outside"], &row["outside_port"]);
        assert_eq!(outside, (&"198.51.100.1".into(), &4000.into()), "{line}");
        assert!(row["time"].as_str().is_some_and(|time| time.ends_with('Z')), "{line}");
        assert!(!line.contains("198.51.100.2") && !line.contains("5000"), "{line}");
    }
    assert!(running.interrupt().success(), "Ctrl-C is a good end");
    scene.detach();
}

#[test]
fn what_has_happened_is_told_once() {
    let scene = telling();
    say(&scene, 4000);
    scene.lab.vnetctl(&["events"]).ok().says(" created udp  10.0.0.2:4000 198.51.100.1:4000\n");
    assert_eq!(scene.lab.vnetctl(&["events", "--json"]).ok().stdout, "");
    scene.detach();
}

#[test]
fn with_port_blocks_a_line_tells_of_a_block() {
    let scene = Scene::of(Lab::plan());
    let words = ["attach", "--nat", UPLINK, "--inside", "10.0.0.0/24", "--port-block", "200"];
    scene.lab.vnetctl(&[&words[..], &["--events"]].concat()).ok();
    say(&scene, 4000);
    say(&scene, 4001);
    let told = scene.lab.vnetctl(&["events"]).ok().stdout;
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.ends_with(" created block 10.0.0.2 198.51.100.1:1424-1623\n"), "{told}");
    scene.attach(&["--events"]).says("port-block: 200 -> none");
    say(&scene, 4002);
    scene.lab.vnetctl(&["events"]).ok().says(" created udp  10.0.0.2:4002 198.51.100.1:4002\n");
    scene.detach();
}

#[test]
fn events_go_to_the_syslog_of_this_host() {
    let scene = telling();
    let path = std::env::temp_dir().join(format!("{}.log", scene.lab.instance()));
    let syslog = UnixDatagram::bind(&path).expect("a socket can be bound");
    syslog.set_read_timeout(Some(LIMIT)).expect("a socket takes a time limit");
    say(&scene, 4000);
    let words = ["events", "--syslog", path.to_str().expect("a path in text")];
    assert_eq!(scene.lab.vnetctl(&words).ok().stdout, "");
    let mut buffer = [0; 1024];
    let length = syslog.recv(&mut buffer).expect("a message comes");
    std::fs::remove_file(&path).expect("the socket is there");
    is_message(&buffer[..length]);
    scene.detach();
}

#[test]
fn events_go_to_a_syslog_elsewhere() {
    let scene = telling();
    let syslog: UdpSocket = scene.lab.router.udp("127.0.0.1:5514");
    say(&scene, 4000);
    scene.lab.vnetctl(&["events", "--syslog", "127.0.0.1:5514"]).ok();
    let mut buffer = [0; 1024];
    let length = syslog.recv(&mut buffer).expect("a message comes");
    is_message(&buffer[..length]);
    scene.detach();
}

/// Looks at a message as RFC 5424 has it.
fn is_message(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).expect("a message is text");
    assert!(text.starts_with("<30>1 20"), "{text}");
    let words: Vec<_> = text.split(' ').collect();
    assert_eq!((words[3], words[5], words[6], words[7]), ("vnet", "mapping", "-", "created"));
    let said = "proto=udp inside=10.0.0.2:4000 outside=198.51.100.1:4000";
    assert!(text.ends_with(said), "{text}");
}

#[test]
fn events_that_are_off_say_how_to_switch_them_on() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.refuses(&["events"], 10, &["--events"]);
    scene.refuses(&["events", "--syslog", "loghost"], 2, &["--syslog loghost", "IP address"]);
    scene.attach(&["--events"]);
    scene.lab.vnetctl(&["events"]).ok();
    scene.attach(&[]);
    assert_eq!(scene.status()["events"], false);
    scene.refuses(&["events"], 10, &["--events"]);
    scene.detach();
}
