//! Detaching: everything is put back as it was, and nothing that somebody else has changed since.

use vnet_tests::lab::{Lab, UPLINK};
use vnet_tests::vnetctl::{self, Outcome};

use crate::scene::{Scene, attach};

const FORWARD: &str = "net/ipv4/ip_forward";

#[test]
fn everything_is_as_it_was() {
    let scene = Scene::new();
    scene.attach(&["--inside", "in0"]);
    assert_eq!(scene.lab.router.sysctl(FORWARD).as_deref(), Some("1"));
    scene.lab.vnetctl(&["detach", UPLINK]).ok().says("detached: everything is as it was before");
    scene.untouched();
}

#[test]
fn without_tcx_too() {
    let scene = Scene::new();
    let without_tcx = |words: &[&str]| -> Outcome {
        let mut command = scene.lab.vnetctl_command(words);
        command.env("VNET_TCX", "off");
        vnetctl::run(command).ok()
    };
    without_tcx(&attach(&["--inside", "in0"]));
    let qdiscs = scene.lab.router.must("tc", &["qdisc", "show", "dev", UPLINK]);
    assert!(qdiscs.contains("clsact"), "{qdiscs}");
    assert_eq!(scene.status()["devices"][0]["via"], "clsact");
    assert_eq!(scene.status()["health"], "ok", "{}", scene.status());
    without_tcx(&attach(&["--inside", "in0"])).says("nothing to do");
    // What has been attached one way stays so, also where the kernel could do the other.
    scene.lab.vnetctl(&attach(&["--inside", "in0"])).ok().says("nothing to do");
    scene.detach();
}

#[test]
fn forwarding_that_was_on_stays_on() {
    let lab = Lab::new();
    lab.forward();
    let scene = Scene::begin(lab);
    scene.attach(&[]);
    scene.detach();
    assert_eq!(scene.lab.router.sysctl(FORWARD).as_deref(), Some("1"));
}

#[test]
fn a_device_that_forwarded_alone_does_so_again() {
    let lab = Lab::plan().clients(2).build();
    lab.router.set_sysctl("net/ipv4/conf/in1/forwarding", "1");
    let scene = Scene::begin(lab);
    scene.attach(&[]);
    assert_eq!(scene.lab.router.sysctl("net/ipv4/conf/in0/forwarding").as_deref(), Some("1"));
    scene.detach();
}

#[test]
fn what_somebody_has_changed_since_is_theirs() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.router.set_sysctl(FORWARD, "0");
    assert_eq!(scene.status()["health"], "broken", "nothing is forwarded any more");
    scene.lab.router.set_sysctl("net/ipv4/conf/in0/forwarding", "1");
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(scene.lab.router.sysctl("net/ipv4/conf/in0/forwarding").as_deref(), Some("1"));
}

#[test]
fn a_dry_run_does_nothing() {
    let scene = Scene::new();
    scene.attach(&[]);
    let said = scene.steps(&["detach", UPLINK]);
    assert!(said.iter().any(|step| step.starts_with("detach out")), "{said:?}");
    assert_eq!(scene.status()["health"], "ok");
    let done = scene.lab.vnetctl(&["detach", UPLINK, "--json"]).ok().json();
    assert_eq!((crate::scene::steps(&done), &done["changed"]), (said, &true.into()));
    scene.untouched();
}

#[test]
fn all_of_one_instance() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.vnetctl(&["detach", "--all"]).ok();
    scene.untouched();
}

#[test]
fn an_instance_whose_device_is_gone() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.router.ip("link del up0");
    scene.lab.vnetctl(&["detach", "--all"]).ok();
    assert!(!vnet_tests::instance::pins(scene.lab.instance()).exists());
    assert_eq!(scene.lab.router.sysctl(FORWARD).as_deref(), Some("0"));
}

#[test]
fn the_last_instance_of_a_namespace_puts_forwarding_back() {
    let (scene, other) = (Scene::new(), Lab::new());
    let elsewhere = vnet_tests::netns::Netns::new("elsewhere");
    vnet_tests::link::Cable::new((&scene.lab.router, "up1"), (&elsewhere, "eth0")).plug();
    vnet_tests::link::address(&scene.lab.router, "up1", "192.0.2.1/24");
    let scene = Scene::begin(scene.lab);
    let second = |words: &[&str]| {
        let words = [words, &["--instance", other.instance()]].concat();
        let program = vnetctl::program();
        vnetctl::run(scene.lab.router.command(&program.to_string_lossy(), &words)).ok()
    };
    scene.attach(&[]);
    second(&["attach", "--nat", "up1"]);
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(scene.lab.router.sysctl(FORWARD).as_deref(), Some("1"), "the other needs it");
    second(&["detach", "up1"]);
    scene.untouched();
}
