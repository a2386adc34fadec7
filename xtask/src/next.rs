//! A `vnetctl` as the next version may be: this source with another layout of maps, so that a test can
//! have it take over what this one has made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Where there is one more of something: the file, the text before which, and what.
struct More {
    file: &'static str,
    before: &'static str,
    text: &'static str,
}

/// A counter, and a word on each processor's desk.
const MORE: [More; 2] = [
    More {
        file: "vnet-common/src/account.rs",
        before: "}\n\nconst _: () = {",
        text: "    Later = NUMBER, \"later\", Pass: \"met by nobody: of the next version\";\n",
    },
    More {
        file: "vnet-ebpf/src/kernel/desk.rs",
        before: "    /// The packet.\n",
        text: "    /// Of the next version.\n    pub later: u64,\n",
    },
];

/// Builds it, and returns where it is.
///
/// # Errors
/// When the source has changed so that the changes do not fit, or does not build.
pub(crate) fn build() -> Result<PathBuf> {
    let home = shell::target_dir().join("next");
    let source = home.join("source");
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(shell::root());
    let list = shell::output(&mut list)?;
    if fs::read_to_string(home.join("list")).is_ok_and(|before| before != list) {
        // What is gone from the source must not stay here.
        let _ = fs::remove_dir_all(&source);
    }
    for name in list.lines() {
        let from = shell::root().join(name);
        // What is deleted and not committed is still listed.
        if from.is_file() {
            let text = fs::read(&from).with_context(|| format!("read {}", from.display()))?;
            put(&source.join(name), &changed(name, text)?)?;
        }
    }
    put(&home.join("list"), list.as_bytes())?;
    let mut cargo = shell::cargo(["build", "--package", "vnet-ctl", "--bin", "vnetctl"]);
    cargo.current_dir(&source).env("CARGO_TARGET_DIR", home.join("build"));
    shell::run_quietly(
        "Building vnetctl of the next layout, for a test of taking over",
        &mut cargo,
    )?;
    Ok(home.join("build/debug/vnetctl"))
}

fn changed(name: &str, text: Vec<u8>) -> Result<Vec<u8>> {
    let more = MORE.iter().find(|more| more.file == name);
    if more.is_none() && name != "vnet-common/src/lib.rs" {
        return Ok(text);
    }
    let text = String::from_utf8(text).with_context(|| format!("{name} is text"))?;
    let Some(more) = more else { return Ok(raised(&text)?.into_bytes()) };
    let Some((head, tail)) = text.split_once(more.before) else {
        bail!("{name} has no `{}`: what comes before it changed", more.before.trim())
    };
    let number = head.lines().rev().find_map(row_number).map_or(0, |last| last + 1);
    let text = more.text.replace("NUMBER", &number.to_string());
    Ok(format!("{head}{text}{}{tail}", more.before).into_bytes())
}

/// The number of a line `Name = 7, "word", ...`.
fn row_number(line: &str) -> Option<u32> {
    let (_, rest) = line.split_once(" = ")?;
    rest.split_once(", \"")?.0.parse().ok()
}

/// The layout's version, and one more.
fn raised(text: &str) -> Result<String> {
    const VERSION: &str = "LAYOUT_VERSION: u32 = ";
    let found = text.split_once(VERSION).and_then(|(head, tail)| {
        let (number, tail) = tail.split_once(';')?;
        Some(format!("{head}{VERSION}{};{tail}", number.parse::<u32>().ok()? + 1))
    });
    found.context("vnet-common/src/lib.rs states the layout's version")
}

/// Writes a file, unless it says so already: cargo goes by its age.
fn put(path: &Path, text: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if let Some(home) = path.parent() {
        fs::create_dir_all(home).with_context(|| format!("make {}", home.display()))?;
    }
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
