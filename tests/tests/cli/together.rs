//! A file with several instances is applied as a whole or not at all.

use serde_json::Value;
use vnet_tests::instance;
use vnet_tests::lab::{Lab, UPLINK};
use vnet_tests::snapshot::Snapshot;
use vnet_tests::vnetctl::{self, Outcome};

use crate::scene::{Scene, steps};
use crate::spec::File;

/// Exit codes.
const UNEXPECTED: i32 = 1;
const BUSY: i32 = 6;

const SECOND: &str = "up1";
/// Who is inside of the other instance: nobody whom the lab has.
const APART: &str = "inside = \"10.9.0.0/16\"";

/// A router with two uplinks: one for the lab's instance, one for another.
struct Story {
    scene: Scene,
    other: String,
}

impl Story {
    fn new() -> Self {
        let lab = Lab::plan().build();
        lab.router.ip(&format!("link add {SECOND} type veth peer name far1"));
        lab.router.ip(&format!("address add 203.0.113.1/24 dev {SECOND}"));
        lab.router.ip(&format!("link set {SECOND} up"));
        // Instances are made in the order of their names.
        let other = format!("{}-other", lab.instance());
        Self { scene: Scene::begin(lab), other }
    }

    /// Both instances, the lab's and then the other, with these further keys.
    fn file(&self, first: &str, second: &str) -> File {
        let (one, other) = (self.scene.lab.instance(), &self.other);
        File::of(&format!(
            "[nat.{one}]\nnat = \"{UPLINK}\"\n{first}\n[nat.{other}]\nnat = \"{SECOND}\"\n{second}\n"
        ))
    }

    fn vnetctl(&self, words: &[&str], fault: &str) -> Outcome {
        let program = vnetctl::program();
        let mut command = self.scene.lab.router.command(&program.to_string_lossy(), words);
        command.env("VNET_FAULT", fault);
        vnetctl::run(command)
    }

    /// How many steps the file takes for each of the two.
    #[track_caller]
    fn steps(&self, file: &File) -> [usize; 2] {
        let said = self.vnetctl(&["apply", file.name(), "--dry-run", "--json"], "").ok().json();
        [0, 1].map(|at| steps(&said[at]).len())
    }

    /// The file is applied, and step `at` fails: nothing is different.
    #[track_caller]
    fn fails_at(&self, at: usize, file: &File, guilty: &str) {
        let (before, status) = (Snapshot::of(&self.scene.lab), self.status());
        let outcome = self.vnetctl(&["apply", file.name()], &format!("fail-{at}"));
        let said = format!("vnetctl: instance '{guilty}': cannot execute step {at}: ");
        let outcome = outcome.fails(UNEXPECTED).complains(&said);
        assert_eq!(outcome.stderr.lines().count(), 1, "all is taken back: {outcome}");
        Snapshot::of(&self.scene.lab).assert_same(&before);
        assert_eq!(self.status(), status, "step {at}");
        assert!(!instance::pins(&self.other).exists(), "step {at}");
    }

    /// All that is known of the lab's instance, but for how often it was changed.
    fn status(&self) -> Option<Value> {
        let all = self.vnetctl(&["status", "--json"], "").ok().json();
        let ours = |one: &&Value| one["instance"] == *self.scene.lab.instance();
        let mut one = all.as_array()?.iter().find(ours)?.clone();
        assert_eq!(one["health"], "ok", "{one}");
        one.as_object_mut()?.remove("epoch");
        Some(one)
    }

    #[track_caller]
    fn ends(self) {
        for uplink in [UPLINK, SECOND] {
            self.vnetctl(&["detach", uplink], "").ok();
        }
        assert!(!instance::pins(&self.other).exists());
        self.scene.untouched();
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        instance::remove_pins(&self.other);
    }
}

#[test]
fn none_is_made_where_one_fails() {
    let story = Story::new();
    let file = story.file("inside = \"in0\"", APART);
    let [one, two] = story.steps(&file);
    assert!(one > 8 && two > 8, "{one} and {two} steps");
    story.fails_at(one + 1, &file, &story.other);
    // Of those foreseen for the second some are done by then: the sysctls.
    story.fails_at(one + two / 2, &file, &story.other);
    story.scene.untouched();
    story.vnetctl(&["apply", file.name()], "").ok();
    assert_eq!(story.steps(&file), [0, 0]);
    story.ends();
}

#[test]
fn one_that_was_changed_gets_back_what_it_had() {
    let story = Story::new();
    story.scene.attach(&["--timeout-udp", "200", "--exclude", "10.9.0.0/16", "--inside", "in0"]);
    story.scene.lab.vnetctl(&["forward", "add", "tcp", "80", "10.0.0.2"]).ok();
    // Another log level means other programs, and the device inside is given up.
    let file = story
        .file("log-level = \"debug\"\nports = \"2000-3000\"\ninside = \"172.16.0.0/12\"", APART);
    let [one, two] = story.steps(&file);
    assert!(one > 8 && two > 8, "{one} and {two} steps");
    for at in [one, one + two] {
        let guilty = if at > one { &story.other } else { story.scene.lab.instance() };
        story.fails_at(at, &file, guilty);
    }
    story.vnetctl(&["apply", file.name()], "").ok();
    assert_eq!(story.steps(&file), [0, 0]);
    story.ends();
}

#[test]
fn two_that_are_new_and_want_the_same_are_refused_before_anything_is_done() {
    let story = Story::new();
    let file = story.file("inside = \"in0\"", "inside = \"in0\"");
    let said =
        format!("device 'in0' is already managed by instance '{}'", story.scene.lab.instance());
    for more in ["--dry-run", "--json"] {
        let outcome = story.vnetctl(&["apply", file.name(), more], "fail-1");
        outcome.fails(BUSY).complains(&said);
    }
    story.scene.untouched();
}
