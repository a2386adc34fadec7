//! The smallest sequence that still fails in the same way.
//!
//! Whole rounds of smaller sequences are tried at once, each in a slot of its own, so a dozen steps
//! shrink to one or two in a second.

use super::outcome::Verdict;
use super::step::{Order, Quirk, Sequence, Step, Talk, Way};
use super::trial::Trial;
use super::twins::Twins;

/// Rounds at most; each makes the sequence smaller, so few have been needed so far.
const ROUNDS: usize = 100;

/// Shrinks a sequence that failed. One that does not fail again comes back as it was.
pub fn shrink(twins: &mut Twins, failed: Trial) -> Trial {
    let wanted = signature(&failed);
    let mut best = failed;
    for _ in 0..ROUNDS {
        let smaller = smaller(&best.sequence()[..best.steps.len()]);
        let tried = twins.run(&smaller);
        match tried.into_iter().find(|trial| wanted.is_some() && signature(trial) == wanted) {
            Some(trial) => best = trial,
            None => break,
        }
    }
    best
}

/// What makes two failures the same one: what both routers did at that step.
pub fn signature(trial: &Trial) -> Option<(Verdict, Verdict)> {
    trial.fault().map(|(step, _)| (step.outcomes[0].verdict, step.outcomes[1].verdict))
}

/// Sequences that are smaller, those that are much smaller first.
fn smaller(sequence: &[Step]) -> Vec<Sequence> {
    let mut found = Vec::new();
    let mut length = sequence.len() / 2;
    while length > 0 {
        for start in (0..sequence.len()).step_by(length) {
            let mut less = sequence.to_vec();
            less.drain(start..(start + length).min(sequence.len()));
            found.push(less);
        }
        length /= 2;
    }
    for (at, step) in sequence.iter().enumerate() {
        for simpler in simpler_steps(step) {
            let mut other = sequence.to_vec();
            other[at] = simpler;
            found.push(other);
        }
    }
    found.extend(fewer_ends(sequence));
    // To oneself it cannot be told who answers.
    let to_oneself = |s: &Step| s.way == Way::Hairpin && s.talk.host == s.talk.server;
    found.retain(|other| !other.is_empty() && other != sequence && !other.iter().any(to_oneself));
    found
}

/// The step without one of its quirks, or with a milder one.
fn simpler_steps(step: &Step) -> Vec<Step> {
    let mut found = Vec::new();
    for (at, quirk) in step.quirks.iter().enumerate() {
        let mut without = step.clone();
        without.quirks.remove(at);
        found.push(without);
        let milder = match *quirk {
            Quirk::Length(bytes) if bytes > 1 => Quirk::Length(1),
            Quirk::Fragments(size, order) if order != Order::Straight => {
                Quirk::Fragments(size, Order::Straight)
            }
            Quirk::Fragments(size, order) if size < 256 => Quirk::Fragments(256, order),
            _ => continue,
        };
        let mut other = step.clone();
        other.quirks[at] = milder;
        found.push(other);
    }
    found
}

/// The sequence with one of its hosts, servers or ports in the place of all others.
fn fewer_ends(sequence: &[Step]) -> Vec<Sequence> {
    let ways: [fn(&mut Talk); 4] =
        [|t| t.host = 0, |t| t.port = 0, |t| t.server = 0, |t| t.service = 0];
    let with = |way: &fn(&mut Talk)| {
        let mut other = sequence.to_vec();
        other.iter_mut().for_each(|step| way(&mut step.talk));
        other
    };
    ways.iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::text;

    #[test]
    fn every_candidate_is_another_sequence_and_some_are_shorter() {
        let start = text::read("out udp a1 w0 len=9\nin udp a1 w0 frag=8:reversed\nout udp a1 w0")
            .expect("three good lines");
        let found = smaller(&start);
        assert!(found.iter().all(|other| *other != start && !other.is_empty()));
        for wanted in ["out udp a1 w0\n", "out udp a0 w0 len=9\nin udp a0 w0 frag=8:reversed\n"] {
            assert!(found.iter().any(|other| text::show(other).starts_with(wanted)), "{wanted}");
        }
    }
}
