//! How much was compared, and how often which difference was met.

use std::collections::BTreeMap;
use std::fmt;

use super::differences::DIFFERENCES;
use super::trial::{Finding, Trial};

/// Numbers of steps.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Sequences.
    pub sequences: usize,
    /// Both routers did the same.
    pub same: usize,
    /// They parted earlier in the sequence.
    pub not_compared: usize,
    /// Not as it must be.
    pub faults: usize,
    /// By the name of the difference.
    pub differences: BTreeMap<&'static str, usize>,
}

impl Tally {
    /// Counts what became of a sequence.
    pub fn note(&mut self, trial: &Trial) {
        self.sequences += 1;
        for step in &trial.steps {
            match &step.finding {
                Finding::Same => self.same += 1,
                Finding::NotCompared => self.not_compared += 1,
                Finding::Fault(_) => self.faults += 1,
                Finding::Differs(met) => *self.differences.entry(met.name).or_default() += 1,
            }
        }
    }

    /// All steps.
    pub fn steps(&self) -> usize {
        let differences: usize = self.differences.values().sum();
        self.same + self.not_compared + self.faults + differences
    }

    /// In how many of a hundred steps both did the same.
    pub fn percent_same(&self) -> usize {
        self.same * 100 / self.steps().max(1)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sequences, steps) = (self.sequences, self.steps());
        writeln!(f, "{sequences} sequences, {steps} packets")?;
        let rows =
            [("same", self.same), ("not compared", self.not_compared), ("fault", self.faults)];
        for (what, count) in rows {
            writeln!(f, "{count:>9}  {what}")?;
        }
        for difference in DIFFERENCES {
            let count = self.differences.get(difference.name).unwrap_or(&0);
            writeln!(f, "{count:>9}  differs: {}", difference.name)?;
        }
        Ok(())
    }
}
