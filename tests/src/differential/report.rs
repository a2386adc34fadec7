//! A failed sequence as a person wants to see it.

use std::fmt::Write as _;

use super::text;
use super::trial::{Compared, Finding, Trial, side};
use crate::packet::explain;

/// Fragments that are shown; there may be hundreds.
const SHOWN: usize = 4;

/// What became of each step; the last one shown is the one that failed.
pub fn show(trial: &Trial) -> String {
    let mut report = String::new();
    for step in &trial.steps {
        let _ = writeln!(report, "{}{}", step.step, finding(&step.finding));
        if matches!(step.finding, Finding::Fault(_)) {
            report += &in_full(step);
        }
    }
    report
}

fn finding(finding: &Finding) -> String {
    match finding {
        Finding::Same => String::new(),
        Finding::Differs(difference) => format!("    # differs: {}", difference.name),
        Finding::NotCompared => "    # not compared".to_owned(),
        Finding::Fault(why) => format!("    # FAULT: {why}"),
    }
}

fn in_full(compared: &Compared) -> String {
    let mut text = String::new();
    for (lab, name) in ["vnet", "nft"].into_iter().enumerate() {
        let sent = &compared.sent[lab];
        for frame in sent.iter().take(SHOWN) {
            let _ = writeln!(text, "    {name:<5}sent     {}", explain(frame));
        }
        if sent.len() > SHOWN {
            let _ = writeln!(text, "         and {} more frames", sent.len() - SHOWN);
        }
        let outcome = &compared.outcomes[lab];
        for (heard, plain) in outcome.heard.iter().zip(&outcome.packets) {
            let frame = [&[0; 12][..], &[8, 0], &heard.bytes].concat();
            let _ = writeln!(text, "    {name:<5}{:<9}{}", side(heard.side), explain(&frame));
            let hex: String = plain.bytes.iter().take(80).map(|b| format!("{b:02x}")).collect();
            let _ = writeln!(text, "         compared as {hex}");
        }
        if outcome.heard.is_empty() {
            let _ = writeln!(text, "    {name:<5}nothing came out");
        }
    }
    text
}

/// The sequence up to its fault, as a case to keep.
pub fn case(trial: &Trial) -> String {
    text::show(&trial.sequence()[..trial.steps.len()])
}
