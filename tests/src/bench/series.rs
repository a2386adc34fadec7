//! Results: what was measured, of whom, and every value in the order of the rounds.

use serde::Serialize;

use super::contender::Contender;

/// All values of one measure and one contender.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    /// Names the measure: the same for all contenders, and from one run to the next.
    pub measure: String,
    /// The measure, for people.
    pub title: String,
    /// What the values count.
    pub unit: &'static str,
    /// Whether a larger value is a better one.
    pub more_is_better: bool,
    /// Whose values.
    pub contender: &'static str,
    /// The contender, for people.
    pub contender_title: &'static str,
    /// One per round.
    pub values: Vec<f64>,
}

/// One value of one measure.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) measure: String,
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) more_is_better: bool,
    pub(super) value: f64,
}

impl Sample {
    /// A value of which less is better, such as a time.
    pub(super) fn less(measure: &str, title: &str, unit: &'static str, value: f64) -> Self {
        let (measure, title) = (measure.to_owned(), title.to_owned());
        Self { measure, title, unit, more_is_better: false, value }
    }

    /// A value of which more is better, such as a rate.
    pub(super) fn more(measure: &str, title: &str, unit: &'static str, value: f64) -> Self {
        Self { more_is_better: true, ..Self::less(measure, title, unit, value) }
    }

    /// Puts it to the others of its measure and contender.
    pub(super) fn file(self, contender: Contender, into: &mut Vec<Series>) {
        let same = |s: &&mut Series| s.measure == self.measure && s.contender == contender.name();
        match into.iter_mut().find(same) {
            Some(series) => series.values.push(self.value),
            None => into.push(Series {
                measure: self.measure,
                title: self.title,
                unit: self.unit,
                more_is_better: self.more_is_better,
                contender: contender.name(),
                contender_title: contender.title(),
                values: vec![self.value],
            }),
        }
    }
}
