//! A kernel series as a user types it: `6.1`, `6.12`, `7.2`.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};

/// The oldest kernel vnet runs on; older ones must be refused by name of what they lack.
pub(super) const MINIMUM: Version = Version { major: 6, minor: 1 };

/// Major and minor number; ordered as kernels are (6.1 is before 6.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
}

impl Version {
    /// Whether `release` ("6.1.0-56-cloud-amd64", "6.12.117-1") is of this series.
    pub(super) fn covers(self, release: &str) -> bool {
        let rest = release.strip_prefix(&self.to_string());
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_digit()))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (major, minor) = text.split_once('.').with_context(|| {
            format!("\"{text}\" is not a kernel series; write it like 6.1 or 6.12")
        })?;
        let number = |part: &str| {
            part.parse().with_context(|| {
                format!("\"{text}\" is not a kernel series; write it like 6.1 or 6.12")
            })
        };
        Ok(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// Reads the list of series; commas inside an item are separators too, doubles are run once.
pub(super) fn parse_list(list: &[String]) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for item in list.iter().flat_map(|item| item.split(',')).filter(|item| !item.is_empty()) {
        let version = item.trim().parse()?;
        if !versions.contains(&version) {
            versions.push(version);
        }
    }
    if versions.is_empty() {
        bail!("no kernel named; write for example --kernels 6.1,6.12,7.2");
    }
    Ok(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_one_is_not_six_twelve() {
        let version = MINIMUM;
        assert!(version.covers("6.1.0-56-cloud-amd64"));
        assert!(version.covers("6.1-cloud-amd64"));
        assert!(!version.covers("6.12.117-1"));
        assert!(version < Version { major: 6, minor: 12 });
    }

    #[test]
    fn lists_split_on_commas_and_keep_order() -> Result<()> {
        let list = parse_list(&["6.12,6.1".into(), "6.1".into()])?;
        assert_eq!(list, [Version { major: 6, minor: 12 }, MINIMUM]);
        Ok(())
    }

    #[test]
    fn nonsense_is_refused_by_what_was_typed() {
        for text in ["6", "six.one", "6.1.2", ""] {
            assert!(parse_list(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
