//! What came of every guest, and the page printed about it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::PathBuf;

use super::boot::{LIMIT, Run};
use super::checks::{Check, Counts};
use super::console::{Console, Verified};
use super::fetch::Kernel;

/// One guest's result.
pub(super) struct Guest {
    release: String,
    counts: Counts,
    ready: Option<f64>,
    seconds: f64,
    /// Each failure in full.
    failures: Vec<String>,
    skipped: Vec<String>,
    /// The largest count of each program.
    verified: BTreeMap<String, Verified>,
    log: PathBuf,
}

impl Guest {
    /// Judges a finished guest.
    pub(super) fn judge(
        kernel: &Kernel,
        checks: &[Check],
        console: &Console,
        run: &Run,
        log: PathBuf,
    ) -> Self {
        let mut guest = Self {
            release: kernel.release.clone(),
            counts: Counts::default(),
            ready: console.ready,
            seconds: run.seconds,
            failures: Vec::new(),
            skipped: Vec::new(),
            verified: BTreeMap::new(),
            log,
        };
        guest.judge_life(console, run);
        for check in checks {
            guest.judge_check(check, console);
        }
        guest.judge_budgets();
        guest
    }

    /// The guest itself: came to its end, in time, without a complaint of the kernel.
    fn judge_life(&mut self, console: &Console, run: &Run) {
        let what = if run.timed_out {
            format!("the guest was stopped after {} s", LIMIT.as_secs())
        } else if !console.done {
            "the guest ended before its init did".to_owned()
        } else if !console.trouble.is_empty() {
            "the kernel complained".to_owned()
        } else {
            return;
        };
        let mut text = format!("{what}\n{}", console.trouble.join("\n"));
        // An open check shows the end with its own output.
        let open = console.sections.last().is_some_and(|section| section.exit.is_none());
        if !console.done && !open {
            let tail = &run.lines[run.lines.len().saturating_sub(60)..];
            text = format!("{text}\nthe console's end:\n{}", tail.join("\n"));
        }
        self.fail(text);
    }

    fn judge_check(&mut self, check: &Check, console: &Console) {
        let section = console.sections.iter().find(|section| section.name == check.name);
        let counts = check.judge(section);
        self.counts.add(counts);
        if counts.failed > 0 {
            let output = section.map_or_else(
                || "it never ran".to_owned(),
                |section| match section.exit {
                    Some(exit) => format!("{}\nexit code {exit}", section.output.join("\n")),
                    None => format!("{}\nit never ended", section.output.join("\n")),
                },
            );
            let promise = check.promise();
            self.failures.push(format!("{} (expected: {promise})\n{output}", check.name));
        }
        let Some(section) = section else { return };
        self.skipped.extend(section.skipped().into_iter().map(str::to_owned));
        for verified in section.verified() {
            let largest = self.verified.entry(verified.program.clone()).or_insert(verified.clone());
            if verified.instructions > largest.instructions {
                *largest = verified;
            }
        }
    }

    fn judge_budgets(&mut self) {
        let over = |verified: &&Verified| verified.instructions > verified.budget;
        let over: Vec<String> = self
            .verified
            .values()
            .filter(over)
            .map(|Verified { program, instructions, budget }| {
                format!(
                    "{program}: the verifier walked {instructions} instructions, budget {budget}"
                )
            })
            .collect();
        over.into_iter().for_each(|text| self.fail(text));
    }

    fn fail(&mut self, text: String) {
        self.counts.add(Counts::FAILED);
        self.failures.push(text);
    }

    /// What failed, each in a line, with the tests that say so.
    pub(super) fn failed(&self) -> impl Iterator<Item = String> {
        self.failures.iter().map(|failure| {
            let tests = failure.lines().filter(|line| line.ends_with("... FAILED"));
            let lines: Vec<_> = failure.lines().take(1).chain(tests).collect();
            format!("Linux {}: {}", self.release, lines.join(", "))
        })
    }

    /// One line about this guest.
    pub(super) fn headline(&self) -> String {
        let ready = match self.ready {
            Some(ready) => format!("ready after {ready:.1} s, ended after {:.1} s", self.seconds),
            None => format!("never ready, ended after {:.1} s", self.seconds),
        };
        format!("Linux {}: {}; {ready}", self.release, self.counts)
    }
}

/// Prints the page; answers whether everything passed and at least one test ran.
pub(super) fn print(guests: &[Guest]) -> bool {
    let mut total = Counts::default();
    for guest in guests {
        total.add(guest.counts);
        println!("\n{}", guest.headline());
        for reason in &guest.skipped {
            println!("  skipped: {reason}");
        }
        for failure in &guest.failures {
            println!("  FAILED: {}", failure.replace('\n', "\n    "));
        }
        if !guest.failures.is_empty() {
            println!("  the whole console: {}", guest.log.display());
        }
    }
    let table = table(guests);
    if !table.is_empty() {
        println!("\nInstructions walked by the verifier\n{table}");
    }
    println!("\n{total}");
    total.failed == 0 && total.passed > 0
}

/// Programs down, kernels across, the budget last; empty when nothing was counted.
fn table(guests: &[Guest]) -> String {
    let mut budgets = BTreeMap::new();
    for verified in guests.iter().flat_map(|guest| guest.verified.values()) {
        budgets.insert(&verified.program, verified.budget);
    }
    let Some(first) = budgets.keys().map(|program| program.len()).max() else {
        return String::new();
    };
    let mut table = " ".repeat(first);
    for guest in guests {
        write!(table, "  {}", guest.release).expect("a String grows");
    }
    table.push_str("  budget");
    for (program, budget) in budgets {
        write!(table, "\n{program:first$}").expect("a String grows");
        for guest in guests {
            let count = guest.verified.get(program);
            let count = count.map_or("-".to_owned(), |verified| verified.instructions.to_string());
            write!(table, "  {count:>0$}", guest.release.len()).expect("a String grows");
        }
        write!(table, "  {budget:>6}").expect("a String grows");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::super::{checks, console, version};
    use super::*;

    fn judged(text: &str, timed_out: bool) -> Guest {
        let kernel = Kernel {
            version: version::MINIMUM,
            release: "6.1.0-56".to_owned(),
            vmlinuz: PathBuf::new(),
            modules: PathBuf::new(),
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let run = Run { lines, seconds: 9.0, timed_out };
        let checks = &checks::for_kernel(version::MINIMUM, 2, None)[..1];
        Guest::judge(&kernel, checks, &console::read(&run.lines), &run, PathBuf::new())
    }

    const GOOD: &str = "@vnet ready 4.0\n@vnet begin load\nVERIFIED vnet_in 100 budget 500\n\
                        VERIFIED vnet_in 700 budget 900\n\
                        test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured\n@vnet end 0\n";

    #[test]
    fn a_good_guest_passes_and_shows_its_largest_count() {
        let guest = judged(&format!("{GOOD}@vnet done\n"), false);
        assert_eq!(guest.counts, Counts { passed: 2, failed: 0, skipped: 0 });
        let table = table(&[guest]);
        assert_eq!(table, "         6.1.0-56  budget\nvnet_in       700     900");
    }

    #[test]
    fn a_guest_that_hung_crashed_or_complained_has_failed() {
        assert_eq!(judged(GOOD, true).counts.failed, 1);
        assert_eq!(judged(GOOD, false).counts.failed, 1);
        let warned = format!("{GOOD}@vnet trouble [ 5.0] cut here\n@vnet done\n");
        assert_eq!(judged(&warned, false).counts.failed, 1);
    }

    #[test]
    fn a_program_over_its_budget_has_failed() {
        let text = format!("{GOOD}@vnet done\n").replace("budget 900", "budget 600");
        let guest = judged(&text, false);
        assert_eq!(guest.counts.failed, 1);
        assert!(guest.failures[0].contains("budget 600"), "{:?}", guest.failures);
    }
}
