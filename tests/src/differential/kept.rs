//! Cases that are kept: a file each, with what must come of every packet.
//!
//! A line is a step as [`super::text`] writes it. Behind `=>` stands the difference that it must
//! show; without, both routers must do the same.

use super::differences::{self, Difference};
use super::step::Step;
use super::trial::{Finding, Trial};

/// A kept case.
#[derive(Debug)]
pub struct Kept {
    /// The packets.
    pub steps: Vec<Step>,
    wanted: Vec<Option<&'static Difference>>,
}

impl Kept {
    /// Reads a file.
    ///
    /// # Errors
    /// The first line that makes no sense, and why.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut kept = Self { steps: Vec::new(), wanted: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let at = |why: String| format!("line {}: {why}", number + 1);
            let (step, name) = line.split_once("=>").unwrap_or((line, ""));
            kept.steps.push(step.parse().map_err(at)?);
            kept.wanted.push(wanted(name.trim()).map_err(at)?);
        }
        if kept.steps.is_empty() { Err("there is no packet in it".to_owned()) } else { Ok(kept) }
    }

    /// Whether it must show the difference of this name.
    pub fn shows(&self, name: &str) -> bool {
        self.wanted.iter().flatten().any(|wanted| wanted.name == name)
    }

    /// What is not as the file says.
    pub fn judge(&self, trial: &Trial) -> Vec<String> {
        let pairs = trial.steps.iter().zip(&self.wanted);
        pairs.filter_map(|(done, wanted)| fault(&done.step, &done.finding, *wanted)).collect()
    }
}

fn wanted(name: &str) -> Result<Option<&'static Difference>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let unknown = || format!("`{name}` is not on the list of differences (any more)");
    differences::named(name).map(Some).ok_or_else(unknown)
}

fn fault(step: &Step, finding: &Finding, wanted: Option<&Difference>) -> Option<String> {
    match (finding, wanted) {
        (Finding::Same | Finding::NotCompared, None) => None,
        // It has become what it should be: the list and the file may follow later.
        (Finding::Same, Some(wanted)) if wanted.temporary => None,
        (Finding::Differs(met), Some(wanted)) if met.name == wanted.name => None,
        (Finding::Fault(why), _) => Some(format!("{step}: {why}")),
        (Finding::Differs(met), _) => Some(format!("{step}: an unexpected `{}`", met.name)),
        (Finding::Same | Finding::NotCompared, Some(wanted)) => {
            Some(format!("{step}: `{}` did not show", wanted.name))
        }
    }
}
