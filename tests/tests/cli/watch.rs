//! Commands that go on: `--watch` and `log`.

use std::sync::mpsc::Receiver;
use std::time::Duration;

use serde_json::Value;
use vnet_tests::lab;

use crate::scene::Scene;

const LIMIT: Duration = Duration::from_secs(10);

fn next(lines: &Receiver<String>) -> Value {
    let line = lines.recv_timeout(LIMIT).expect("another line");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("not JSON ({e}): {line}"))
}

fn say(scene: &Scene) {
    let client = scene.lab.client();
    let socket = client.netns.udp((client.address, 4000));
    socket.send_to(b"hello", lab::server(0, 5000)).expect("a datagram can be sent");
}

#[test]
fn flows_are_shown_again_and_again() {
    let scene = Scene::new();
    scene.attach(&[]);
    let mut running = scene.lab.start_vnetctl(&["flows", "--json", "--watch", "--interval", "0.2"]);
    let lines = running.lines();
    assert_eq!(next(&lines), serde_json::json!([]));
    say(&scene);
    let rows = loop {
        let rows = next(&lines);
        if rows != serde_json::json!([]) {
            break rows;
        }
    };
    assert_eq!(rows[0]["packets_out"], 1, "{rows}");
    assert!(running.interrupt().success(), "Ctrl-C is a good end");
    scene.detach();
}

#[test]
fn counters_are_shown_again_and_again() {
    let scene = Scene::new();
    scene.attach(&[]);
    let words = ["counters", "--json", "--all", "--watch", "--interval", "0.2"];
    let mut running = scene.lab.start_vnetctl(&words);
    let lines = running.lines();
    next(&lines);
    say(&scene);
    while next(&lines)[0]["packets"] != 1 {}
    assert!(running.interrupt().success(), "Ctrl-C is a good end");
    scene.refuses(&["counters", "--watch", "--interval", "0"], 2, &["--interval 0"]);
    scene.detach();
}

#[test]
fn the_log_tells_every_decision() {
    let scene = Scene::new();
    scene.attach(&["--log-level", "debug"]);
    let mut running = scene.lab.start_vnetctl(&["log", "--json"]);
    let lines = running.lines();
    // The reader may come a little later than the first packet: say it until it is heard.
    let line = loop {
        say(&scene);
        if let Ok(line) = lines.recv_timeout(Duration::from_millis(300)) {
            break line;
        }
    };
    let first: Value = serde_json::from_str(&line).expect("a line is JSON");
    // It comes in by one device and leaves by the other.
    assert_eq!((&first["reason"], &first["hook"]), (&"inside".into(), &"in".into()), "{first}");
    let row = next(&lines);
    assert_eq!((&row["reason"], &row["hook"]), (&"nat_out".into(), &"out".into()), "{row}");
    assert_eq!((&row["src"], &row["dst"]), (&"10.0.0.2:4000".into(), &"198.51.100.2:5000".into()));
    assert_eq!(row["ifname"], "up0");
    assert!(running.interrupt().success(), "Ctrl-C is a good end");
    scene.detach();
}

#[test]
fn a_log_that_is_off_says_how_to_switch_it_on() {
    let scene = Scene::new();
    scene.attach(&[]);
    let outcome = scene.lab.vnetctl(&["log"]);
    assert!(!outcome.status.success(), "{outcome}");
    outcome.complains("--log-level");
    scene.detach();
}
