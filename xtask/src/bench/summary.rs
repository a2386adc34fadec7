//! From samples to results: medians, ratios to nftables, and how far the values lie apart.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::machine::Machine;
use super::samples::Series;

/// What every other contender is compared with.
const REFERENCE: &str = "nft";
/// The limits: for what is not XDP, and for what is.
const LIMITS: [&str; 2] = ["tc", "xdp"];

/// All that a run has found; bench.json is this.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    /// Where.
    pub(crate) machine: Machine,
    /// When, in seconds since 1970.
    pub(crate) taken: u64,
    /// Values behind each median.
    pub(crate) rounds: u32,
    /// Whether the samples were too short to mean anything.
    pub(crate) quick: bool,
    /// What, in the order measured.
    pub(crate) measures: Vec<Measure>,
}

/// One measure of all contenders.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measure {
    pub(crate) measure: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) more_is_better: bool,
    pub(crate) contenders: Vec<Standing>,
}

/// How one contender has done.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Standing {
    pub(crate) contender: String,
    pub(crate) title: String,
    pub(crate) median: f64,
    /// The median over the rounds of how many times as good it was as nftables in the same round:
    /// above 1 is better, whatever is measured.
    pub(crate) times_nft: Option<f64>,
    /// The same beside the limit of redirecting at traffic control.
    pub(crate) times_tc: Option<f64>,
    /// The same beside the limit of redirecting by XDP.
    pub(crate) times_xdp: Option<f64>,
    /// From the smallest value to the largest, in percent of the median.
    pub(crate) spread_percent: f64,
    pub(crate) values: Vec<f64>,
}

impl Report {
    /// Sums up.
    pub(crate) fn new(machine: Machine, rounds: u32, quick: bool, series: &[Series]) -> Self {
        let taken = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut measures: Vec<Measure> = Vec::new();
        for one in series {
            let of = |contender: &str| {
                series.iter().find(|s| s.measure == one.measure && s.contender == contender)
            };
            let standing = Standing::of(one, of(REFERENCE), LIMITS.map(of));
            match measures.iter_mut().find(|m| m.measure == one.measure) {
                Some(measure) => measure.contenders.push(standing),
                None => measures.push(Measure {
                    measure: one.measure.clone(),
                    title: one.title.clone(),
                    unit: one.unit.clone(),
                    more_is_better: one.more_is_better,
                    contenders: vec![standing],
                }),
            }
        }
        Self { machine, taken, rounds, quick, measures }
    }
}

impl Standing {
    fn of(series: &Series, reference: Option<&Series>, limits: [Option<&Series>; 2]) -> Self {
        let median = median(&series.values);
        let [times_tc, times_xdp] = limits;
        let (least, most) = series
            .values
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(least, most), v| (least.min(*v), most.max(*v)));
        Self {
            contender: series.contender.clone(),
            title: series.contender_title.clone(),
            median,
            times_nft: reference.map(|reference| times(series, reference)),
            times_tc: times_tc.map(|limit| times(series, limit)),
            times_xdp: times_xdp.map(|limit| times(series, limit)),
            spread_percent: (most - least) / median * 100.0,
            values: series.values.clone(),
        }
    }
}

/// Compared round by round: what slows a machine down for a while slows both.
fn times(series: &Series, reference: &Series) -> f64 {
    let rounds = series.values.iter().zip(&reference.values);
    let ratios: Vec<f64> = rounds
        .map(|(own, nft)| if series.more_is_better { own / nft } else { nft / own })
        .collect();
    median(&ratios)
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(contender: &str, more_is_better: bool, values: &[f64]) -> Series {
        Series {
            measure: "m".to_owned(),
            title: "M".to_owned(),
            unit: "u".to_owned(),
            more_is_better,
            contender: contender.to_owned(),
            contender_title: contender.to_owned(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn a_median_is_the_middle_or_between_the_two() {
        assert_eq!(median(&[3.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert_eq!(median(&[4.0, 1.0]).to_bits(), 2.5_f64.to_bits());
    }

    #[test]
    fn better_is_above_one_whatever_is_measured() {
        let nft = |more| series("nft", more, &[100.0, 200.0, 100.0]);
        // Half the time in every round, though not of every round's median.
        let fast = Standing::of(
            &series("vnet", false, &[50.0, 100.0, 50.0]),
            Some(&nft(false)),
            [None; 2],
        );
        assert_eq!(fast.times_nft, Some(2.0));
        let slow =
            Standing::of(&series("vnet", true, &[50.0, 100.0, 50.0]), Some(&nft(true)), [None; 2]);
        assert_eq!(slow.times_nft, Some(0.5));
        assert_eq!(Standing::of(&nft(true), None, [None; 2]).times_nft, None);
    }

    #[test]
    fn spread_is_of_the_median() {
        let standing = Standing::of(&series("nft", false, &[90.0, 100.0, 120.0]), None, [None; 2]);
        assert_eq!(standing.spread_percent.to_bits(), 30.0_f64.to_bits());
    }
}
