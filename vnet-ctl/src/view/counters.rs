//! Counters, a row for each reason.

use serde::Serialize;
use vnet_common::account::{Reason, Verdict};

use crate::bpf::{Pins, Tables};
use crate::reconcile::Error;
use crate::state::Instance;

/// How often packets met one end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CounterRow {
    /// Instance it belongs to.
    pub instance: String,
    /// Name of the end.
    pub name: &'static str,
    /// `pass` or `drop`.
    pub verdict: &'static str,
    /// Packets on the wire.
    pub packets: u64,
    /// Bytes of them, from the link header on.
    pub bytes: u64,
    /// Packets per second since the last look, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets_per_s: Option<u64>,
    /// What it means.
    pub meaning: &'static str,
}

/// Counters of those instances; those that are zero only with `all`.
///
/// # Errors
/// When a table cannot be read.
pub fn counters(instances: &[Instance], all: bool) -> Result<Vec<CounterRow>, Error> {
    let mut rows = Vec::new();
    for instance in instances {
        let counters = Tables::of(Pins::of(&instance.name)).counters()?;
        let shown = counters.into_iter().filter(|(_, counter)| all || counter.packets > 0);
        rows.extend(shown.map(|(reason, counter)| CounterRow {
            instance: instance.name.to_string(),
            name: reason.name(),
            verdict: verdict(reason),
            packets: counter.packets,
            bytes: counter.bytes,
            packets_per_s: None,
            meaning: reason.meaning(),
        }));
    }
    Ok(rows)
}

const fn verdict(reason: Reason) -> &'static str {
    match reason.verdict() {
        Verdict::Pass => "pass",
        Verdict::Drop => "drop",
        Verdict::Detour => "detour",
        Verdict::Shortcut => "shortcut",
    }
}
