//! What the asking commands answer, as text and as JSON.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;
use vnet_common::account::Reason;
use vnet_tests::lab::{self, Lab, OUTSIDE, UPLINK};
use vnet_tests::ping::Pinger;
use vnet_tests::socket::{PATIENCE, receive};

use crate::scene::Scene;

/// A router over which a datagram, a bigger one and a ping went, in this order.
fn talked() -> Scene {
    let scene = Scene::of(Lab::plan().clients(2));
    scene.attach(&[]);
    let server = scene.lab.server.udp(lab::server(0, 5000));
    for (n, length) in [(0, 10), (1, 1000)] {
        let client = &scene.lab.clients[n];
        let client = client.netns.udp((client.address, 4000));
        client.send_to(&vec![1; length], lab::server(0, 5000)).expect("a datagram can be sent");
        let (_, from) = receive(&server);
        server.send_to(b"answer", from).expect("a datagram can be sent");
        receive(&client);
        // The order is decided by stamps in steps of 16.8 ms, of a clock that is coarse itself.
        sleep(Duration::from_millis(40));
    }
    let pinger = Pinger::new(&scene.lab.client().netns);
    pinger.ping(lab::server_address(0), 7, PATIENCE).expect("an answer");
    scene
}

fn keys(row: &Value) -> BTreeSet<&str> {
    row.as_object().expect("a row is an object").keys().map(String::as_str).collect()
}

fn sources(scene: &Scene, filter: &[&str]) -> Vec<String> {
    let words = [&["flows", "--json"], filter].concat();
    let rows = scene.lab.vnetctl(&words).ok().json();
    let rows = rows.as_array().expect("rows are a list");
    let shown = |row: &Value| format!("{} {}", row["proto"], row["src"]).replace('"', "");
    rows.iter().map(shown).collect()
}

#[test]
fn flows_have_all_there_is_to_know() {
    let scene = talked();
    let rows = scene.lab.flows();
    assert_eq!(rows.len(), 3);
    let wanted = "instance ifname ifindex proto src sport dst dport outside outside_port state host \
        packets_out bytes_out packets_in bytes_in age_s idle_s timeout_s left_s way_out way_in";
    for row in &rows {
        let missing: Vec<_> =
            wanted.split_whitespace().filter(|key| !keys(row).contains(key)).collect();
        assert!(missing.is_empty(), "{missing:?} missing in {row}");
    }
    let row = &rows[0];
    assert_eq!((&row["src"], &row["sport"]), (&"10.0.0.2".into(), &4000.into()), "oldest first");
    assert_eq!((&row["dst"], &row["dport"]), (&"198.51.100.2".into(), &5000.into()));
    assert_eq!(row["outside"], OUTSIDE.to_string());
    assert_eq!((&row["packets_out"], &row["bytes_out"]), (&1.into(), &38.into()));
    assert_eq!((&row["packets_in"], &row["bytes_in"]), (&1.into(), &34.into()));
    assert_eq!((&row["state"], &row["host"]), (&"REPLIED".into(), &false.into()));
    scene.detach();
}

#[test]
fn flows_are_filtered_and_ordered() {
    let scene = talked();
    assert_eq!(sources(&scene, &[]), ["udp 10.0.0.2", "udp 10.0.1.2", "icmp 10.0.0.2"]);
    assert_eq!(sources(&scene, &["--top", "1"]), ["udp 10.0.1.2"]);
    assert_eq!(sources(&scene, &["--top", "1", "--by", "bytes"]), ["udp 10.0.1.2"]);
    assert_eq!(sources(&scene, &["--by", "packets"]).len(), 3);
    assert_eq!(sources(&scene, &["--proto", "icmp"]), ["icmp 10.0.0.2"]);
    assert_eq!(sources(&scene, &["--src", "10.0.1.0/24"]), ["udp 10.0.1.2"]);
    assert_eq!(sources(&scene, &["--dst", "198.51.100.2"]).len(), 3);
    assert_eq!(sources(&scene, &["--dst", "203.0.113.0/24"]).len(), 0);
    assert_eq!(sources(&scene, &["--sport", "4000"]).len(), 2);
    assert_eq!(sources(&scene, &["--dport", "5000", "--src", "10.0.0.2"]).len(), 1);
    assert_eq!(sources(&scene, &["--state", "replied"]).len(), 3);
    assert_eq!(sources(&scene, &["--state", "SYN_SENT"]).len(), 0);
    let odd = [
        (["--proto", "sctp"], "take tcp, udp or icmp"),
        (["--by", "age"], "take packets or bytes"),
        (["--state", "HAPPY"], "take a state"),
        (["--top", "0"], "--top 0"),
        (["--sport", "65536"], "--sport 65536"),
    ];
    for (words, told) in odd {
        scene.refuses(&[&["flows"], &words[..]].concat(), 2, &[told]);
    }
    scene.lab.vnetctl(&["flows"]).ok().says("10.0.0.2:4000").says("REPLIED").says("packets");
    scene.detach();
}

#[test]
fn mappings_say_who_has_which_port() {
    let scene = talked();
    let rows = scene.lab.mappings();
    let row = rows.iter().find(|row| row["proto"] == "udp" && row["src"] == "10.0.0.2");
    let row = row.expect("the first client has a mapping");
    assert_eq!(
        (&row["sport"], &row["outside_port"], &row["flows"]),
        (&4000.into(), &4000.into(), &1.into())
    );
    assert_eq!(
        keys(row),
        "instance proto src sport outside outside_port flows age_s".split(' ').collect()
    );
    scene.lab.vnetctl(&["mappings"]).ok().says("10.0.0.2:4000").says("198.51.100.1:4000");
    scene.detach();
}

#[test]
fn status_tells_the_memory_of_the_maps() {
    let scene = Scene::new();
    let taken = |words: &[&str]| {
        scene.attach(words);
        let taken = scene.status()["memory_bytes"].as_u64().expect("a number");
        scene.lab.vnetctl(&["status"]).ok().says(" MiB of maps");
        scene.lab.vnetctl(&["detach", UPLINK]).ok();
        taken
    };
    let (few, many) = (taken(&["--max-flows", "1000"]), taken(&["--max-flows", "1000000"]));
    // Tables begin with their buckets, and take more as connections come.
    assert!(few > 1 << 20 && many > few + (16 << 20), "{few} and {many}");
}

#[test]
fn counters_name_every_reason() {
    let scene = talked();
    let all = scene.lab.vnetctl(&["counters", "--all", "--json"]).ok().json();
    let all = all.as_array().expect("rows are a list");
    let names: Vec<_> = all.iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, Reason::ALL.map(Reason::name));
    for (row, reason) in all.iter().zip(Reason::ALL) {
        assert_eq!(row["meaning"], reason.meaning());
        let verdict = format!("{:?}", reason.verdict()).to_lowercase();
        assert_eq!(row["verdict"], verdict);
    }
    let moved = scene.lab.vnetctl(&["counters", "--json"]).ok().json();
    let nat_out =
        moved.as_array().and_then(|rows| rows.iter().find(|row| row["name"] == "nat_out"));
    let nat_out = nat_out.expect("what has moved is shown");
    assert_eq!(nat_out["packets"], 3);
    scene.lab.vnetctl(&["counters"]).ok().says("nat_out").says("source translated");
    scene.detach();
}

#[test]
fn status_says_everything_as_text_too() {
    let scene = talked();
    let text = scene.lab.vnetctl(&["status"]).ok();
    let text = text.says(scene.lab.instance()).says("up0").says("10.0.0.0/16").says("3 of 262,144");
    assert!(!text.stdout.contains("BROKEN"), "{text}");
    let pretty = scene.lab.vnetctl(&["status", "--json", "--pretty"]).ok();
    assert!(pretty.stdout.lines().count() > 10, "{pretty}");
    assert!(pretty.json().is_array());
    scene.detach();
}

#[test]
fn doctor_finds_a_sound_machine_sound() {
    let scene = talked();
    let program = vnet_tests::vnetctl::program();
    let doctor = |words: &[&str]| {
        vnet_tests::vnetctl::run(scene.lab.router.command(&program.to_string_lossy(), words)).ok()
    };
    let json = doctor(&["doctor", "--json"]).json();
    assert_ne!(json["verdict"], "fail", "{json}");
    for check in json["checks"].as_array().expect("checks are a list") {
        assert_eq!(keys(check), "name verdict found advice".split(' ').collect(), "{check}");
        let sound = check["verdict"] == "ok";
        assert_eq!(
            sound,
            check["advice"].is_null(),
            "what is not sound comes with advice: {check}"
        );
    }
    doctor(&["doctor"]).says("capabilities").says("ok");
    scene.detach();
}
