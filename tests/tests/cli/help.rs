//! Help, completions and manual: made from the same definitions as the command line itself.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use vnet_ctl::exit::Exit;
use vnet_tests::instance;
use vnet_tests::vnetctl::{self, Outcome};

const COMMANDS: [&str; 14] = [
    "attach",
    "apply",
    "detach",
    "status",
    "flows",
    "forward",
    "mappings",
    "blocks",
    "counters",
    "doctor",
    "events",
    "log",
    "completions",
    "man",
];

fn run(words: &[&str]) -> Outcome {
    let mut command = Command::new(vnetctl::program());
    command.args(words);
    vnetctl::run(command)
}

#[test]
fn help_lists_every_command_and_every_exit_code() {
    let help = run(&["--help"]).ok();
    for exit in Exit::ALL {
        assert!(help.stdout.contains(&format!("{:>4}  {}", exit.code(), exit.meaning())), "{help}");
    }
    for command in COMMANDS {
        assert!(help.stdout.contains(&format!("\n  {command}")), "{command} in {help}");
        run(&[command, "--help"]).ok().says("Usage: vnetctl").says("Examples:");
    }
}

#[test]
fn the_version_is_the_packages() {
    run(&["--version"]).ok().says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_typo_is_answered_with_what_was_meant() {
    run(&["atach"]).fails(2).complains("attach");
    run(&["attach", "--nat", "eth0", "--port", "1-2"]).fails(2).complains("--ports");
    let outcome = run(&["atach", "--json"]).fails(2);
    assert_eq!(crate::scene::error(&outcome)["name"], "usage");
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell]).ok();
        for command in COMMANDS {
            assert!(completions.stdout.contains(command), "{command} in {shell}");
        }
    }
    run(&["completions", "tcl"]).fails(2).complains("bash");
    let bash = run(&["completions", "bash"]).ok().stdout;
    let script = std::env::temp_dir().join(format!("{}.bash", instance::unique()));
    fs::write(&script, bash).expect("a temporary file can be written");
    let mut command = Command::new("bash");
    command.arg("-n").arg(&script);
    let checked = vnetctl::run(command);
    fs::remove_file(&script).expect("it was written a moment ago");
    checked.ok();
}

#[test]
fn every_command_has_a_page_in_the_manual() {
    let dir = std::env::temp_dir().join(instance::unique());
    run(&["man", "--out", dir.to_str().expect("a path in UTF-8")]).ok();
    let names: BTreeSet<_> = fs::read_dir(&dir)
        .expect("the pages are there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let wanted = COMMANDS.iter().map(|command| format!("vnetctl-{command}.8"));
    assert_eq!(names, wanted.chain(["vnetctl.8".to_owned()]).collect());
    for name in names {
        let page = fs::read_to_string(dir.join(&name)).expect("a page is text");
        assert!(page.contains(".TH") && page.contains(".SH NAME"), "{name}: {page}");
    }
    fs::remove_dir_all(&dir).expect("it was made a moment ago");
    let page = run(&["man"]).ok();
    assert!(page.stdout.contains("Exit codes") || page.stdout.contains("EXIT"), "{page}");
}
