//! Reading a guest's serial console: our own marked lines among the tests' output and the kernel's.

use std::collections::BTreeSet;

/// Begins every line the guest's init writes for us. It may follow text that lacked a line end.
pub(super) const MARK: &str = "@vnet ";

/// What a guest told.
#[derive(Debug, Default)]
pub(super) struct Console {
    /// Seconds of guest time until the checks began.
    pub(super) ready: Option<f64>,
    pub(super) sections: Vec<Section>,
    /// What init and the kernel complained about.
    pub(super) trouble: Vec<String>,
    /// Whether init reached its end.
    pub(super) done: bool,
}

/// One check's part of the console.
#[derive(Debug, Default)]
pub(super) struct Section {
    pub(super) name: String,
    pub(super) output: Vec<String>,
    /// The exit code; none when it never ended.
    pub(super) exit: Option<i32>,
}

/// A program's size for the verifier, from a line `VERIFIED <program> <instructions> budget <max>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verified {
    pub(super) program: String,
    pub(super) instructions: u64,
    pub(super) budget: u64,
}

impl Section {
    /// The reasons of tests that skipped themselves: `SKIPPED <name>: <why>`, each once though it
    /// may be shown again later, and wherever in a line, as Rust may have begun one.
    pub(super) fn skipped(&self) -> BTreeSet<&str> {
        self.output.iter().filter_map(|line| Some(line.split_once("SKIPPED ")?.1)).collect()
    }

    /// The verified-instruction counts it printed.
    pub(super) fn verified(&self) -> impl Iterator<Item = Verified> {
        self.output.iter().filter_map(|line| verified(line))
    }
}

/// Reads a whole console.
pub(super) fn read(lines: &[String]) -> Console {
    let mut console = Console::default();
    for line in lines {
        let line = line.trim_end();
        let (before, marked) = match line.split_once(MARK) {
            Some((before, marked)) => (before, Some(marked)),
            None => (line, None),
        };
        if is_crash(before) {
            console.trouble.push(before.to_owned());
        }
        if let Some(open) = console.sections.last_mut().filter(|section| section.exit.is_none())
            && (marked.is_none() || !before.is_empty())
        {
            open.output.push(before.to_owned());
        }
        if let Some(marked) = marked {
            console.note(marked);
        }
    }
    console
}

impl Console {
    fn note(&mut self, marked: &str) {
        let (word, rest) = marked.split_once(' ').unwrap_or((marked, ""));
        match word {
            "ready" => self.ready = rest.parse().ok(),
            "begin" => {
                self.sections.push(Section { name: rest.to_owned(), ..Section::default() });
            }
            "end" => {
                if let Some(open) = self.sections.last_mut() {
                    open.exit = rest.parse().ok();
                }
            }
            "trouble" => self.trouble.push(rest.to_owned()),
            "done" => self.done = true,
            _ => self.trouble.push(format!("init wrote an unknown line: {marked}")),
        }
    }
}

/// The name of the check that `line` begins.
pub(super) fn begun(line: &str) -> Option<&str> {
    line.trim_end().split_once(MARK)?.1.strip_prefix("begin ")
}

/// Whether the kernel says here that something is broken. Its lines begin with a time in brackets.
fn is_crash(line: &str) -> bool {
    const SIGNS: [&str; 6] =
        ["Kernel panic", "BUG: ", "Oops: ", "general protection fault", "stall", "Out of memory"];
    line.trim_start().starts_with('[') && SIGNS.iter().any(|sign| line.contains(sign))
}

fn verified(line: &str) -> Option<Verified> {
    let mut words = line.split_once("VERIFIED ")?.1.split_whitespace();
    let program = words.next()?.to_owned();
    let instructions = words.next()?.parse().ok()?;
    let budget = words.next().filter(|word| *word == "budget").and_then(|_| words.next())?;
    Some(Verified { program, instructions, budget: budget.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn sections_keep_output_and_exit_code() {
        let console = read(&lines(
            "early\r\n@vnet ready 4.25\r\n@vnet begin load\r\none\r\n\r\nno line end@vnet end load\r\n\
             @vnet begin wire\r\n@vnet end 101\r\n@vnet done\r\n",
        ));
        assert_eq!(console.ready, Some(4.25));
        assert_eq!(console.sections[0].output, ["one", "", "no line end"]);
        assert_eq!(console.sections[0].exit, None, "the code was unreadable");
        assert_eq!(console.sections[1].exit, Some(101));
        assert!(console.done && console.trouble.is_empty());
    }

    #[test]
    fn crashes_are_the_kernels_own_lines_only() {
        let console = read(&lines(
            "@vnet begin wire\n[    3.1] Kernel panic - not syncing: Fatal\nprinted: Kernel panic",
        ));
        assert_eq!(console.trouble, ["[    3.1] Kernel panic - not syncing: Fatal"]);
        assert!(!console.done);
    }

    #[test]
    fn verified_lines_are_read_whole() {
        let expected = Verified { program: "vnet_in".into(), instructions: 1234, budget: 9000 };
        assert_eq!(verified("VERIFIED vnet_in 1234 budget 9000"), Some(expected));
        assert!(verified("test a ... VERIFIED vnet_in 1234 budget 9000").is_some());
        assert_eq!(verified("VERIFIED vnet_in many budget 9000"), None);
        assert_eq!(verified("VERIFIED vnet_in 1234"), None);
    }
}
