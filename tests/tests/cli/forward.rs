//! `vnetctl forward`: what it makes, shows and removes, and what it refuses.

use std::os::unix::process::ExitStatusExt as _;

use serde_json::Value;
use vnet_tests::lab::{Lab, OUTSIDE, UPLINK};
use vnet_tests::vnetctl;

use crate::scene::{Scene, attach};

const USAGE: i32 = 2;
const ADDRESS: i32 = 5;
const BUSY: i32 = 6;
const NOT_ATTACHED: i32 = 10;

fn words(line: &str) -> Vec<&str> {
    ["forward"].into_iter().chain(line.split(' ')).collect()
}

impl Scene {
    #[track_caller]
    fn forward(&self, line: &str) -> Value {
        self.lab.vnetctl(&[&words(line)[..], &["--json"]].concat()).ok().json()
    }

    #[track_caller]
    fn forwards(&self) -> Vec<Value> {
        self.forward("list").as_array().expect("a list").clone()
    }

    #[track_caller]
    fn refuses_forward(&self, line: &str, code: i32, told: &[&str]) {
        self.refuses(&words(line), code, told);
    }
}

fn attached(plan: vnet_tests::lab::Plan) -> Scene {
    let scene = Scene::of(plan);
    scene.attach(&[]);
    scene
}

#[test]
fn a_forward_comes_is_shown_and_goes() {
    let scene = attached(Lab::plan());
    assert!(scene.forwards().is_empty());
    scene.lab.vnetctl(&words("list")).ok().says("no forwards");
    let made = scene.forward("add tcp 8000-8999 10.0.0.2:1000-1999");
    assert_eq!((&made["id"], &made["name"]), (&1.into(), &"tcp-8000-8999".into()), "{made}");
    assert_eq!(made["changed"], true);
    let rows = scene.forwards();
    let expected = serde_json::json!({
        "instance": scene.lab.instance(), "id": 1, "name": "tcp-8000-8999", "proto": "tcp",
        "outside": OUTSIDE, "follows": true, "ports": {"min": 8000, "max": 8999},
        "inside": "10.0.0.2", "inside_ports": {"min": 1000, "max": 1999},
        "settled": true, "flows": 0,
    });
    assert_eq!(rows, [expected]);
    let text = scene.lab.vnetctl(&words("list")).ok();
    text.says("198.51.100.1:8000-8999").says("10.0.0.2:1000-1999");
    assert_eq!(scene.status()["health"], "ok");
    scene.forward("del tcp-8000-8999");
    assert!(scene.forwards().is_empty());
    scene.detach();
}

#[test]
fn this_hosts_own_sockets_are_led_while_there_is_a_forward() {
    let scene = attached(Lab::plan());
    let leads = || scene.status()["leads_own_sockets"].clone();
    assert_eq!(leads(), Value::Null);
    scene.forward("add tcp 80 10.0.0.2");
    assert_eq!(leads(), true);
    // Somebody has taken one of the programs off.
    let pin = vnet_tests::instance::pins(scene.lab.instance()).join("call_connect4");
    std::fs::remove_file(pin).expect("the link is pinned");
    let status = scene.status();
    assert_eq!(
        (&status["leads_own_sockets"], &status["health"]),
        (&false.into(), &"broken".into())
    );
    scene.attach(&[]);
    assert_eq!(leads(), true);
    scene.forward("del 80");
    assert_eq!(leads(), Value::Null);
    scene.detach();
}

#[test]
fn the_same_again_changes_nothing_and_a_name_is_what_it_is_known_by() {
    let scene = attached(Lab::plan().clients(2));
    scene.forward("add tcp 80 10.0.0.2 --name web");
    for line in ["add tcp 80 10.0.0.2 --name web", "add tcp 80 10.0.0.2"] {
        let again = scene.forward(line);
        assert_eq!((&again["changed"], &again["name"]), (&false.into(), &"web".into()), "{again}");
    }
    let moved = scene.forward("add tcp 81-82 10.0.1.2:8081-8082 --name web");
    assert_eq!((&moved["changed"], &moved["id"]), (&true.into(), &1.into()), "{moved}");
    assert_eq!(scene.forwards()[0]["ports"], serde_json::json!({"min": 81, "max": 82}));
    // The port that is left is free for another.
    scene.forward("add tcp 80 10.0.0.2");
    assert_eq!(scene.forward("add udp 80 10.0.0.2")["name"], "udp-80");
    assert_eq!(scene.forwards().len(), 3);
    scene.detach();
}

#[test]
fn one_is_removed_by_name_number_or_port() {
    let scene = attached(Lab::plan());
    for line in ["del web", "del 8005", "del tcp 8000", "del --id 1"] {
        scene.forward("add tcp 8000-8009 10.0.0.2 --name web");
        assert_eq!(scene.forward(line)["name"], "web", "{line}");
    }
    scene.refuses_forward("del web", NOT_ATTACHED, &["has no forward 'web'"]);
    scene.refuses_forward("del 8005", NOT_ATTACHED, &["has no forward of port 8005"]);
    scene.forward("add tcp 53 10.0.0.2");
    scene.forward("add udp 53 10.0.0.2");
    scene.refuses_forward("del 53", USAGE, &["several forwards", "'tcp-53' (tcp 53)", "'udp-53'"]);
    scene.forward("del udp 53");
    scene.forward("del 53");
    scene.detach();
}

#[test]
fn what_would_be_done_is_told_and_not_done() {
    let scene = attached(Lab::plan());
    let steps = scene.steps(&words("add udp 30000-39999 10.0.0.2"));
    assert!(steps.iter().any(|step| step.contains("take ports 30000-39999")), "{steps:?}");
    assert!(steps.len() < 10, "a range is one forward, whatever its size: {steps:?}");
    assert!(scene.forwards().is_empty());
    scene.detach();
}

#[test]
fn words_that_make_no_sense() {
    let scene = attached(Lab::plan());
    for (line, told) in [
        ("add sctp 80 10.0.0.2", "say tcp or udp"),
        ("add tcp 0 10.0.0.2", "outside port 0"),
        ("add tcp 90-80 10.0.0.2", "outside port 90-80"),
        ("add tcp 80 10.0.0.2:0", "target 10.0.0.2:0"),
        ("add tcp 80 inside", "target inside"),
        ("add tcp 80-89 10.0.0.2:80", "say 10.0.0.2:80-89"),
        ("add tcp 80 10.0.0.2 --name 80", "forward name '80' is not usable"),
        ("add tcp 80 10.0.0.2 --address 300.1.1.1", "300.1.1.1"),
        ("del 0", "outside port 0"),
    ] {
        scene.refuses_forward(line, USAGE, &[told]);
    }
    scene.refuses_forward("add sctp 0 inside", USAGE, &["sctp", "outside port 0", "target inside"]);
    scene.detach();
}

#[test]
fn a_target_that_is_not_inside() {
    let scene = attached(Lab::plan());
    for (target, told) in [
        ("198.51.100.2", "the route to it leaves by the uplink up0"),
        ("198.51.100.1", "an address of this host itself"),
        ("10.0.0.1", "an address of this host itself"),
        ("203.0.113.9", "this host has no route to it"),
    ] {
        scene.refuses_forward(&format!("add tcp 80 {target}"), ADDRESS, &[target, told]);
    }
    scene.lab.router.ip("route add 172.16.0.0/12 dev in0");
    scene.refuses_forward("add tcp 80 172.16.0.9", ADDRESS, &["no --inside covers it"]);
    scene.lab.router.ip("route del 172.16.0.0/12 dev in0");
    let address = "add tcp 80 10.0.0.2 --address 198.51.100.77";
    scene.refuses_forward(
        address,
        ADDRESS,
        &["198.51.100.77 is no outside address", "198.51.100.1"],
    );
    scene.detach();
}

#[test]
fn a_port_of_a_listening_socket_is_refused_by_its_name() {
    let scene = attached(Lab::plan());
    let pid = format!("(pid {})", std::process::id());
    let told = |at: &str| ["in use on this host".to_owned(), pid.clone(), at.to_owned()];
    let refused = |line: &str, at: &str| {
        let told = told(at);
        scene.refuses_forward(line, BUSY, &told.each_ref().map(String::as_str));
    };
    let listener = scene.lab.router.listen("0.0.0.0:2222");
    refused("add tcp 2222 10.0.0.2", "listens on 0.0.0.0:2222");
    refused("add tcp 2000-2999 10.0.0.2 --force", "listens on 0.0.0.0:2222");
    drop(listener);
    let socket = scene.lab.router.udp((OUTSIDE, 53));
    refused("add udp 53 10.0.0.2", "receives on 198.51.100.1:53");
    scene.forward("add tcp 53 10.0.0.2");
    scene.forward("del 53");
    drop(socket);
    let _loopback = scene.lab.router.listen("127.0.0.1:5432");
    let made = scene.forward("add tcp 5432 10.0.0.2");
    let note = made["notes"][0].as_str().unwrap_or_default();
    assert!(
        note.contains(&pid) && note.contains("listens on 127.0.0.1:5432 and keeps that"),
        "{made}"
    );
    let _elsewhere = scene.lab.router.listen("10.0.0.1:5433");
    scene.forward("add tcp 5433 10.0.0.2");
    scene.detach();
}

#[test]
fn a_port_of_another_forward_is_refused_by_its_name() {
    let scene = attached(Lab::plan().clients(2));
    scene.forward("add tcp 8000-8099 10.0.0.2 --name web");
    for line in
        ["add tcp 8050 10.0.1.2", "add tcp 7000-8000 10.0.0.2", "add tcp 8050 10.0.0.2 --force"]
    {
        scene.refuses_forward(line, BUSY, &["belong to forward 'web'", "10.0.0.2:8000-8099"]);
    }
    scene.detach();
}

#[test]
fn nothing_to_forward_on() {
    let scene = Scene::new();
    let add = words("add tcp 80 10.0.0.2");
    scene.lab.vnetctl(&add).fails(NOT_ATTACHED).complains("there is no instance");
    scene.untouched();
}

#[test]
fn forwards_survive_an_attach_and_not_a_detach() {
    let scene = attached(Lab::plan());
    scene.forward("add tcp 80 10.0.0.2");
    let rows = scene.forwards();
    for more in [&[][..], &["--log-level", "debug"], &["--ports", "2000-3000"], &[]] {
        scene.attach(more);
        assert_eq!(scene.forwards(), rows, "{more:?}");
        assert_eq!(scene.steps(&attach(more)), [""; 0], "{more:?}");
    }
    scene.detach();
    scene.attach(&[]);
    assert!(scene.forwards().is_empty());
    scene.detach();
}

/// Runs a command that is killed before its n-th step.
#[track_caller]
fn killed_at(scene: &Scene, step: usize, line: &str) {
    let mut command = scene.lab.vnetctl_command(&words(line));
    command.env("VNET_FAULT", step.to_string());
    let outcome = vnetctl::run(command);
    assert_eq!(outcome.status.signal(), Some(9), "step {step} of {line}: {outcome}");
}

/// What must hold whatever was killed: nothing is left to do, and a new forward may have any port.
#[track_caller]
fn settled(scene: &Scene, after: usize) {
    assert_eq!(scene.steps(&attach(&[])), [""; 0], "after a kill at step {after}");
    assert!(scene.forwards().iter().all(|row| row["settled"] == true), "{:?}", scene.forwards());
    let covers = |row: &Value, port: u16| {
        let bound = |name| row["ports"][name].as_u64().expect("a port");
        (bound("min")..=bound("max")).contains(&port.into())
    };
    for port in [80, 95] {
        if !scene.forwards().iter().any(|row| covers(row, port)) {
            scene.forward(&format!("add tcp {port} 10.0.0.2 --name probe"));
            scene.forward("del probe");
        }
    }
}

fn killing(line: &str, begin: &str) {
    let scene = attached(Lab::plan().clients(2));
    let steps = || {
        scene.forward(begin);
        scene.steps(&words(line)).len()
    };
    let all = steps();
    assert!(all > 4, "{line} has more than {all} steps");
    for step in 1..=all {
        assert_eq!(steps(), all, "each kill begins with the same");
        killed_at(&scene, step, line);
        if step % 2 == 0 {
            // The same command goes on.
            scene.lab.vnetctl(&words(line)).ok();
        } else {
            // An attach mends it, too.
            scene.attach(&[]);
        }
        settled(&scene, step);
        for row in scene.forwards() {
            scene.forward(&format!("del --id {}", row["id"]));
        }
    }
    scene.detach();
}

#[test]
fn killed_while_adding() {
    killing("add tcp 80-89 10.0.0.2 --name web", "list");
}

#[test]
fn killed_while_changing() {
    killing("add tcp 85-95 10.0.1.2 --name web", "add tcp 80-89 10.0.0.2 --name web");
}

#[test]
fn killed_while_deleting() {
    killing("del web", "add tcp 80-89 10.0.0.2 --name web");
}

#[test]
fn killed_and_detached() {
    let scene = attached(Lab::plan());
    for step in 1..=scene.steps(&words("add tcp 80 10.0.0.2")).len() {
        killed_at(&scene, step, "add tcp 80 10.0.0.2");
        scene.lab.vnetctl(&["detach", UPLINK]).ok();
        scene.untouched();
        scene.attach(&[]);
    }
    scene.detach();
}
