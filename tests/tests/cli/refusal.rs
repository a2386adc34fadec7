//! What cannot be is refused: a sentence that says what to do, a documented code, nothing touched.

use std::process::Command;

use vnet_tests::lab::{ETH, Lab, OUTSIDE, UPLINK};
use vnet_tests::link::{self, Cable};
use vnet_tests::netns::Netns;
use vnet_tests::vnetctl;

use crate::scene::{Scene, attach};

const USAGE: i32 = 2;
const PERMISSION: i32 = 3;
const NO_DEVICE: i32 = 4;
const ADDRESS: i32 = 5;
const BUSY: i32 = 6;
const MEMORY: i32 = 8;
const VERSION: i32 = 9;
const NOT_ATTACHED: i32 = 10;

/// Words that attach with another outside address, or another device.
fn by<'a>(device: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["attach", "--nat", device], more].concat()
}

#[test]
fn a_device_that_is_not_there() {
    let scene = Scene::new();
    scene.refuses(&by("nope0", &[]), NO_DEVICE, &["no device 'nope0'", "there are: ", UPLINK]);
    let inside = attach(&["--inside", "nope1"]);
    scene.refuses(&inside, NO_DEVICE, &["no device 'nope1'"]);
    scene.untouched();
}

#[test]
fn every_fault_is_told_at_once() {
    let scene = Scene::new();
    let both = by("nope0", &["--inside", "nope1"]);
    scene.refuses(&both, NO_DEVICE, &["no device 'nope0'", "no device 'nope1'"]);
    let words = attach(&["--inside", "10.0.0.1/8", "--ports", "9-3", "--timeout-udp", "0"]);
    scene.refuses(&words, USAGE, &["--inside 10.0.0.1/8", "--ports 9-3", "--timeout-udp 0"]);
    scene.untouched();
}

#[test]
fn words_that_make_no_sense() {
    let scene = Scene::new();
    let cases: [(&[&str], &str); 14] = [
        (&["--inside", "10.0.0.1/8"], "say 10.0.0.0/8"),
        (&["--inside", "10.0.0.0/33"], "give an IPv4 prefix"),
        (&["--inside", "2001:db8::/32"], "give an IPv4 prefix"),
        (&["--inside", "10.0.0.0/"], "give an IPv4 prefix"),
        (&["--inside", UPLINK], "that is the uplink itself"),
        (&["--ports", "0-10"], "give a range such as"),
        (&["--ports", "1024-99999"], "give a range such as"),
        (&["--ports", "many"], "give a range such as"),
        (&["--address", "198.51.100.300"], "give one IPv4 address"),
        (&["--address", "2001:db8::1"], "give one IPv4 address"),
        (&["--max-flows", "1"], "give a number from"),
        (&["--timeout-icmp", "soon"], "give a number from"),
        (&["--port-rest", "90000"], "give a number from"),
        (&["--log-level", "loud"], "take off, error, warn, info, debug or trace"),
    ];
    for (more, words) in cases {
        scene.refuses(&attach(more), USAGE, &[words]);
    }
    scene.refuses(&by("a/b", &[]), USAGE, &["cannot be the name of a network device"]);
    scene.refuses(&by("sixteen-bytes-xx", &[]), USAGE, &["1 to 15 bytes"]);
    scene.refuses(&["attach"], USAGE, &["--nat"]);
    scene.refuses(&["frobnicate"], USAGE, &["frobnicate"]);
    scene.untouched();
}

#[test]
fn an_instance_name_that_is_none() {
    let lab = Lab::new();
    for name in ["", "..", "a/b", "Big"] {
        let program = vnetctl::program();
        let words = ["attach", "--nat", UPLINK, "--instance", name];
        let outcome = vnetctl::run(lab.router.command(&program.to_string_lossy(), &words));
        outcome.fails(USAGE).complains("instance name").complains("1 to 32 of a-z");
    }
}

#[test]
fn an_address_that_is_not_on_the_device() {
    let scene = Scene::new();
    let words = attach(&["--address", "198.51.100.77"]);
    let told = ["address 198.51.100.77 is not on device 'up0'", &OUTSIDE.to_string()];
    scene.refuses(&words, ADDRESS, &told);
    scene.untouched();
}

#[test]
fn a_device_without_an_address() {
    let scene = Scene::new();
    scene.lab.router.ip("link add bare0 type veth peer name bare1");
    scene.refuses(&by("bare0", &[]), ADDRESS, &["no global IPv4 address", "ip address add"]);
}

/// A second uplink of the router, with an address of the first.
fn second_uplink(lab: &Lab) -> Netns {
    let elsewhere = Netns::new("elsewhere");
    Cable::new((&lab.router, "up1"), (&elsewhere, ETH)).plug();
    link::address(&lab.router, "up1", &format!("{OUTSIDE}/32"));
    elsewhere
}

#[test]
fn ports_that_another_instance_hands_out() {
    let lab = Lab::new();
    let elsewhere = second_uplink(&lab);
    let scene = Scene::begin(lab);
    let other = Lab::new();
    scene.attach(&["--ports", "2000-2999"]);
    // Another instance in the same router: this lab's device, the other lab's instance name.
    let program = vnetctl::program();
    let second = |ports: &str, command: &[&str]| {
        let words = [command, &["--ports", ports, "--instance", other.instance()]].concat();
        vnetctl::run(scene.lab.router.command(&program.to_string_lossy(), &words))
    };
    let overlap = second("2999-4000", &by("up1", &[])).fails(BUSY);
    overlap.complains(scene.lab.instance()).complains("hands out ports 2000-2999 of 198.51.100.1");
    second("3000-4000", &by("up1", &[])).ok();
    let taken = second("5000-6000", &by(UPLINK, &[])).fails(BUSY);
    taken.complains("already managed by instance");
    let detach = ["detach", "up1", "--instance", other.instance()];
    vnetctl::run(scene.lab.router.command(&program.to_string_lossy(), &detach)).ok();
    scene.detach();
    drop(elsewhere);
}

#[test]
fn another_uplink_than_that_of_the_instance() {
    let lab = Lab::new();
    let _elsewhere = second_uplink(&lab);
    let scene = Scene::begin(lab);
    scene.attach(&[]);
    scene.refuses(&by("up1", &[]), BUSY, &["already translates on 'up0'", "name all of them"]);
    scene.detach();
}

#[test]
fn an_instance_of_another_namespace() {
    let (here, there) = (Scene::new(), Lab::new());
    here.attach(&[]);
    let program = vnetctl::program();
    let words = attach(&["--instance", here.lab.instance()]);
    let outcome = vnetctl::run(there.router.command(&program.to_string_lossy(), &words));
    outcome.fails(BUSY).complains("in use in another network namespace");
    let words = ["detach", UPLINK, "--instance", here.lab.instance()];
    let outcome = vnetctl::run(there.router.command(&program.to_string_lossy(), &words));
    outcome.fails(BUSY).complains("in use in another network namespace");
    assert_eq!(here.status()["health"], "ok");
    here.detach();
}

#[test]
fn another_size_of_a_running_instance() {
    let scene = Scene::new();
    scene.attach(&["--max-flows", "1000"]);
    let words = attach(&["--max-flows", "2000"]);
    scene.refuses(&words, BUSY, &["made for 1000 flows", "detach it first"]);
    scene.detach();
}

#[test]
fn no_memory_for_the_maps() {
    let scene = Scene::new();
    for flows in ["2147482623", "2000000000"] {
        let words = attach(&["--max-flows", flows]);
        scene.refuses(&words, MEMORY, &["not enough memory", "smaller --max-flows"]);
    }
    scene.untouched();
}

#[test]
fn maps_of_another_version() {
    use aya::maps::{Array, Map, MapData};
    use vnet_common::policy::Config;
    let scene = Scene::new();
    scene.attach(&[]);
    let pin = vnet_tests::instance::pins(scene.lab.instance()).join("config");
    let map = Map::Array(MapData::from_pin(pin).expect("config is pinned"));
    let mut map: Array<_, Config> = map.try_into().expect("config is an array");
    let config = map.get(&0, 0).expect("config has an entry");
    map.set(0, Config { version: 99, ..config }, 0).expect("config can be written");
    let told = ["made by another version of vnet", "99", "detach"];
    scene.refuses(&attach(&[]), VERSION, &told);
    scene.detach();
}

#[test]
fn nobody_but_root() {
    let scene = Scene::new();
    let without_capabilities = |words: &[&str]| {
        let program = vnetctl::program();
        let drop = ["--bounding-set=-all", "--inh-caps=-all", "--"];
        let words: Vec<_> = drop
            .iter()
            .copied()
            .chain([program.to_str().expect("a path in UTF-8")])
            .collect::<Vec<_>>()
            .into_iter()
            .chain(words.iter().copied())
            .map(str::to_owned)
            .collect();
        vnetctl::run(scene.lab.router.command("setpriv", &words))
    };
    if Command::new("setpriv").arg("--version").output().is_err() {
        vnet_tests::skip!("setpriv (util-linux) is not installed");
    }
    for words in [&attach(&[])[..], &["detach", UPLINK]] {
        let outcome = without_capabilities(words).fails(PERMISSION);
        outcome.complains("not allowed").complains("CAP_NET_ADMIN").complains("root");
    }
    without_capabilities(&["doctor"]).fails(PERMISSION).says("CAP_NET_ADMIN");
    scene.untouched();
}

#[test]
fn nothing_is_attached() {
    let scene = Scene::new();
    scene.refuses(&["detach", UPLINK], NOT_ATTACHED, &["there is no instance"]);
    scene.refuses(&["status"], NOT_ATTACHED, &["there is no instance"]);
    for command in ["flows", "mappings", "counters", "log"] {
        scene.refuses(&[command], NOT_ATTACHED, &["there is no instance"]);
    }
    scene.attach(&[]);
    scene.refuses(&["detach", "in0"], NOT_ATTACHED, &["nothing is attached to 'in0'"]);
    scene.detach();
}

#[test]
fn detach_needs_to_know_what() {
    let scene = Scene::new();
    scene.refuses(&["detach"], USAGE, &["name the uplink to detach, or say --all"]);
    scene.refuses(&["detach", UPLINK, "--all"], USAGE, &["--all"]);
}
