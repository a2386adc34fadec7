//! What `vnet-bench` prints: a list of series in JSON. Field by field what package vnet-tests
//! writes (`bench::Series`); xtask imports nothing of ours, so the JSON is what they share.

use serde::{Deserialize, Serialize};

/// All values of one measure and one contender.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    /// Names the measure: the same for all contenders, and from one run to the next.
    pub(crate) measure: String,
    /// The measure, for people.
    pub(crate) title: String,
    /// What the values count.
    pub(crate) unit: String,
    /// Whether a larger value is a better one.
    pub(crate) more_is_better: bool,
    /// Whose values.
    pub(crate) contender: String,
    /// The contender, for people.
    pub(crate) contender_title: String,
    /// One per round.
    pub(crate) values: Vec<f64>,
}
