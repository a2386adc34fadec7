//! Devices that inside hosts come in by: found without being named, and left as they were.

use std::collections::BTreeSet;

use serde_json::Value;
use vnet_tests::lab::{INSIDE, Lab, UPLINK};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::vnetctl::{self, Outcome};

use crate::scene::{Scene, attach};

/// Names of the devices with that role.
fn devices(scene: &Scene, role: &str) -> Vec<String> {
    let status = scene.status();
    assert_eq!(status["health"], "ok", "{status}");
    let rows = status["devices"].as_array().cloned().expect("devices are a list");
    let with = rows.iter().filter(|row| row["role"] == role);
    let both = |row: &&Value| row["hooks"] == serde_json::json!(["in", "out"]);
    let name = |row: &Value| row["ifname"].as_str().expect("a name").to_owned();
    let names: BTreeSet<_> = with.filter(both).map(name).collect();
    names.into_iter().collect()
}

#[test]
fn those_with_an_address_of_an_inside_prefix_are_found() {
    let lab = Lab::plan().clients(2).build();
    lab.router.ip("link add name other0 type veth peer name other1");
    lab.router.ip("link set other0 up");
    link::address(&lab.router, "other0", "172.16.0.1/24");
    let scene = Scene::begin(lab);
    scene.attach(&[]);
    assert_eq!(devices(&scene, "hooked"), ["in0", "in1"]);
    scene.lab.vnetctl(&["attach", "--nat", UPLINK]).ok().says("in0, in1 -> in0, in1, other0");
    assert_eq!(devices(&scene, "hooked"), ["in0", "in1", "other0"], "everybody is inside");
    scene.lab.vnetctl(&["attach", "--nat", UPLINK, "--inside", "in1"]).ok();
    assert_eq!(
        (devices(&scene, "hooked"), devices(&scene, "inside")),
        (vec![], vec!["in1".into()])
    );
    scene.attach(&["--inside", "in1"]);
    assert_eq!(devices(&scene, "hooked"), ["in0"]);
    scene.detach();
}

#[test]
fn a_bridge_is_found_and_not_its_ports() {
    let scene = Scene::of(Lab::plan().clients(2).bridged());
    scene.lab.router.ip("address add 10.0.9.1/24 dev in0");
    scene.attach(&[]);
    assert_eq!(devices(&scene, "hooked"), ["br0"]);
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
}

#[test]
fn one_that_comes_is_found_by_the_next_attach_and_one_that_goes_is_missed_by_nobody() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.router.ip("link add name late0 type veth peer name late1");
    scene.lab.router.ip("link set late0 up");
    link::address(&scene.lab.router, "late0", "10.0.7.1/24");
    assert_eq!(devices(&scene, "hooked"), ["in0"]);
    scene.attach(&[]).says("devices hooked: in0 -> in0, late0");
    assert_eq!(devices(&scene, "hooked"), ["in0", "late0"]);
    scene.lab.router.ip("link del late0");
    assert_eq!(devices(&scene, "hooked"), ["in0"]);
    scene.attach(&[]).says("devices hooked: in0, late0 -> in0");
    scene.attach(&[]).says("nothing to do");
    scene.detach();
}

/// Two instances of one router, both without TCX or both with it, on the same inside devices.
fn shared(tcx: &str) {
    let other = Lab::new();
    let lab = Lab::new();
    let elsewhere = Netns::new("elsewhere");
    Cable::new((&lab.router, "up1"), (&elsewhere, "eth0")).plug();
    link::address(&lab.router, "up1", "192.0.2.1/24");
    let scene = Scene::begin(lab);
    let run = |words: &[&str]| -> Outcome {
        let program = vnetctl::program();
        let mut command = scene.lab.router.command(&program.to_string_lossy(), words);
        command.env("VNET_TCX", tcx);
        vnetctl::run(command).ok()
    };
    let (first, second) = (scene.lab.instance(), other.instance());
    let again = [&attach(&[])[..], &["--instance", first]].concat();
    run(&again);
    run(&["attach", "--nat", "up1", "--inside", INSIDE, "--instance", second]);
    assert_eq!(devices(&scene, "hooked"), ["in0"]);
    run(&again).says("nothing to do");
    run(&["detach", "--all", "--instance", first]);
    let left = run(&["status", "--instance", second, "--json"]).json();
    assert_eq!(left[0]["health"], "ok", "{left}");
    run(&["detach", "--all", "--instance", second]);
    scene.untouched();
}

#[test]
fn two_instances_share_a_device() {
    shared("on");
}

#[test]
fn two_instances_share_a_device_without_tcx() {
    shared("off");
}

#[test]
fn one_that_somebody_else_uses_is_left_alone_and_that_is_said() {
    let scene = Scene::new();
    let tc = |words: &str| {
        scene.lab.router.must("tc", &words.split(' ').collect::<Vec<_>>());
    };
    tc("qdisc add dev in0 clsact");
    tc("filter add dev in0 ingress protocol ip prio 5 u32 match u32 0 0 classid 1:1");
    let before = scene.lab.router.must("tc", &["filter", "show", "dev", "in0", "ingress"]);
    scene.attach(&[]).complains("device 'in0' is left alone");
    assert_eq!(devices(&scene, "hooked"), [""; 0]);
    let after = scene.lab.router.must("tc", &["filter", "show", "dev", "in0", "ingress"]);
    assert_eq!(after, before);
    tc("qdisc del dev in0 clsact");
    scene.attach(&[]);
    assert_eq!(devices(&scene, "hooked"), ["in0"]);
    scene.detach();
}
