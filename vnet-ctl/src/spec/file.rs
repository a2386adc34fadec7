//! A file that says what a host shall have. So far that is NAT: a table `[nat.NAME]` for each
//! instance, whose keys are the options of `attach`.
//!
//! Promise: every fault is told, with its line and the path of its key.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde::de::Error as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, Error};

use super::attach::Attach;
use super::read::Blamed;
use super::words::Words;
use crate::fault::Fault;

/// What a file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// The instances, in the order of their names.
    pub nat: Vec<Attach>,
}

impl Spec {
    /// Reads the text of a file; `file` is its name, for people.
    ///
    /// # Errors
    /// Every fault the file has.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Fault>> {
        let mut page = Page { file, text, faults: Vec::new(), uplinks: BTreeMap::new() };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().map_or(0, |span| span.start);
            page.blame(at, "", error.message());
        }
        let mut spec = Self::default();
        if errors.is_empty() {
            for (key, value) in root.into_inner() {
                if key.get_ref() == "nat" {
                    spec.nat = page.instances(key.span().start, value.into_inner());
                } else {
                    let what = ": no such table; what this vnet knows is [nat.NAME]";
                    page.blame(key.span().start, key.get_ref(), what);
                }
            }
        }
        if page.faults.is_empty() { Ok(spec) } else { Err(page.faults) }
    }
}

/// A file while it is read.
struct Page<'a> {
    file: &'a str,
    text: &'a str,
    faults: Vec<Fault>,
    /// Uplinks so far, and the table that names each.
    uplinks: BTreeMap<String, String>,
}

impl Page<'_> {
    /// Notes a fault of what begins at that byte.
    fn blame(&mut self, at: usize, key: &str, what: impl Into<String>) {
        let line = self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let (file, key) = (self.file.to_owned(), key.to_owned());
        self.faults.push(Fault::File { file, line, key, what: what.into() });
    }

    fn instances(&mut self, at: usize, tables: DeValue<'_>) -> Vec<Attach> {
        let DeValue::Table(tables) = tables else {
            self.blame(at, "nat", ": give tables, one for each instance: [nat.default]");
            return Vec::new();
        };
        let mut read = Vec::new();
        for (name, table) in tables {
            let at = name.span().start;
            let path = format!("nat.{}", name.get_ref());
            if let DeValue::Table(table) = table.into_inner() {
                read.extend(self.instance((at, &path), name.get_ref(), table));
            } else {
                self.blame(at, &path, format!(": a key outside of a table; say [{path}]"));
            }
        }
        read
    }

    fn instance(
        &mut self,
        (at, path): (usize, &str),
        name: &str,
        table: DeTable<'_>,
    ) -> Option<Attach> {
        let places: BTreeMap<String, usize> =
            table.keys().map(|key| (key.get_ref().to_string(), key.span().start)).collect();
        let before = self.faults.len();
        let mut words = self.words(path, table)?;
        words.instance = name.to_owned();
        if words.nat.is_empty() {
            let at = places.get("nat").copied().unwrap_or(at);
            self.blame(at, path, ": it has no uplink; name one: nat = \"eth0\"");
        }
        for uplink in &words.nat {
            let other = self.uplinks.insert(uplink.clone(), path.to_owned());
            if let Some(other) = other.filter(|other| other != path) {
                let at = places.get("nat").copied().unwrap_or(at);
                self.blame(at, &format!("{path}.nat"), format!(": {other} has '{uplink}' too"));
            }
        }
        match Attach::read(&words) {
            Ok(wish) => (self.faults.len() == before).then_some(wish),
            Err(faults) => {
                faults.into_iter().for_each(|blamed| self.pass_on((at, path), &places, &blamed));
                None
            }
        }
    }

    /// The words that can be read; those that cannot are faults, and left out.
    fn words(&mut self, path: &str, table: DeTable<'_>) -> Option<Words> {
        let mut good = DeTable::new();
        for (key, value) in table {
            let mut alone = DeTable::new();
            alone.insert(key.clone(), value.clone());
            match read(alone) {
                Ok(_) => _ = good.insert(key, value),
                Err(error) => {
                    let key_path = format!("{path}.{}", key.get_ref());
                    self.blame(key.span().start, &key_path, format!(": {}", error.message()));
                }
            }
        }
        read(good).ok()
    }

    /// A fault of some option's words, as one of the key with its name.
    fn pass_on(
        &mut self,
        (at, path): (usize, &str),
        places: &BTreeMap<String, usize>,
        (option, fault): &Blamed,
    ) {
        let sentence = fault.to_string();
        let key = option.trim_start_matches("--");
        match (places.get(key), sentence.strip_prefix(option)) {
            (Some(at), Some(rest)) => self.blame(*at, &format!("{path}.{key}"), rest),
            (Some(at), None) => {
                self.blame(*at, &format!("{path}.{key}"), format!(": {sentence}"));
            }
            (None, _) => self.blame(at, path, format!(": {sentence}")),
        }
    }
}

fn read(table: DeTable<'_>) -> Result<Words, Error> {
    let known = Words::deserialize(Deserializer::from(Spanned::new(0..0, table)));
    known.map_err(|error| match error.message().strip_prefix("unknown field") {
        Some(rest) => Error::custom(format!("no such key; {}", expected(rest))),
        None => error,
    })
}

/// What serde says after the name of an unknown field.
fn expected(rest: &str) -> &str {
    rest.split_once(", ").map_or(rest, |(_, expected)| expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../examples/nat.toml");

    fn faults(text: &str) -> Vec<String> {
        let faults = Spec::parse("x.toml", text).unwrap_err();
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_table_is_what_attach_would_be_told() {
        let text = "[nat.office]\nnat = \"eth0\"\ninside = [\"10.0.0.0/8\", \"lan0\"]\n\
                    ports = \"2000-3000\"\ntimeout-udp = 120\nno-answer = true\n";
        let own = |word: &str| word.to_owned();
        let words = Words {
            instance: own("office"),
            nat: vec![own("eth0")],
            inside: vec![own("10.0.0.0/8"), own("lan0")],
            ports: Some(own("2000-3000")),
            timeout_udp: Some(own("120")),
            no_answer: true,
            ..Words::default()
        };
        let spec = Spec::parse("x.toml", text).unwrap();
        assert_eq!(spec.nat, [Attach::parse(&words).unwrap()]);
        assert_eq!(Spec::parse("x.toml", "# nothing\n"), Ok(Spec::default()));
    }

    #[test]
    fn every_fault_is_told_with_its_line_and_key() {
        let text = "[nat.a]\nnat = \"eth0\"\ntimeout-udp = 0\nprots = \"1-2\"\nevents = \"yes\"\n\
                    [nat.b]\nnat = [\"eth1\", \"eth0\"]\ninside = 7\nrefresh = \"never\"\n\
                    [nat.C]\nnat = \"eth2\"\n[nat.d]\n[network.e]\n";
        let told = faults(text);
        for (n, start) in [
            "x.toml:4: nat.a.prots: no such key; expected one of `nat`, `inside`, `ports`",
            "x.toml:5: nat.a.events: invalid type: string \"yes\", expected a boolean",
            "x.toml:3: nat.a.timeout-udp 0: give a number from 1 to",
            "x.toml:8: nat.b.inside: give a word in quotes, or a list of them",
            "x.toml:7: nat.b.nat: nat.a has 'eth0' too",
            "x.toml:9: nat.b.refresh never: take both, or outbound",
            "x.toml:10: nat.C: instance name 'C' is not usable",
            "x.toml:12: nat.d: it has no uplink",
            "x.toml:13: network: no such table",
        ]
        .iter()
        .enumerate()
        {
            assert!(told.iter().any(|line| line.starts_with(start)), "{n}: {start}\n{told:#?}");
        }
        assert_eq!(told.len(), 9, "{told:#?}");
    }

    #[test]
    fn what_is_no_toml_is_told_by_its_line() {
        let told = faults("[nat.a]\nnat = eth0\ntimeout-udp = \n");
        assert!(told.iter().any(|line| line.starts_with("x.toml:2: ")), "{told:?}");
        assert!(told.iter().any(|line| line.starts_with("x.toml:3: ")), "{told:?}");
    }

    #[test]
    fn the_example_is_a_file_and_tells_of_every_key() {
        let spec = Spec::parse("nat.toml", EXAMPLE).unwrap();
        assert_eq!(spec.nat.len(), 1);
        for key in Words::keys() {
            let told = EXAMPLE.lines().map(|line| line.trim_start_matches("# "));
            let mut told = told.filter_map(|line| line.split_once(" = "));
            assert!(told.any(|(name, _)| name == key), "{key} is not in the example");
        }
        let bare = EXAMPLE.replace("\n# ", "\n");
        let keys = bare.lines().filter(|line| line.contains(" = ")).collect::<Vec<_>>().join("\n");
        let all = format!("[nat.all]\n{keys}\n");
        assert_eq!(Spec::parse("all.toml", &all).map(|spec| spec.nat.len()), Ok(1), "{all}");
    }
}
