//! Exactly these counters moved, and no other.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::lab::Lab;

/// How often each reason was met, by name; reasons never met may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters(pub BTreeMap<String, u64>);

impl Counters {
    /// Reads what `vnetctl counters --json` says: packets by the name of their reason.
    ///
    /// # Panics
    /// When the answer is not of that form.
    pub fn of(lab: &Lab) -> Self {
        let answer = lab.vnetctl(&["counters", "--json"]).ok();
        Self::from_json(&answer.json()).unwrap_or_else(|why| panic!("{why}: {answer}"))
    }

    /// Reads a list of `{"name": NAME, "packets": N}`.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        let list = json.as_array().ok_or("the counters are not a list")?;
        let read = |entry: &Value| {
            let name = entry.get("name")?.as_str()?.to_owned();
            Some((name, entry.get("packets")?.as_u64()?))
        };
        let read = list.iter().map(|entry| read(entry).ok_or_else(|| entry.to_string()));
        let counters = read.collect::<Result<_, _>>();
        Ok(Self(counters.map_err(|entry| format!("not a counter: {entry}"))?))
    }

    /// What has moved between `earlier` and now, by how much; what stood still is left out.
    pub fn since(&self, earlier: &Self) -> BTreeMap<String, i128> {
        let names = self.0.keys().chain(earlier.0.keys());
        let value = |of: &Self, name: &str| i128::from(of.0.get(name).copied().unwrap_or(0));
        let moved = names.map(|name| (name.clone(), value(self, name) - value(earlier, name)));
        moved.filter(|(_, by)| *by != 0).collect()
    }

    /// Asserts that just these moved since `earlier`, by just so much.
    ///
    /// # Panics
    /// When another moved, or one by another amount.
    #[track_caller]
    pub fn assert_moved(&self, earlier: &Self, expected: &[(&str, i128)]) {
        let expected: BTreeMap<_, _> =
            expected.iter().map(|(name, by)| ((*name).to_owned(), *by)).collect();
        assert_eq!(self.since(earlier), expected, "counters that moved, and those that should");
    }
}

impl<const N: usize> From<[(&str, u64); N]> for Counters {
    fn from(counters: [(&str, u64); N]) -> Self {
        Self(counters.into_iter().map(|(name, packets)| (name.to_owned(), packets)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_moved_is_reported() {
        let before = Counters::from([("nat_out", 3), ("not_ip", 1)]);
        let after = Counters::from([("nat_out", 5), ("not_ip", 1), ("host", 1)]);
        after.assert_moved(&before, &[("host", 1), ("nat_out", 2)]);
        after.assert_moved(&after, &[]);
    }

    #[test]
    #[should_panic(expected = "counters that moved")]
    fn a_counter_that_was_not_named_fails() {
        let (before, after) = (Counters::default(), Counters::from([("malformed", 1)]));
        after.assert_moved(&before, &[]);
    }

    #[test]
    fn a_list_of_rows_is_read() {
        let list = serde_json::json!([{"name": "host", "packets": 2, "bytes": 120}]);
        assert_eq!(Counters::from_json(&list), Ok(Counters::from([("host", 2)])));
        assert!(Counters::from_json(&serde_json::json!([{"word": "host"}])).is_err());
        assert!(Counters::from_json(&serde_json::json!({})).is_err());
    }
}
