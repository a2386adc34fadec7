//! Attaching: said beforehand, done once, and not done again.

use vnet_tests::instance;
use vnet_tests::lab::{Lab, OUTSIDE, UPLINK};
use vnet_tests::netns::Netns;
use vnet_tests::vnetctl;

use crate::scene::{Scene, attach, steps};

#[test]
fn a_dry_run_says_what_would_be_done_and_does_nothing() {
    let scene = Scene::new();
    let said = scene.steps(&attach(&[]));
    assert!(said.iter().any(|step| step.starts_with("attach out")), "{said:?}");
    scene.untouched();
    let text = scene.lab.vnetctl(&attach(&["--dry-run"])).ok();
    let text = text.says("none of them executed").says(&said[0]);
    assert_eq!(text.stdout.lines().count(), said.len() + 1, "{text}");
    scene.untouched();
    let done = scene.attach(&["--json"]).json();
    assert_eq!((&done["applied"], &done["changed"]), (&true.into(), &true.into()));
    assert_eq!(steps(&done), said, "what was said is what was done");
    scene.detach();
}

#[test]
fn a_second_attach_plans_and_does_nothing() {
    let scene = Scene::new();
    for words in [&[][..], &["--ports", "2000-3000", "--timeout-udp", "77", "--inside", "in0"]] {
        scene.attach(words);
        assert_eq!(scene.steps(&attach(words)), [""; 0]);
        let again = scene.attach(&[words, &["--json"]].concat()).json();
        assert_eq!(again["changed"], false, "{again}");
        scene.attach(words).says("nothing to do");
    }
    scene.detach();
}

#[test]
fn what_is_attached_is_shown() {
    let scene = Scene::new();
    scene.attach(&["--ports", "2000-3000", "--max-flows", "512"]).says("attached: up0");
    let status = scene.status();
    assert_eq!(status["instance"], scene.lab.instance());
    assert_eq!(status["health"], "ok", "{status}");
    assert_eq!(status["problems"].as_array().map(Vec::len), Some(0));
    assert_eq!(
        (&status["ifname"], &status["ifindex"]),
        (&UPLINK.into(), &scene.lab.uplink.index.into())
    );
    assert_eq!(status["outside"], OUTSIDE.to_string());
    assert_eq!(status["ports"], serde_json::json!({"min": 2000, "max": 3000}));
    assert_eq!((&status["max_flows"], &status["flows"]), (&512.into(), &0.into()));
    let device = &status["devices"][0];
    assert_eq!(
        (&device["role"], &device["hooks"]),
        (&"uplink".into(), &serde_json::json!(["in", "out"]))
    );
    scene.detach();
}

#[test]
fn pins_are_roots_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new();
    scene.attach(&[]);
    let pins = instance::pins(scene.lab.instance());
    let mode = std::fs::metadata(&pins).expect("the directory is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    for map in ["config", "links", "flows4", "mappings", "counters"] {
        assert!(pins.join(map).exists(), "{map} is pinned");
    }
    scene.detach();
}

#[test]
fn the_outside_address_may_be_chosen() {
    let lab = Lab::new();
    vnet_tests::link::address(&lab.router, UPLINK, "198.51.100.7/24");
    let scene = Scene::begin(lab);
    scene.attach(&["--address", "198.51.100.7"]);
    assert_eq!(scene.status()["outside"], "198.51.100.7");
    // The other address is the router's own, and is left alone.
    let kept = serde_json::json!({"prefix": "198.51.100.1/32", "action": "keep"});
    let inside = scene.status()["inside"].clone();
    assert!(inside.as_array().is_some_and(|rows| rows.contains(&kept)), "{inside}");
    scene.detach();
}

#[test]
fn an_address_that_is_gone_is_noticed_and_the_next_attach_takes_another() {
    let lab = Lab::new();
    vnet_tests::link::address(&lab.router, UPLINK, "198.51.100.7/24");
    let scene = Scene::begin(lab);
    scene.attach(&[]);
    scene.lab.router.ip("address del 198.51.100.1/24 dev up0");
    let status = scene.status();
    assert_eq!(status["health"], "broken");
    assert!(status["problems"][0].as_str().is_some_and(|p| p.contains("198.51.100.1")), "{status}");
    // A secondary address of the same network goes with the first one.
    scene.lab.router.ip("address replace 198.51.100.7/24 dev up0");
    scene.attach(&[]);
    let status = scene.status();
    assert_eq!((&status["health"], &status["outside"]), (&"ok".into(), &"198.51.100.7".into()));
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
}

#[test]
fn a_device_that_was_renamed_is_still_ours() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.router.ip("link property add dev up0 altname uplink-of-the-lab");
    scene.lab.router.ip("link set up0 down");
    scene.lab.router.ip("link set up0 name wan0");
    scene.lab.router.ip("link set wan0 up");
    assert_eq!(scene.status()["ifname"], "wan0");
    scene.lab.vnetctl(&["attach", "--nat", "wan0", "--inside", "10.0.0.0/16"]).ok();
    scene.lab.vnetctl(&["detach", "wan0"]).ok();
    assert!(!instance::pins(scene.lab.instance()).exists());
}

#[test]
fn a_device_that_was_made_anew_is_attached_anew() {
    let scene = Scene::new();
    scene.attach(&[]);
    scene.lab.router.ip("link del up0");
    assert_eq!(scene.status()["health"], "broken");
    scene.lab.router.ip("link add up0 type veth peer name up0-peer");
    scene.lab.router.ip("link set up0 up");
    vnet_tests::link::address(&scene.lab.router, UPLINK, "198.51.100.1/24");
    scene.attach(&[]);
    assert_eq!(scene.status()["health"], "ok");
    scene.lab.vnetctl(&["detach", UPLINK]).ok();
    assert_eq!(scene.lab.router.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
}

#[test]
fn an_instance_whose_namespace_is_gone_is_in_nobodys_way() {
    let instance = instance::unique();
    let program = vnetctl::program();
    let attach = |netns: &Netns, name: &str| {
        let words = ["attach", "--nat", UPLINK, "--instance", name];
        vnetctl::run(netns.command(&program.to_string_lossy(), &words))
    };
    let router = || {
        let netns = Netns::new("router");
        netns.ip("link add up0 type veth peer name up0-peer");
        netns.ip("link set up0 up");
        vnet_tests::link::address(&netns, UPLINK, "198.51.100.1/24");
        netns
    };
    let first = router();
    attach(&first, &instance).ok();
    drop(first);
    // The kernel may give the new namespace all numbers of the one that is gone.
    let second = router();
    let other = instance::unique();
    attach(&second, &other).ok();
    let detach = ["detach", UPLINK, "--instance", &other];
    vnetctl::run(second.command(&program.to_string_lossy(), &detach)).ok();
    attach(&second, &instance).ok();
    let detach = ["detach", UPLINK, "--instance", &instance];
    vnetctl::run(second.command(&program.to_string_lossy(), &detach)).ok();
    assert!(!instance::pins(&instance).exists());
    assert_eq!(second.sysctl("net/ipv4/ip_forward").as_deref(), Some("0"));
}
