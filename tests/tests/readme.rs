//! What the README says in tables is what the code says.

use vnet_common::account::{Reason, Verdict};
use vnet_ctl::exit::Exit;

const README: &str = include_str!("../../README.md");

fn has_row(row: &str) {
    assert!(README.lines().any(|line| line == row), "README.md lacks the row\n{row}");
}

#[test]
fn every_reason_is_explained() {
    for reason in Reason::ALL {
        let verdict = match reason.verdict() {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
            Verdict::Detour => "detour",
            Verdict::Shortcut => "shortcut",
        };
        has_row(&format!("| `{}` | {verdict} | {} |", reason.name(), reason.meaning()));
    }
}

#[test]
fn every_exit_code_is_explained() {
    for exit in Exit::ALL {
        has_row(&format!("| {} | `{}` | {} |", exit.code(), exit.name(), exit.meaning()));
    }
}
