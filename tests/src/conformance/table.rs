//! CONFORMANCE.md: written from what was measured, and read back to be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::probe::GROUPS;
use super::{Miss, Requirement, Seen};

/// The two verdicts of a row, as they stand in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdicts {
    /// Of vnet.
    pub vnet: String,
    /// Of nftables.
    pub nft: String,
}

impl Verdicts {
    /// What the table says when this was seen.
    pub fn of(requirement: &Requirement, vnet: &Seen, nft: &Seen) -> Self {
        let nft = match nft {
            Ok(()) => "holds".to_owned(),
            Err(Miss::Fails(saw)) => format!("fails: {saw}"),
            Err(Miss::NotOffered(why)) => format!("not offered: {why}"),
        };
        Self { vnet: requirement.verdict_of_vnet(vnet), nft }
    }
}

/// Verdicts by the name of the test.
pub type Rows = BTreeMap<String, Verdicts>;

const HEAD: &str = "\
# Conformance

What a NAT must do, and who does it. Every row is a test of the same name that sends packets over
real links (`cargo test -p vnet-tests --test conformance`, as root). The column `nftables` is what
the same probe saw of a masquerade rule of this kernel, set up with whatever else nftables offers
where a probe asks for an option. This page is written by

    cargo xtask conformance

and a test compares its column `vnet` with what is measured. \"Not yet\" is measured too: such a test
fails as soon as the requirement holds.

The probes are made to tell a NAT that always behaves from one that does as long as nobody is in the
way: outside ports are contended by a second host, and touched from outside first. Rows of `vnet` are
promises of its own.
";

const TAIL: &str = "
Not in the tables: RFC 4787 REQ-7 (overlapping networks inside and outside), RFC 6888 REQ-9 (port
control protocol) and REQ-10 (management by MIB), none of which vnet has.
";

const COLUMNS: &str =
    "\n| where | level | what | vnet | nftables | test |\n|---|---|---|---|---|---|\n";

/// How many of them hold, in one sentence. The page does without: every change would touch it.
pub fn summary(rows: &Rows) -> String {
    let held = |of: fn(&Verdicts) -> &String| {
        rows.values().filter(|verdicts| of(verdicts).starts_with("holds")).count()
    };
    let (vnet, nft, all) = (held(|v| &v.vnet), held(|v| &v.nft), rows.len());
    format!("Of {all} requirements vnet holds {vnet} and nftables {nft}.")
}

/// The page that says this.
///
/// # Panics
/// When a requirement has no verdicts.
pub fn page(rows: &Rows) -> String {
    let mut page = HEAD.to_owned();
    // Writing to a string cannot fail.
    for (title, group) in GROUPS {
        let _ = write!(page, "\n## {title}\n{COLUMNS}");
        for requirement in *group {
            let verdicts = rows.get(requirement.test);
            let verdicts = verdicts.unwrap_or_else(|| panic!("no verdict of {}", requirement.test));
            page += &row(requirement, verdicts);
        }
    }
    page + TAIL
}

fn row(requirement: &Requirement, Verdicts { vnet, nft }: &Verdicts) -> String {
    let Requirement { source, level, says, test, .. } = requirement;
    format!("| {source} | {level} | {says} | {vnet} | {nft} | `{test}` |\n")
}

/// The verdicts that a page says.
pub fn read(page: &str) -> Rows {
    page.lines().filter_map(read_row).collect()
}

fn read_row(line: &str) -> Option<(String, Verdicts)> {
    let cells: Vec<_> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
    let [_, _, _, vnet, nft, test] = cells[..] else { return None };
    let test = test.strip_prefix('`')?.strip_suffix('`')?;
    Some((test.to_owned(), Verdicts { vnet: vnet.to_owned(), nft: nft.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::all;

    #[test]
    fn what_is_written_is_read() {
        let verdicts = Verdicts { vnet: "holds".into(), nft: "fails: seen".into() };
        let rows: Rows = all().map(|r| (r.test.to_owned(), verdicts.clone())).collect();
        assert_eq!(read(&page(&rows)), rows);
    }

    #[test]
    fn no_sentence_breaks_its_cell() {
        for requirement in all() {
            let all = [requirement.source, requirement.says, requirement.pending.unwrap_or("")];
            assert!(all.iter().all(|text| !text.contains(['|', '\n'])), "{}", requirement.test);
        }
    }
}
