//! Cases that are kept, each in a file of its own in `cases/`.

use std::fs;
use std::path::PathBuf;

use vnet_tests::differential::kept::Kept;
use vnet_tests::differential::report;
use vnet_tests::differential::twins::Twins;
use vnet_tests::skip;

use crate::oracle;

#[test]
fn every_kept_case_is_as_its_file_says() {
    if let Some(why) = oracle::missing() {
        skip!("{why}");
    }
    let cases: Vec<_> = files().into_iter().map(read).collect();
    assert!(!cases.is_empty(), "there are cases");
    let sequences: Vec<_> = cases.iter().map(|(_, kept)| kept.steps.clone()).collect();
    let trials = Twins::new().run(&sequences);
    let mut wrong = String::new();
    for ((name, kept), trial) in cases.iter().zip(&trials) {
        let faults = kept.judge(trial);
        if !faults.is_empty() {
            wrong += &format!("\n{name}: {}\n{}", faults.join("; "), report::show(trial));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// All cases, or only the one that is asked for.
fn files() -> Vec<PathBuf> {
    if let Some(one) = std::env::var_os("VNET_DIFFERENTIAL_CASE") {
        return vec![one.into()];
    }
    cases()
}

/// All cases.
pub(crate) fn cases() -> Vec<PathBuf> {
    let all = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/differential/cases");
    let entries = fs::read_dir(&all).unwrap_or_else(|e| panic!("{}: {e}", all.display()));
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("a directory can be read").path()).collect();
    files.sort();
    files
}

pub(crate) fn read(path: PathBuf) -> (String, Kept) {
    let name = path.display().to_string();
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let kept = Kept::read(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
    (name, kept)
}
