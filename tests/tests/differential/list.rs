//! The list of differences and the page that explains it say the same.

use std::collections::BTreeSet;

use vnet_tests::differential::differences::{DIFFERENCES, rows};
use vnet_tests::differential::kept::Kept;

use crate::kept::{cases, read};

const PAGE: &str = include_str!("differences.md");

#[test]
fn the_page_has_every_difference_and_no_other() {
    let shown: BTreeSet<&str> = PAGE.lines().filter(|line| line.starts_with("| `")).collect();
    let rows = rows();
    let wanted: BTreeSet<&str> = rows.iter().map(String::as_str).collect();
    let (page, all) = ("tests/tests/differential/differences.md", rows.join("\n"));
    assert!(shown == wanted, "write these rows into {page}:\n{all}");
}

#[test]
fn every_difference_has_a_name_of_its_own_and_a_reason() {
    let names: BTreeSet<&str> = DIFFERENCES.iter().map(|difference| difference.name).collect();
    assert_eq!(names.len(), DIFFERENCES.len());
    for difference in DIFFERENCES {
        let sentence = difference.reason.ends_with('.') && !difference.reason.contains("  ");
        assert!(sentence, "{}: {}", difference.name, difference.reason);
    }
}

#[test]
fn every_difference_that_stays_is_shown_by_a_case() {
    let cases: Vec<Kept> = cases().into_iter().map(|path| read(path).1).collect();
    for difference in DIFFERENCES.iter().filter(|difference| !difference.temporary) {
        let shown = cases.iter().any(|case| case.shows(difference.name));
        assert!(shown, "no case shows `{}`: is it still true?", difference.name);
    }
}
