//! Every input that is kept in `fuzz/corpus`, seeds and found cases alike, judged as the fuzzer would
//! judge it.

use std::fs;
use std::path::{Path, PathBuf};

use vnet_judge::JUDGES;

#[test]
fn what_is_kept_holds() {
    for (name, judge) in JUDGES {
        let inputs = kept(name);
        assert!(!inputs.is_empty(), "fuzz/corpus/{name} is empty: it holds seeds and found cases");
        for path in inputs {
            // The test harness shows it when the judge panics.
            println!("fuzz/corpus/{name}/{}", path.file_name().unwrap_or_default().display());
            judge(&fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())));
        }
    }
}

#[test]
fn every_judge_has_a_fuzz_target_and_none_is_unknown() {
    let targets = list(&root().join("fuzz_targets"));
    let names: Vec<_> = targets.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let mut judges: Vec<_> = JUDGES.iter().map(|(name, _)| *name).collect();
    judges.sort_unstable();
    assert_eq!(names, judges);
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn kept(name: &str) -> Vec<PathBuf> {
    list(&root().join("corpus").join(name))
}

fn list(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut files: Vec<_> = files.map(|file| file.expect("a directory entry").path()).collect();
    files.sort();
    files
}
