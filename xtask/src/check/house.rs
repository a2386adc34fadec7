//! The rules of the house that no compiler knows, as a table. Each fault is `file:line: sentence`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::source::code_of;

/// Longer files are split along their ideas.
const LONGEST_FILE: usize = 400;
/// Names that say nothing about what is inside.
const DRAWERS: [&str; 5] = ["common", "helpers", "misc", "types", "utils"];
/// Words that stand for work not done. Written in two halves, so that this file may hold them.
const UNDONE: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!("),
    concat!("unimplemen", "ted!("),
    concat!("db", "g!("),
    concat!("[", "allow("),
];

/// Names that may be used in one place only.
struct Fence {
    /// Names; one that ends in `_` or `:` stands for all that begin so.
    names: &'static [&'static str],
    /// Where the rule holds.
    inside: &'static [&'static str],
    /// Where, within that, the names may be used.
    except: &'static [&'static str],
    /// What to tell.
    rule: &'static str,
}

const FENCES: [Fence; 8] = [
    Fence {
        names: &["unsafe"],
        inside: &["vnet-ebpf/", "vnet-ctl/", "xtask/"],
        except: &["vnet-ebpf/src/kernel/"],
        rule: "only vnet-ebpf/src/kernel/ holds unsafe code",
    },
    Fence {
        names: &["aya", "aya_"],
        inside: &["vnet-ctl/src/"],
        except: &["vnet-ctl/src/bpf/"],
        rule: "only vnet-ctl/src/bpf/ names aya",
    },
    Fence {
        names: &["rtnetlink", "netlink_packet_"],
        inside: &["vnet-ctl/src/"],
        except: &["vnet-ctl/src/netlink/"],
        rule: "only vnet-ctl/src/netlink/ names rtnetlink",
    },
    Fence {
        names: &["tokio"],
        inside: &["vnet-ctl/src/spec", "vnet-ctl/src/state", "vnet-ctl/src/plan"],
        except: &[],
        rule: "spec, state and plan are pure and know no tokio",
    },
    Fence {
        names: &["crate::bpf"],
        inside: &["vnet-ctl/src/netlink/"],
        except: &[],
        rule: "netlink and bpf never meet",
    },
    Fence {
        names: &["crate::netlink"],
        inside: &["vnet-ctl/src/bpf/"],
        except: &[],
        rule: "netlink and bpf never meet",
    },
    Fence {
        names: &["crate::cli"],
        inside: &["vnet-ctl/src/"],
        except: &["vnet-ctl/src/cli", "vnet-ctl/src/main.rs"],
        rule: "nothing below the command line imports it",
    },
    Fence {
        names: &["vnet_"],
        inside: &["xtask/src/"],
        except: &[],
        rule: "xtask imports nothing of ours",
    },
];

/// Every place below `root` that breaks a rule.
pub(crate) fn faults(root: &Path) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files(root, "rs")? {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        faults.extend(in_file(&name, &text));
    }
    Ok(faults)
}

/// Every file with this extension below a directory, sorted; hidden and built ones left out.
pub(crate) fn files(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension)?);
        } else if path.is_file() && path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn in_file(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST_FILE {
        faults.push(format!("{name}:{lines}: a file has at most {LONGEST_FILE} lines"));
    }
    let stem = Path::new(name).file_stem().unwrap_or_default().to_string_lossy();
    if DRAWERS.contains(&&*stem) {
        faults.push(format!("{name}:1: `{stem}` is a drawer; name the file after its idea"));
    }
    if !opens_with_its_purpose(text) {
        faults.push(format!("{name}:1: a file opens with `//!`, its purpose and promise"));
    }
    for (number, (line, code)) in text.lines().zip(code_of(text).lines()).enumerate() {
        let place = format!("{name}:{}", number + 1);
        let undone = UNDONE.iter().filter(|word| line.contains(*word));
        faults.extend(undone.map(|word| format!("{place}: `{word}` does not stay in the code")));
        // An attribute such as `#[unsafe(no_mangle)]` names a symbol; it runs nothing.
        let code = &code.replace("#[unsafe(", "#[(");
        let broken = FENCES.iter().filter(|fence| fence.is_broken(name, code));
        faults.extend(broken.map(|fence| format!("{place}: {}", fence.rule)));
        faults.extend(pod_fault(name, code).map(|rule| format!("{place}: {rule}")));
    }
    faults
}

fn opens_with_its_purpose(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|l| !l.is_empty() && !l.starts_with("#!") && !l.starts_with("// "));
    first.is_none_or(|line| line.starts_with("//!"))
}

/// vnet-common may be unsafe only in saying that a record is plain data.
fn pod_fault(name: &str, code: &str) -> Option<&'static str> {
    let broken =
        name.starts_with("vnet-common/") && names(code, "unsafe") && !code.contains("Pod for");
    broken.then_some("vnet-common is unsafe only in `unsafe impl Pod for` a record")
}

impl Fence {
    fn is_broken(&self, name: &str, code: &str) -> bool {
        let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
        starts(self.inside)
            && !starts(self.except)
            && self.names.iter().any(|word| names(code, word))
    }
}

/// Whether the code uses the name, as a whole word unless the name ends in `_`.
fn names(code: &str, name: &str) -> bool {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let begins = !code[..at].ends_with(in_word);
        begins && (name.ends_with('_') || !code[at + name.len()..].starts_with(in_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn one_fault(name: &str, text: &str, words: &str) {
        let faults = in_file(name, text);
        assert!(matches!(&faults[..], [fault] if fault.contains(words)), "{faults:?}");
    }

    #[test]
    fn a_fence_holds_outside_its_place_only() {
        let text = "//! Doc.\nuse aya::Ebpf;\n";
        one_fault("vnet-ctl/src/plan.rs", text, "plan.rs:2: only vnet-ctl/src/bpf/ names aya");
        assert!(in_file("vnet-ctl/src/bpf/load.rs", text).is_empty());
        assert!(in_file("tests/src/lib.rs", text).is_empty());
    }

    #[test]
    fn words_in_comments_and_longer_names_break_no_fence() {
        let text = "//! Doc about unsafe code.\nfn unsafely() { say(\"unsafe\") }\n";
        assert!(in_file("vnet-ctl/src/a.rs", text).is_empty());
    }

    #[test]
    fn pod_is_the_one_unsafe_promise_of_a_record() {
        let pod = "//! Doc.\nunsafe impl aya::Pod for Flow {}\n";
        assert!(in_file("vnet-common/src/flow.rs", pod).is_empty());
        one_fault("vnet-common/src/flow.rs", "//! Doc.\nunsafe { f() }\n", "only in");
    }

    #[test]
    fn undone_work_drawers_and_silent_files_are_told() {
        one_fault("a/src/b.rs", concat!("//! Doc.\n// TO", "DO: later\n"), "b.rs:2");
        one_fault("a/src/utils.rs", "//! Doc.\n", "drawer");
        one_fault("a/src/b.rs", "fn f() {}\n", "purpose");
        assert!(in_file("a/src/b.rs", "#![no_std]\n//! Doc.\n").is_empty());
    }
}
