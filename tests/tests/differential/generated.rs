//! Sequences by chance, from a seed. `cargo xtask differential` sets how many, and which.

use std::env;
use std::time::Instant;

use vnet_tests::differential::generate::sequence;
use vnet_tests::differential::report;
use vnet_tests::differential::shrink::{shrink, signature};
use vnet_tests::differential::tally::Tally;
use vnet_tests::differential::trial::Trial;
use vnet_tests::differential::twins::Twins;
use vnet_tests::skip;

use crate::oracle;

/// What `cargo xtask test` sends: always the same, so that a failure is the change's own.
const SEED: u64 = 1;
const SEQUENCES: u64 = 3000;
/// Sequences between two lines about how far it is.
const BATCH: u64 = 2000;
/// Failures that are shrunk and shown; one cause often makes many.
const SHOWN: usize = 4;
/// Steps of a hundred that must be the same in both: a list of differences that swallowed most of
/// what is sent would prove nothing.
const LEAST_SAME: usize = 60;

#[test]
fn what_comes_out_is_what_comes_out_of_the_kernel() {
    if let Some(why) = oracle::missing() {
        skip!("{why}");
    }
    let seed = number("VNET_DIFFERENTIAL_SEED").unwrap_or(SEED);
    let count = number("VNET_DIFFERENTIAL_SEQUENCES").unwrap_or(SEQUENCES);
    let (mut tally, mut twins, since) = (Tally::default(), Twins::new(), Instant::now());
    for first in (0..count).step_by(usize::try_from(BATCH).expect("a small number")) {
        let numbers = first..count.min(first + BATCH);
        let sequences: Vec<_> = numbers.map(|number| sequence(seed, number)).collect();
        let trials = twins.run(&sequences);
        trials.iter().for_each(|trial| tally.note(trial));
        println!("seed {seed}: {} sequences, {:.0?}", tally.sequences, since.elapsed());
        if tally.faults > 0 {
            panic!("{}", explain(&mut twins, trials, (seed, first)));
        }
    }
    println!("{tally}");
    let same = tally.percent_same();
    assert!(same >= LEAST_SAME, "only {same} % of the packets were compared and the same");
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// One failure of each kind, as small as it gets.
fn explain(twins: &mut Twins, trials: Vec<Trial>, (seed, first): (u64, u64)) -> String {
    let mut text = String::new();
    let mut seen = Vec::new();
    let failed = (first..).zip(trials).filter(|(_, trial)| trial.fault().is_some());
    for (number, trial) in failed {
        let step = trial.fault().map(|(step, _)| std::mem::discriminant(&step.step.kind));
        let kind = (signature(&trial), step);
        if seen.contains(&kind) || seen.len() == SHOWN {
            continue;
        }
        seen.push(kind);
        let smallest = shrink(twins, trial);
        text += &format!("\nsequence {number} of seed {seed}, as small as it gets:\n\n");
        text += &report::show(&smallest);
    }
    text + "\nIf vnet is wrong, keep the lines that do not begin with blanks as a case in \
            tests/tests/differential/cases/. If both are right, put the difference on the list \
            (tests/src/differential/differences.rs).\n"
}
