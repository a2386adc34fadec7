//! A router before anything is attached, and how it looked then.

use serde_json::Value;
use vnet_tests::lab::{INSIDE, Lab, Plan, UPLINK};
use vnet_tests::snapshot::Snapshot;
use vnet_tests::vnetctl::Outcome;

/// A lab and what it looked like in the beginning.
pub(crate) struct Scene {
    pub(crate) lab: Lab,
    before: Snapshot,
}

impl Scene {
    /// One client, one server, nothing attached.
    pub(crate) fn new() -> Self {
        Self::of(Lab::plan())
    }

    /// Another lab.
    pub(crate) fn of(plan: Plan) -> Self {
        Self::begin(plan.build())
    }

    /// A lab that has been changed: as it is now is how it must be in the end.
    pub(crate) fn begin(lab: Lab) -> Self {
        lab.fix_neighbours();
        let before = Snapshot::of(&lab);
        Self { lab, before }
    }

    /// Attaches with further words.
    #[track_caller]
    pub(crate) fn attach(&self, more: &[&str]) -> Outcome {
        self.lab.vnetctl(&attach(more)).ok()
    }

    /// Detaches, and looks whether all is as it was.
    #[track_caller]
    pub(crate) fn detach(&self) {
        self.lab.vnetctl(&["detach", UPLINK]).ok();
        self.untouched();
    }

    /// Asserts that all is as it was in the beginning.
    #[track_caller]
    pub(crate) fn untouched(&self) {
        Snapshot::of(&self.lab).assert_same(&self.before);
    }

    /// A command that must be refused with this code and these words, in text and in JSON, and
    /// must not change anything.
    #[track_caller]
    pub(crate) fn refuses(&self, command: &[&str], code: i32, words: &[&str]) {
        let before = Snapshot::of(&self.lab);
        let outcome = self.lab.vnetctl(command).fails(code);
        let outcome = words.iter().fold(outcome, |outcome, words| outcome.complains(words));
        assert_eq!(outcome.stdout, "", "a refusal answers nothing: {outcome}");
        let json = [command, &["--json"]].concat();
        let outcome = self.lab.vnetctl(&json).fails(code);
        let error = error(&outcome);
        assert_eq!(error["code"], code, "{outcome}");
        let said = error["messages"].to_string();
        for words in words {
            let words = serde_json::to_string(words).expect("words are text");
            assert!(said.contains(words.trim_matches('"')), "{words} in {outcome}");
        }
        Snapshot::of(&self.lab).assert_same(&before);
    }

    /// The steps a command would take.
    #[track_caller]
    pub(crate) fn steps(&self, command: &[&str]) -> Vec<String> {
        let words = [command, &["--dry-run", "--json"]].concat();
        steps(&self.lab.vnetctl(&words).ok().json())
    }

    /// How the instance is, as `status` says.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.lab.vnetctl(&["status", "--json"]).ok().json()[0].clone()
    }
}

/// The words of an attach.
pub(crate) fn attach<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["attach", "--nat", UPLINK, "--inside", INSIDE], more].concat()
}

/// The error in what a command said on stderr with `--json`.
#[track_caller]
pub(crate) fn error(outcome: &Outcome) -> Value {
    let said: Value = serde_json::from_str(&outcome.stderr)
        .unwrap_or_else(|e| panic!("stderr is not JSON ({e}): {outcome}"));
    said["error"].clone()
}

/// The steps in the JSON of attach and detach.
pub(crate) fn steps(json: &Value) -> Vec<String> {
    let steps = json["steps"].as_array().expect("steps are a list");
    steps.iter().map(|step| step.as_str().expect("a step is a sentence").to_owned()).collect()
}
