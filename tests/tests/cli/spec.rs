//! A file instead of options: each option of attach is a key of it, and read back by `status`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use vnet_ctl::cli::definition;
use vnet_ctl::spec::Words;
use vnet_tests::instance;
use vnet_tests::lab::{OUTSIDE, UPLINK};
use vnet_tests::vnetctl::{self, Outcome};

use crate::scene::Scene;

const USAGE: i32 = 2;

/// Options that are about the command, not about what is wished; `--instance` is the name of the table.
const NO_KEYS: [&str; 3] = ["dry-run", "help", "instance"];

/// A file that goes when the story is over.
pub(crate) struct File(PathBuf);

impl File {
    /// The lab's instance, with these keys.
    fn new(scene: &Scene, keys: &Value) -> Self {
        let keys = keys.as_object().expect("keys and what they say");
        // What JSON calls a word, a number or a list, TOML calls the same.
        let said = keys.iter().filter(|(_, said)| !said.is_null());
        let lines: String = said.map(|(key, said)| format!("{key} = {said}\n")).collect();
        Self::of(&format!("[nat.{}]\n{lines}", scene.lab.instance()))
    }

    pub(crate) fn of(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}.toml", instance::unique()));
        fs::write(&path, text).expect("a temporary file can be written");
        Self(path)
    }

    fn apply(&self, scene: &Scene) -> Outcome {
        self.apply_with(scene, &[])
    }

    fn apply_with(&self, scene: &Scene, more: &[&str]) -> Outcome {
        apply(scene, &[&[self.name()], more].concat())
    }

    pub(crate) fn name(&self) -> &str {
        self.0.to_str().expect("a path in UTF-8")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn apply(scene: &Scene, words: &[&str]) -> Outcome {
    let program = vnetctl::program();
    let words = [&["apply"], words].concat();
    vnetctl::run(scene.lab.router.command(&program.to_string_lossy(), &words))
}

fn keys() -> BTreeSet<String> {
    Words::keys().collect()
}

#[test]
fn every_option_of_attach_is_a_key() {
    let command = definition();
    let attach = command.find_subcommand("attach").expect("there is such a command");
    let options = attach.get_arguments().filter(|option| !option.is_global_set());
    let names = options.map(|option| option.get_long().expect("attach has options only"));
    let names: BTreeSet<_> =
        names.filter(|name| !NO_KEYS.contains(name)).map(str::to_owned).collect();
    assert_eq!(names, keys());
}

#[test]
fn every_key_is_read_back() {
    let scene = Scene::new();
    let address6 = |what| {
        scene.lab.router.ip(&format!("-6 address {what} 2001:db8:ffff::1/64 dev {UPLINK} nodad"));
    };
    address6("add");
    let all = json!({
        "nat": [UPLINK],
        "inside": ["10.0.0.0/16", "192.168.7.0/24"],
        "ports": "2000-3000",
        "low-ports": "512-1023",
        "address": [OUTSIDE.to_string()],
        "exclude": ["10.9.0.0/16"],
        "filtering": "endpoint-independent",
        "max-ports-per-host": 100,
        "max-flows-per-host": 200,
        "max-flows": 5000,
        "timeout-udp": 121,
        "refresh": "outbound",
        "timeout-icmp": 61,
        "timeout-tcp-established": 7441,
        "timeout-tcp-transitory": 241,
        "port-rest": 7,
        "fragments": "ordered",
        "no-answer": true,
        "no-shortcut": [UPLINK],
        "xdp": "generic",
        "nptv6": ["fd01:203:405::/48=2001:db8:1::/48"],
        "nat66": true,
        "address6": ["2001:db8:ffff::1"],
        "events": true,
        "log-level": "warn",
    });
    let with_blocks = json!({
        "nat": UPLINK, "inside": "10.0.0.0/24", "port-block": 64, "max-flows": 5000,
    });
    let said = [&all, &with_blocks].map(|file| file.as_object().expect("keys").keys().cloned());
    assert_eq!(said.into_iter().flatten().collect::<BTreeSet<_>>(), keys());
    let usual = json!({ "nat": UPLINK, "max-flows": 5000 });
    let usual = read_back(&scene, &usual);
    let full = read_back(&scene, &all);
    for (key, said) in all.as_object().expect("keys") {
        assert_eq!(full[key], *said, "{key}");
        let fixed = ["nat", "max-flows"].contains(&key.as_str());
        assert!(fixed || usual[key] != *said, "{key} says what it would be anyway");
    }
    assert_eq!(read_back(&scene, &with_blocks)["port-block"], 64);
    address6("del");
    scene.detach();
}

/// What `status` reads back when a file with these keys was applied. To apply it again changes
/// nothing, and to apply what was read back does not either.
#[track_caller]
fn read_back(scene: &Scene, keys: &Value) -> Map<String, Value> {
    let file = File::new(scene, keys);
    file.apply(scene).ok();
    file.apply(scene).ok().says("nothing to do");
    let spec = scene.status()["spec"].clone();
    File::new(scene, &spec).apply(scene).ok().says("nothing to do");
    spec.as_object().expect("keys and what they say").clone()
}

#[test]
fn a_file_and_options_mean_the_same() {
    let scene = Scene::new();
    scene.attach(&["--timeout-udp", "200"]);
    let same = json!({ "nat": UPLINK, "inside": "10.0.0.0/16", "timeout-udp": 200 });
    File::new(&scene, &same).apply(&scene).ok().says("nothing to do");
    let other = json!({ "nat": UPLINK, "inside": "10.0.0.0/16" });
    let other = File::new(&scene, &other);
    let dry = other.apply_with(&scene, &["--dry-run"]).ok();
    dry.says("timeout-udp: 200 s -> 300 s").says("none of them executed");
    other.apply(&scene).ok().says("timeout-udp: 200 s -> 300 s");
    let json = other.apply_with(&scene, &["--json"]).ok().json();
    assert_eq!(
        (&json[0]["instance"], &json[0]["changed"]),
        (&json!(scene.lab.instance()), &json!(false))
    );
    scene.detach();
}

#[test]
fn every_fault_of_a_file_is_told_and_nothing_is_done() {
    let scene = Scene::new();
    let file = File::of(
        "[nat.one]\nnat = \"up0\"\nports = \"9-3\"\nspeed = 3\n\n[nat.two]\nnat = \"up0\"\n",
    );
    let told = [
        format!("{}:3: nat.one.ports 9-3: give a range", file.name()),
        format!("{}:4: nat.one.speed: no such key; expected one of `nat`", file.name()),
        format!("{}:7: nat.two.nat: nat.one has 'up0' too", file.name()),
    ];
    let outcome = file.apply(&scene).fails(USAGE);
    told.iter().fold(outcome, |outcome, line| outcome.complains(line));
    apply(&scene, &["/no/such/file"]).fails(1).complains("/no/such/file");
    scene.untouched();
}
