//! A newer version takes over what an older one has made, under a stream of packets that are counted;
//! the older one refuses what the newer has made. The newer one is this source with another layout of
//! maps, which `cargo xtask test` builds.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};

use vnet_common::LAYOUT_VERSION;
use vnet_tests::counters::Counters;
use vnet_tests::lab::{INSIDE, UPLINK};
use vnet_tests::vnetctl::{self, Outcome};
use vnet_tests::{instance, skip};

use crate::scene::{Scene, ask, outside, server};
use crate::swap::under_load;

/// The exit code for what another version has made.
const VERSION: i32 = 9;
const ATTACH: [&str; 5] = ["attach", "--nat", UPLINK, "--inside", INSIDE];

/// The newer one, where it was built.
fn next() -> Option<PathBuf> {
    std::env::var_os("VNET_NEXT").map(PathBuf::from)
}

struct Takeover {
    scene: Scene,
    next: PathBuf,
}

impl Takeover {
    fn new(next: PathBuf) -> Self {
        Self { scene: Scene::new(), next }
    }

    fn run(&self, program: &Path, words: &[&str], fault: &str) -> Outcome {
        let mut command = self.scene.lab.command_of(program, words);
        command.env("VNET_FAULT", fault);
        vnetctl::run(command)
    }

    fn newer(&self, words: &[&str]) -> Outcome {
        self.run(&self.next, words, "")
    }

    /// Pins of maps that have been replaced.
    fn former(&self) -> Vec<String> {
        let pins = fs::read_dir(instance::pins(self.scene.lab.instance())).expect("it has pins");
        let names = pins.flatten().filter_map(|pin| pin.file_name().into_string().ok());
        names.filter(|name| name.starts_with("former_") || name.starts_with("next_")).collect()
    }
}

#[test]
fn a_newer_version_takes_over_without_a_loss_and_the_older_one_refuses() {
    let Some(next) = next() else {
        skip!("there is no newer version: `cargo xtask test` builds one");
    };
    let story = Takeover::new(next);
    let lab = &story.scene.lab;
    let (client, remote) = (story.scene.udp(0, 4000), lab.server.udp(server()));
    assert_eq!(ask(&client, &remote), outside(4000));
    let before = lab.flows();
    let words = [&ATTACH[..], &["--dry-run"]].concat();
    story.newer(&words).ok().says("take over the maps of layout");
    assert_eq!(lab.flows().len(), before.len(), "nothing was done yet");
    let tally = under_load(&client, &remote, || {
        story.newer(&ATTACH).ok();
    });
    tally.is_whole();
    assert_eq!(tally.from.len(), 1, "one conversation: {:?}", tally.from);
    assert_eq!(story.former(), [""; 0]);
    let flows = story.newer(&["-j", "flows"]).ok().json();
    let packets = |flow: &serde_json::Value| flow["packets_out"].as_u64().expect("a number");
    assert_eq!(flows.as_array().map(Vec::len), Some(1), "{flows}");
    assert!(packets(&flows[0]) >= packets(&before[0]) + tally.sent, "{flows}");
    assert_eq!(flows[0]["outside_port"], 4000, "{flows}");
    story.newer(&ATTACH).ok().says("nothing to do");
    // The older one leaves all that alone, and says what it is.
    let tally = under_load(&client, &remote, || {
        let newer = format!("layout {}", LAYOUT_VERSION + 1);
        story.run(&vnetctl::program(), &ATTACH, "").fails(VERSION).complains(&newer);
    });
    tally.is_whole();
    story.newer(&["detach", UPLINK]).ok();
    story.scene.end();
}

#[test]
fn what_was_counted_is_still_counted() {
    let Some(next) = next() else {
        skip!("there is no newer version: `cargo xtask test` builds one");
    };
    let story = Takeover::new(next);
    let lab = &story.scene.lab;
    let (client, remote) = (story.scene.udp(0, 4000), lab.server.udp(server()));
    for _ in 0..20 {
        ask(&client, &remote);
    }
    let before = Counters::of(lab);
    story.newer(&ATTACH).ok();
    let after = story.newer(&["-j", "counters"]).ok().json().to_string();
    for (end, packets) in &before.0 {
        assert!(after.contains(&format!("\"{end}\"")), "{packets} of {end} are gone: {after}");
    }
    story.scene.end();
}

#[test]
fn killed_at_any_step_it_goes_on_where_it_was() {
    let Some(next) = next() else {
        skip!("there is no newer version: `cargo xtask test` builds one");
    };
    let count = {
        let story = Takeover::new(next.clone());
        let words = [&ATTACH[..], &["--dry-run", "--json"]].concat();
        let report = story.newer(&words).ok().json();
        report["steps"].as_array().map(Vec::len).expect("steps are a list")
    };
    assert!(count > 4, "{count} steps");
    let story = Takeover::new(next);
    let lab = &story.scene.lab;
    let (client, remote) = (story.scene.udp(0, 4000), lab.server.udp(server()));
    for step in 1..=count {
        assert_eq!(ask(&client, &remote), outside(4000));
        // One of them fails in its turn, and leaves all as it was.
        story.run(&story.next, &ATTACH, &format!("fail-{step}")).fails(1);
        assert_eq!(ask(&client, &remote), outside(4000), "after a failure at step {step}");
        assert_eq!(story.former(), [""; 0], "after a failure at step {step}");
        lab.attach(&[]);
        let killed = story.run(&story.next, &ATTACH, &step.to_string());
        assert_eq!(killed.status.signal(), Some(9), "step {step}: {killed}");
        assert_eq!(ask(&client, &remote), outside(4000), "after a kill at step {step}");
        story.newer(&ATTACH).ok();
        assert_eq!(story.former(), [""; 0], "after a kill at step {step} and a repair");
        assert_eq!(ask(&client, &remote), outside(4000));
        story.newer(&["detach", UPLINK]).ok();
        lab.attach(&[]);
    }
    story.scene.end();
}

#[test]
fn whom_a_table_leaves_out_is_told() {
    let Some(next) = next() else {
        skip!("there is no newer version: `cargo xtask test` builds one");
    };
    let story = Takeover::new(next);
    let router = &story.scene.lab.router;
    router.ip("link add up1 type veth peer name far1");
    router.ip("address add 192.0.2.1/24 dev up1");
    router.ip("link set up1 up");
    let other = format!("{}-other", story.scene.lab.instance());
    let run = |program: &Path, words: &[&str]| {
        vnetctl::run(router.command(&program.to_string_lossy(), words))
    };
    let words = ["attach", "--nat", "up1", "--inside", "10.9.0.0/16", "--instance", &other];
    run(&story.next, &words).ok();
    for table in ["flows", "counters", "mappings"] {
        let shown = run(&vnetctl::program(), &[table]).ok();
        let told = format!("left out: instance '{other}'");
        assert!(shown.stderr.contains(&told), "{table}: {shown}");
    }
    run(&story.next, &["detach", "up1", "--instance", &other]).ok();
    story.scene.end();
}
