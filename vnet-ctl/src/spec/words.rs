//! What `attach` can be told, as it is written: by options, by the keys of a file, or read back from
//! an instance. One record for the three, so that none of them knows what another does not.

use serde::{Deserialize, Serialize};

/// The words; `None` where nothing was said. Each field is an option of `attach` of the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Words {
    /// Uplinks.
    #[serde(with = "many")]
    pub nat: Vec<String>,
    /// Who is inside: prefixes and devices.
    #[serde(with = "many")]
    pub inside: Vec<String>,
    /// Outside ports.
    #[serde(with = "one")]
    pub ports: Option<String>,
    /// Outside ports below 1024.
    #[serde(with = "one")]
    pub low_ports: Option<String>,
    /// Ports of each inside host.
    #[serde(with = "one")]
    pub port_block: Option<String>,
    /// Outside addresses.
    #[serde(with = "many")]
    pub address: Vec<String>,
    /// Destinations that are not translated.
    #[serde(with = "many")]
    pub exclude: Vec<String>,
    /// Who may send to a mapping.
    #[serde(with = "one")]
    pub filtering: Option<String>,
    /// Mappings an inside host may have.
    #[serde(with = "one")]
    pub max_ports_per_host: Option<String>,
    /// Connections an inside host may have.
    #[serde(with = "one")]
    pub max_flows_per_host: Option<String>,
    /// Name of the instance. In a file it is the name of the table.
    #[serde(skip)]
    pub instance: String,
    /// Connections to make room for.
    #[serde(with = "one")]
    pub max_flows: Option<String>,
    /// Idle time of a UDP mapping.
    #[serde(with = "one")]
    pub timeout_udp: Option<String>,
    /// Whose packets keep a UDP mapping alive.
    #[serde(with = "one")]
    pub refresh: Option<String>,
    /// Idle time of an ICMP query.
    #[serde(with = "one")]
    pub timeout_icmp: Option<String>,
    /// Idle time of an established TCP connection.
    #[serde(with = "one")]
    pub timeout_tcp_established: Option<String>,
    /// Idle time of any other TCP connection.
    #[serde(with = "one")]
    pub timeout_tcp_transitory: Option<String>,
    /// Rest of a port.
    #[serde(with = "one")]
    pub port_rest: Option<String>,
    /// What becomes of fragments that come before their first.
    #[serde(with = "one")]
    pub fragments: Option<String>,
    /// Devices whose packets always take the kernel's way.
    #[serde(with = "many")]
    pub no_shortcut: Vec<String>,
    /// Whether and how devices have an XDP program.
    #[serde(with = "one")]
    pub xdp: Option<String>,
    /// Whether who is refused is not told so.
    pub no_answer: bool,
    /// Pairs of IPv6 prefixes.
    #[serde(with = "many")]
    pub nptv6: Vec<String>,
    /// Whether IPv6 is masqueraded.
    pub nat66: bool,
    /// Outside addresses of that.
    #[serde(with = "many")]
    pub address6: Vec<String>,
    /// Whether mappings that begin and end are told of.
    pub events: bool,
    /// Level of the datapath's log.
    #[serde(with = "one")]
    pub log_level: Option<String>,
}

impl Words {
    /// The keys of a table in a file, which are the options too.
    pub fn keys() -> impl Iterator<Item = String> {
        let fields = serde_json::to_value(Self::default()).unwrap_or_default();
        let keys = fields.as_object().map(|fields| fields.keys().cloned().collect::<Vec<_>>());
        keys.into_iter().flatten()
    }
}

/// A number is written without quotes, any other word with them.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "give a word in quotes, or a number")]
enum Word {
    Number(u32),
    Text(String),
}

impl Word {
    fn of(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.to_owned()), Self::Number)
    }

    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// Serde of what can be said once.
mod one {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    use super::Word;

    pub(super) fn serialize<S: Serializer>(
        word: &Option<String>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        word.as_deref().map(Word::of).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<String>, D::Error> {
        Word::deserialize(from).map(|word| Some(word.text()))
    }
}

/// Serde of what can be said more than once: one word, or a list.
mod many {
    use serde::{Deserialize, Deserializer, Serialize as _, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged, expecting = "give a word in quotes, or a list of them: [\"…\", \"…\"]")]
    enum Words {
        One(String),
        List(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(words: &Vec<String>, to: S) -> Result<S::Ok, S::Error> {
        words.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
        Words::deserialize(from).map(|words| match words {
            Words::One(word) => vec![word],
            Words::List(words) => words,
        })
    }
}
