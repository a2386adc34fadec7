//! `kill -9` at any step: the next attach repairs, or detach cleans up.
//!
//! `VNET_FAULT=N` ends vnetctl by SIGKILL just before its N-th step.

use std::os::unix::process::ExitStatusExt as _;

use vnet_tests::lab::UPLINK;
use vnet_tests::vnetctl::{self, Outcome};

use crate::scene::{Scene, attach};

/// Words and environment of one story.
struct Story {
    scene: Scene,
    tcx: &'static str,
}

impl Story {
    fn new(tcx: &'static str) -> Self {
        Self { scene: Scene::new(), tcx }
    }

    fn run(&self, words: &[&str], fault: &str) -> Outcome {
        let mut command = self.scene.lab.vnetctl_command(words);
        command.env("VNET_TCX", self.tcx).env("VNET_FAULT", fault);
        vnetctl::run(command)
    }

    /// How many steps a command takes now.
    fn steps(&self, words: &[&str]) -> usize {
        self.scene.steps(words).len()
    }

    #[track_caller]
    fn killed_at(&self, step: usize, words: &[&str]) {
        let outcome = self.run(words, &step.to_string());
        assert_eq!(outcome.status.signal(), Some(9), "step {step} of {words:?}: {outcome}");
    }

    #[track_caller]
    fn settles(&self, words: &[&str], after: usize) {
        let outcome = self.run(words, "");
        assert!(outcome.status.success(), "after a kill at step {after}: {outcome}");
        assert_eq!(self.steps(words), 0, "after a kill at step {after} and a repair");
        assert_eq!(self.scene.status()["health"], "ok", "after a kill at step {after}");
    }

    #[track_caller]
    fn cleans(&self, after: usize) {
        let outcome = self.run(&["detach", "--all"], "");
        // There may be nothing to detach: nothing had been done yet.
        let nothing = outcome.status.code() == Some(10);
        assert!(outcome.status.success() || nothing, "after a kill at step {after}: {outcome}");
        self.scene.untouched();
    }
}

fn attaching(tcx: &'static str, xdp: &'static str) {
    let story = Story::new(tcx);
    let words = attach(&["--inside", "in0", "--xdp", xdp]);
    let steps = story.steps(&words);
    assert!(steps > 8, "an attach has more than {steps} steps");
    for step in 1..=steps {
        story.killed_at(step, &words);
        story.cleans(step);
        story.killed_at(step, &words);
        story.settles(&words, step);
        story.cleans(step);
    }
}

#[test]
fn while_attaching() {
    attaching("on", "off");
}

#[test]
fn while_attaching_with_xdp() {
    attaching("on", "generic");
}

#[test]
fn while_attaching_without_tcx() {
    attaching("off", "off");
}

#[test]
fn while_detaching() {
    let story = Story::new("on");
    let words = attach(&["--inside", "in0"]);
    story.settles(&words, 0);
    let steps = story.steps(&["detach", UPLINK]);
    assert!(steps > 5, "a detach has more than {steps} steps");
    for step in 1..=steps {
        story.killed_at(step, &["detach", UPLINK]);
        story.settles(&words, step);
        story.killed_at(step, &["detach", UPLINK]);
        story.cleans(step);
        story.settles(&words, step);
    }
    story.cleans(0);
}

#[test]
fn while_changing_in_place() {
    let story = Story::new("on");
    let (before, after) = (
        attach(&[]),
        attach(&[
            "--ports",
            "2000-3000",
            "--log-level",
            "debug",
            "--inside",
            "in0",
            "--xdp",
            "generic",
        ]),
    );
    story.settles(&before, 0);
    let steps = story.steps(&after);
    for step in 1..=steps {
        story.killed_at(step, &after);
        story.settles(&after, step);
        story.settles(&before, step);
    }
    story.killed_at(steps, &after);
    story.cleans(steps);
}
