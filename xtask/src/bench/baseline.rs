//! The committed baseline: how many times as good as nftables everything was, and what the verifier
//! walked, with a comparison for whoever has changed something.
//!
//! Ratios are what can be compared from one run to another; even they differ by some percent, so a
//! difference within the spread of the run is not called one.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::summary::{Report, Standing};
use crate::shell;

/// Differences below this are noise, percent.
const NOISE: f64 = 5.0;

/// Numbers by measure and contender.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Baseline {
    /// The kind of machine they are from.
    machine: String,
    /// Times as good as nftables; where nftables has no part in it, the number itself.
    measures: BTreeMap<String, BTreeMap<String, f64>>,
}

fn file() -> PathBuf {
    shell::root().join("tests/baseline.json")
}

impl Baseline {
    fn of(report: &Report) -> Self {
        let mut measures = BTreeMap::new();
        for measure in &report.measures {
            let standings = measure.contenders.iter().filter(|one| one.contender != "nft");
            let numbers = standings.map(|one| (one.contender.clone(), rounded(number(one))));
            measures.insert(measure.measure.clone(), numbers.collect());
        }
        Self { machine: report.machine.kind(), measures }
    }

    fn get(&self, measure: &str, contender: &str) -> Option<f64> {
        self.measures.get(measure)?.get(contender).copied()
    }
}

/// Keeps the report as the baseline.
pub(super) fn save(report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(&Baseline::of(report))? + "\n";
    fs::write(file(), text).with_context(|| file().display().to_string())?;
    println!("{}", file().display());
    Ok(())
}

/// The report beside the baseline.
pub(super) fn compare(report: &Report) -> Result<String> {
    let text = fs::read_to_string(file()).with_context(|| file().display().to_string())?;
    let baseline = serde_json::from_str(&text).with_context(|| file().display().to_string())?;
    Ok(beside(&baseline, report))
}

fn beside(baseline: &Baseline, report: &Report) -> String {
    let mut text = format!("\nBeside the baseline ({})\n", baseline.machine);
    for measure in &report.measures {
        for one in &measure.contenders {
            let Some(before) = baseline.get(&measure.measure, &one.contender) else { continue };
            let now = number(one);
            // A ratio is better when it is larger, and so is what is more and better itself.
            let larger = one.times_nft.is_some() || measure.more_is_better;
            let gain = (now / before - 1.0) * if larger { 100.0 } else { -100.0 };
            let said = verdict(gain, one.spread_percent);
            let _ = writeln!(
                text,
                "  {:<24}{:<10}{before:>10.2} -> {now:<10.2}{gain:>+6.0} %  {said}",
                measure.measure, one.contender
            );
        }
    }
    text
}

fn number(standing: &Standing) -> f64 {
    standing.times_nft.unwrap_or(standing.median)
}

fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

fn verdict(gain: f64, spread: f64) -> &'static str {
    match gain {
        small if small.abs() <= NOISE.max(spread) => "",
        up if up > 0.0 => "better",
        _ => "WORSE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_within_the_spread_is_none() {
        assert_eq!(verdict(-12.0, 15.0), "");
        assert_eq!(verdict(-12.0, 3.0), "WORSE");
        assert_eq!(verdict(12.0, 3.0), "better");
        assert_eq!(verdict(-4.0, 0.0), "");
    }

    #[test]
    fn a_baseline_is_read_as_it_was_written() {
        let of = |number| BTreeMap::from([("vnet".to_owned(), number)]);
        let measures = BTreeMap::from([("udp-1-cpu".to_owned(), of(1.9))]);
        let baseline = Baseline { machine: "a machine".to_owned(), measures };
        let text = serde_json::to_string(&baseline).unwrap();
        assert_eq!(serde_json::from_str::<Baseline>(&text).unwrap(), baseline);
        assert_eq!(baseline.get("udp-1-cpu", "vnet"), Some(1.9));
        assert_eq!(baseline.get("udp-1-cpu", "nft"), None);
    }
}
