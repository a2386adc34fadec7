//! What the guests run, built so that it needs nothing of the guest: statically linked.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail};

use super::talk::Talk;
use crate::shell;

/// The test targets of package `vnet-tests` that are meant for guests.
pub(super) const TESTS: [&str; 2] = ["load", "wire"];

/// How many times as long the tests wait in a guest as here (`vnet_tests::patience`).
const PATIENCE: &str = "4";

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Static programs for the guests.
pub(super) struct Programs {
    pub(super) vnetctl: PathBuf,
    /// Name and path of each of [`TESTS`].
    pub(super) tests: Vec<(String, PathBuf)>,
}

/// Builds vnetctl and the guest tests.
pub(super) fn build(talk: &Talk) -> Result<Programs> {
    let step = talk.step("Building vnetctl and the tests for the guests (statically linked)");
    let vnetctl = cargo(&["build", "--package", "vnet-ctl", "--bin", "vnetctl"])?;
    let mut words = vec!["test", "--no-run", "--package", "vnet-tests"];
    words.extend(TESTS.iter().flat_map(|name| ["--test", *name]));
    let tests = cargo(&words)?;
    let programs = Programs {
        vnetctl: pick(&vnetctl, "vnetctl")?,
        tests: TESTS
            .iter()
            .map(|name| Ok(((*name).to_owned(), pick(&tests, name)?)))
            .collect::<Result<_>>()?,
    };
    step.done("Built vnetctl and the tests for the guests");
    Ok(programs)
}

/// Runs cargo for the static target and returns its messages.
fn cargo(words: &[&str]) -> Result<String> {
    let done = shell::cargo(words)
        .args(["--quiet", "--target", TARGET, "--message-format=json-render-diagnostics"])
        // Named for the target, so that a build script's own cargo for another target is spared.
        .env("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS", "-Ctarget-feature=+crt-static")
        // Emulation is slow and a guest's memory is small: optimise a little, leave symbols out.
        .env("VNET_PATIENCE", PATIENCE)
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "debuginfo")
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    if !done.status.success() {
        bail!("cargo {} failed; its reason is printed above", words.join(" "));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

fn pick(messages: &str, name: &str) -> Result<PathBuf> {
    executable(messages, name).with_context(|| format!("cargo built no program named {name}"))
}

/// The executable of target `name` among cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let wanted = message["target"]["name"] == name;
        message["executable"].as_str().filter(|_| wanted).map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_found_by_target_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"wire"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"wire"},"executable":"/t/wire-1"}
not json
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages, "wire"), Some(PathBuf::from("/t/wire-1")));
        assert_eq!(executable(messages, "load"), None);
    }
}
