//! All requirements, and finding one.

use super::probe::GROUPS;
use super::{Miss, Requirement, Seen, Translator};

/// Every requirement, in the order of the table.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    GROUPS.iter().flat_map(|(_, group)| group.iter())
}

/// The requirement that a test is named after.
///
/// # Panics
/// When there is none.
pub fn named(test: &str) -> &'static Requirement {
    let found = all().find(|requirement| requirement.test == test);
    found.unwrap_or_else(|| panic!("no requirement names the test `{test}`"))
}

impl Requirement {
    /// Runs the probe on one translator.
    ///
    /// # Panics
    /// When the probe cannot do its work.
    pub fn measure(&self, translator: Translator) -> Seen {
        (self.probe)(translator)
    }

    /// What the table says of vnet when this was seen.
    pub fn verdict_of_vnet(&self, seen: &Seen) -> String {
        match (seen, self.pending) {
            (Ok(()), _) => "holds".to_owned(),
            (Err(_), Some(why)) => format!("not yet: {why}"),
            (Err(Miss::Fails(saw)), None) => format!("fails: {saw}"),
            (Err(Miss::NotOffered(why)), None) => format!("not offered: {why}"),
        }
    }
}
