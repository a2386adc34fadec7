//! `--xdp`: what runs where, changed in place, refused in words, and taken off without a trace.

use aya::programs::xdp::XdpMode;
use vnet_ctl::bpf::{Loaded, Sizes};
use vnet_tests::lab::{Lab, UPLINK};

use crate::scene::{Scene, attach};

const UNSUPPORTED: i32 = 7;
const BUSY: i32 = 6;

/// The mode of each device, as `status` says.
fn modes(scene: &Scene) -> Vec<(String, String)> {
    let status = scene.status();
    let devices = status["devices"].as_array().expect("devices are a list").clone();
    let word = |value: &serde_json::Value| value.as_str().expect("a word").to_owned();
    let with = devices.iter().filter(|device| device["role"] != "sorter");
    let mut modes: Vec<_> =
        with.map(|device| (word(&device["ifname"]), word(&device["xdp"]))).collect();
    modes.sort();
    modes
}

fn all(mode: &str) -> Vec<(String, String)> {
    ["in0", UPLINK].map(|name| (name.to_owned(), mode.to_owned())).to_vec()
}

/// Whether the kernel tells what drivers can do.
fn is_told(scene: &Scene) -> bool {
    let outcome = scene.lab.vnetctl(&attach(&["--xdp", "native", "--dry-run"]));
    !outcome.stderr.contains("does not tell")
}

#[test]
fn it_is_put_on_changed_and_taken_off() {
    let scene = Scene::new();
    scene.attach(&["--inside", "in0", "--xdp", "generic"]);
    assert_eq!(modes(&scene), all("generic"));
    let shown = scene.lab.router.ip(&format!("link show dev {UPLINK}"));
    assert!(shown.contains("xdpgeneric"), "{shown}");
    assert_eq!(scene.status()["spec"]["xdp"], "generic");
    assert_eq!(scene.steps(&attach(&["--inside", "in0", "--xdp", "generic"])), [""; 0]);
    if is_told(&scene) {
        scene.attach(&["--inside", "in0", "--xdp", "native"]);
        assert_eq!(modes(&scene), all("native"));
        let shown = scene.lab.router.ip(&format!("link show dev {UPLINK}"));
        assert!(!shown.contains("xdpgeneric") && shown.contains("xdp"), "{shown}");
        assert_eq!(scene.steps(&attach(&["--inside", "in0", "--xdp", "native"])), [""; 0]);
    }
    // With other words the programs are replaced where they are.
    scene.attach(&["--inside", "in0", "--xdp", "generic", "--log-level", "debug"]);
    assert_eq!(modes(&scene), all("generic"));
    scene.attach(&["--inside", "in0"]);
    assert_eq!(modes(&scene), all("off"));
    assert_eq!(scene.status()["health"], "ok");
    scene.attach(&["--inside", "in0", "--xdp", "generic"]);
    scene.detach();
}

#[test]
fn auto_leaves_out_devices_whose_senders_are_on_this_machine() {
    let scene = Scene::new();
    let outcome = scene.attach(&["--xdp", "auto"]);
    assert_eq!(modes(&scene), all("off"));
    let why = if outcome.stderr.contains("does not tell") { "does not tell" } else { "unfinished" };
    for device in ["'in0'", "'up0'"] {
        assert!(outcome.stderr.contains(device) && outcome.stderr.contains(why), "{outcome}");
    }
    scene.detach();
}

#[test]
fn a_device_that_cannot_is_named() {
    let lab = Lab::new();
    lab.router.ip("link add link in0 name mac9 type macvlan");
    lab.router.ip("link set mac9 up");
    let scene = Scene::begin(lab);
    let words = attach(&["--inside", "mac9", "--xdp", "native"]);
    let why = if is_told(&scene) { "does not run XDP" } else { "does not tell" };
    scene.refuses(&words, UNSUPPORTED, &["--xdp native", why, "--xdp auto"]);
    scene.refuses(&attach(&["--xdp", "fast"]), 2, &["--xdp fast: take auto, native"]);
}

#[test]
fn a_program_of_somebody_else_stays() {
    let scene = Scene::new();
    let sizes = Sizes { max_flows: 16, addresses: 1, log_level: 0, telling: 0 };
    let mut loaded = Loaded::load(sizes, None).expect("the object can be loaded");
    loaded.load_xdp().expect("the program can be loaded");
    let program = loaded.xdp().expect("the program is there");
    let put = scene.lab.router.run(|| program.attach(UPLINK, XdpMode::Skb));
    put.expect("the program can be attached");
    let told = ["'up0' already has an XDP program", "remove it"];
    scene.refuses(&attach(&["--xdp", "generic"]), BUSY, &told);
    // Asked for where it can be had, the others have it.
    scene.attach(&["--xdp", "off"]);
    assert_eq!(modes(&scene), all("off"));
    let shown = scene.lab.router.ip(&format!("link show dev {UPLINK}"));
    assert!(shown.contains("xdpgeneric"), "{shown}");
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
}

#[test]
fn a_device_that_goes_takes_its_program_along() {
    let scene = Scene::new();
    scene.lab.router.ip("link add gone0 type veth peer name gone1");
    scene.lab.router.ip("link set gone0 up");
    scene.attach(&["--inside", "in0", "--inside", "gone0", "--xdp", "generic"]);
    scene.lab.router.ip("link del gone0");
    scene.attach(&["--inside", "in0", "--xdp", "generic"]);
    assert_eq!(modes(&scene), all("generic"));
    assert_eq!(scene.status()["health"], "ok");
    scene.detach();
}
