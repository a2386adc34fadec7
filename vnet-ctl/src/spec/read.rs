//! Reading words one after the other, and keeping every fault of them.

use super::word;
use crate::fault::Fault;

/// Longest timeout that is taken, seconds (30 days).
const TIMEOUT_MAX: u32 = 2_592_000;
/// Greatest size whose two entries per connection the kernel can still count.
pub(super) const FLOWS_MAX: u32 = i32::MAX as u32 - 1024;

/// A fault, and the option whose words have it (`--ports`).
pub(super) type Blamed = (&'static str, Fault);

/// Faults met so far; a part that failed is left empty, because the whole is then thrown away.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) faults: Vec<Blamed>,
}

impl Reader {
    pub(super) fn blame(&mut self, option: &'static str, fault: Fault) {
        self.faults.push((option, fault));
    }

    pub(super) fn keep<T>(&mut self, option: &'static str, read: Result<T, Fault>) -> Option<T> {
        read.map_err(|fault| self.blame(option, fault)).ok()
    }

    pub(super) fn optional<T>(
        &mut self,
        option: &'static str,
        typed: Option<&String>,
        read: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<T> {
        typed.and_then(|typed| self.keep(option, read(typed)))
    }

    /// All that are right, each once.
    pub(super) fn each<T: PartialEq>(
        &mut self,
        option: &'static str,
        typed: &[String],
        read: impl Fn(&str) -> Result<T, Fault>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for read in typed.iter().filter_map(|typed| self.keep(option, read(typed))) {
            if !all.contains(&read) {
                all.push(read);
            }
        }
        all
    }

    pub(super) fn number(
        &mut self,
        option: &'static str,
        typed: Option<&String>,
        (min, max): (u32, u32),
    ) -> Option<u32> {
        self.optional(option, typed, |typed| word::number(option, typed, min, max))
    }

    pub(super) fn timeout(
        &mut self,
        option: &'static str,
        typed: Option<&String>,
        default: u32,
    ) -> u32 {
        self.number(option, typed, (1, TIMEOUT_MAX)).unwrap_or(default)
    }

    pub(super) fn limit(&mut self, option: &'static str, typed: Option<&String>) -> u32 {
        self.number(option, typed, (1, FLOWS_MAX)).unwrap_or(0)
    }
}
