//! Rates: how much a number has grown since the last look.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

/// Numbers of the last look.
#[derive(Clone, Debug)]
pub struct Rates<K> {
    last: HashMap<K, u64>,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self { last: HashMap::new() }
    }
}

impl<K: Eq + Hash> Rates<K> {
    /// Growth per second of each number since the last look, which was `since` ago; what was not
    /// there then has grown from 0. Remembers the numbers for the next time.
    pub fn next(&mut self, since: Option<Duration>, now: Vec<(K, u64)>) -> Vec<Option<u64>> {
        let rates = now.iter().map(|(key, number)| {
            let millis = since?.as_millis().max(1);
            let grown = number.saturating_sub(self.last.get(key).copied().unwrap_or(0));
            u64::try_from(u128::from(grown) * 1000 / millis).ok()
        });
        let rates = rates.collect();
        self.last = now.into_iter().collect();
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_per_second() {
        let mut rates = Rates::default();
        assert_eq!(rates.next(None, vec![("a", 5)]), [None]);
        let half = Some(Duration::from_millis(500));
        assert_eq!(rates.next(half, vec![("a", 9), ("b", 2)]), [Some(8), Some(4)]);
        assert_eq!(rates.next(half, vec![("b", 1)]), [Some(0)], "a number that fell began anew");
    }
}
