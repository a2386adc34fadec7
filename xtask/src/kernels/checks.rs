//! What a guest is asked to do, and how each answer is judged.

use super::console::Section;
use super::programs;
use super::version::{MINIMUM, Version};

/// What `vnetctl attach` answers on a kernel that is too old: its documented exit code ...
const REFUSAL_EXIT: i32 = 7;
/// ... and the name of a feature that kernels before [`MINIMUM`] lack.
const REFUSAL_NAMES: &str = "bpf_timer";

/// One command for the guest.
pub(super) struct Check {
    pub(super) name: String,
    /// For the guest's shell.
    pub(super) command: String,
    kind: Kind,
}

/// How the answer is read.
#[derive(Clone, Copy)]
enum Kind {
    /// A Rust test program: every test in it counts.
    Tests,
    /// The same, but only some of its tests were asked for, or none.
    SomeTests,
    /// One test: refused with [`REFUSAL_EXIT`] and a sentence with [`REFUSAL_NAMES`].
    Refusal,
    /// One test: exit code 0.
    Success,
}

/// Tests counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Counts {
    const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(super) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };

    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    pub(super) fn total(self) -> usize {
        self.passed + self.failed + self.skipped
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The checks for a kernel: the tests, or below the minimum that it is refused and left untouched.
pub(super) fn for_kernel(version: Version, threads: u32, filter: Option<&str>) -> Vec<Check> {
    let check = |name: &str, command: String, kind| Check { name: name.to_owned(), command, kind };
    if version < MINIMUM {
        let attach = "sh -c 'ip link add up0 type veth peer name up1 && ip link set up0 up && \
                      ip addr add 192.0.2.1/24 dev up0 && exec vnetctl attach --nat up0'";
        let untouched = "sh -c 'tc qdisc show dev up0; ls /sys/fs/bpf; \
             ! tc qdisc show dev up0 | grep -q clsact && ! test -e /sys/fs/bpf/vnet'";
        return vec![
            check("attach-is-refused", attach.to_owned(), Kind::Refusal),
            check("nothing-is-left", untouched.to_owned(), Kind::Success),
        ];
    }
    // --nocapture: what passing tests print (VERIFIED, SKIPPED lines) is wanted too, and why one
    // fails is on the console at once, should the guest not come to its end.
    let tests = programs::TESTS.iter();
    tests
        .map(|name| {
            let words = filter.into_iter().flat_map(str::split_whitespace);
            let filter: String = words.map(|word| format!(" '{word}'")).collect();
            let command = format!("/tests/{name} --test-threads={threads} --nocapture{filter}");
            check(name, command, if filter.is_empty() { Kind::Tests } else { Kind::SomeTests })
        })
        .collect()
}

impl Check {
    /// Judges what the guest printed for this check; `None`: it never came that far.
    pub(super) fn judge(&self, section: Option<&Section>) -> Counts {
        let Some((section, exit)) = section.and_then(|s| Some((s, s.exit?))) else {
            return Counts::FAILED;
        };
        let passed = match self.kind {
            Kind::Tests => return count_tests(section, exit, false),
            Kind::SomeTests => return count_tests(section, exit, true),
            Kind::Refusal => {
                exit == REFUSAL_EXIT && section.output.iter().any(|l| l.contains(REFUSAL_NAMES))
            }
            Kind::Success => exit == 0,
        };
        if passed { Counts::PASSED } else { Counts::FAILED }
    }

    /// What should have happened, for the reader of a failure.
    pub(super) fn promise(&self) -> String {
        match self.kind {
            Kind::Tests | Kind::SomeTests => "every test passes".to_owned(),
            Kind::Refusal => {
                format!("exit code {REFUSAL_EXIT} and a sentence that names {REFUSAL_NAMES}")
            }
            Kind::Success => "exit code 0".to_owned(),
        }
    }
}

/// Counts by the closing line of Rust's test program; a program that ends otherwise is a failure.
fn count_tests(section: &Section, exit: i32, may_be_none: bool) -> Counts {
    let mut counts = Counts::default();
    for line in section.output.iter().filter(|line| line.starts_with("test result:")) {
        let number = |word: &str| {
            let words: Vec<&str> = line.split([' ', ';']).collect();
            let pair = words.windows(2).find(|pair| pair[1] == word);
            pair.and_then(|pair| pair[0].parse().ok()).unwrap_or(0)
        };
        let ignored: usize = number("ignored");
        counts.add(Counts { passed: number("passed"), failed: number("failed"), skipped: ignored });
    }
    // A test that finds the kernel lacking says so and returns: passed for Rust, skipped for us.
    let skipped = section.skipped().len().min(counts.passed);
    counts.passed -= skipped;
    counts.skipped += skipped;
    if counts.failed == 0 && (exit != 0 || counts.total() == 0 && !may_be_none) {
        counts.failed = 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(exit: Option<i32>, output: &[&str]) -> Section {
        let output = output.iter().map(|&line| line.to_owned()).collect();
        Section { name: "wire".to_owned(), output, exit }
    }

    fn judged(version: Version, exit: Option<i32>, output: &[&str]) -> Counts {
        for_kernel(version, 2, None)[0].judge(Some(&section(exit, output)))
    }

    const OK: &str = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";

    #[test]
    fn skips_that_a_test_announces_are_not_passes() {
        let counts = judged(MINIMUM, Some(0), &["SKIPPED netkit: not on this kernel", OK]);
        assert_eq!(counts, Counts { passed: 2, failed: 0, skipped: 2 });
    }

    #[test]
    fn a_program_that_ran_nothing_or_died_has_failed() {
        assert_eq!(judged(MINIMUM, Some(0), &[]).failed, 1);
        assert_eq!(judged(MINIMUM, Some(139), &[OK]).failed, 1);
        let some = for_kernel(MINIMUM, 2, Some("device"));
        assert!(some[0].command.ends_with(" 'device'"), "{}", some[0].command);
        assert_eq!(some[0].judge(Some(&section(Some(0), &[]))), Counts::default());
        assert_eq!(some[0].judge(Some(&section(Some(101), &[]))).failed, 1);
        assert_eq!(judged(MINIMUM, None, &[OK]).failed, 1);
        assert_eq!(for_kernel(MINIMUM, 2, None)[0].judge(None).failed, 1);
    }

    #[test]
    fn a_refusal_needs_code_and_name() {
        let old = Version { major: 5, minor: 10 };
        let sentence = format!("this kernel has no {REFUSAL_NAMES}");
        assert_eq!(judged(old, Some(REFUSAL_EXIT), &[&sentence]), Counts::PASSED);
        assert_eq!(judged(old, Some(REFUSAL_EXIT), &["no"]), Counts::FAILED);
        assert_eq!(judged(old, Some(0), &[&sentence]), Counts::FAILED);
    }
}
