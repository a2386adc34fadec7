//! Where vnet and nftables masquerade may differ, and why. What is not on this list is a fault.

use super::history::Facts;
use super::outcome::Verdict::{self, Answered, Leaked, Nothing, Translated};
use super::rig::UPLINK_MTU;
use super::step::{About, Kind, Quirk, Step, Way};
use crate::packet::{IcmpKind, Protocol};

/// A difference that is meant.
#[derive(Debug)]
pub struct Difference {
    /// What reports and cases call it.
    pub name: &'static str,
    /// What it is, and why it is right.
    pub reason: &'static str,
    /// What vnet may do.
    pub vnet: &'static [Verdict],
    /// What nftables may do.
    pub nft: &'static [Verdict],
    /// About which packets.
    pub about: fn(&Case<'_>) -> bool,
    /// Whether what follows in the sequence can still be compared.
    pub after: After,
    /// It goes when vnet can do what it cannot yet.
    pub temporary: bool,
}

/// What the routers know after they have treated a packet differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The same.
    Same,
    /// The same where both knew the conversation before, and it has no state but being known.
    SameIfKnown,
    /// Not the same.
    Parted,
}

impl Difference {
    /// Whether the routers are in different states after this case.
    pub fn parts(&self, case: &Case<'_>) -> bool {
        match self.after {
            After::Same => false,
            After::SameIfKnown => !case.known || is_tcp(case),
            After::Parted => true,
        }
    }
}

/// A packet that the two treated differently.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What was sent.
    pub step: &'a Step,
    /// Its numbers.
    pub facts: &'a Facts,
    /// The frame that vnet got first.
    pub frame: &'a [u8],
    /// The inside end has an outside port.
    pub mapped: bool,
    /// This server has seen the inside end.
    pub known: bool,
    /// nftables uses the inside end's port for another one towards this server.
    pub shared: bool,
    /// What vnet did, and what nftables did.
    pub verdicts: (Verdict, Verdict),
}

impl Case<'_> {
    /// Whether vnet translated it.
    pub fn is_translated(&self) -> bool {
        self.verdicts.0 == Translated
    }
}

/// All of them; the first that fits counts.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        name: "hairpin",
        reason: "An inside host reaches another by its outside endpoint (RFC 4787 REQ-9). The kernel \
                 takes what is sent to the outside address for its own.",
        vnet: &[Translated, Answered],
        nft: &[Answered, Nothing],
        about: |case| case.step.way == Way::Hairpin && case.mapped,
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "never_leak",
        reason: "What connection tracking calls invalid, plain masquerade lets out with its inside \
                 address. vnet drops what it cannot translate.",
        vnet: &[Nothing],
        nft: &[Leaked],
        about: |case| case.step.way == Way::Out && is_unusual(case),
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "udp_length",
        reason: "A UDP length that is not the packet's is its receiver's to judge. Connection tracking \
                 calls it invalid.",
        vnet: &[Translated],
        nft: &[Leaked, Nothing],
        about: |case| {
            case.step.kind == Kind::Udp && case.step.has(|q| matches!(q, Quirk::Short(_)))
        },
        after: After::SameIfKnown,
        temporary: false,
    },
    Difference {
        name: "bad_checksum",
        reason: "vnet translates a packet whose transport checksum is wrong, and leaves it as wrong as \
                 it was, for its receiver to judge (RFC 3022 section 4.2). Connection tracking calls \
                 it invalid: it leaks, or goes to the router itself.",
        vnet: &[Translated, Answered],
        nft: &[Leaked, Nothing],
        about: |case| {
            let damaged = |q: &Quirk| matches!(q, Quirk::BadSum | Quirk::Flip(_) | Quirk::Short(_));
            case.step.has(damaged)
        },
        after: After::SameIfKnown,
        temporary: false,
    },
    Difference {
        name: "tcp_strict",
        reason: "Connection tracking judges every segment by windows and states, and calls many \
                 invalid. vnet is no firewall: whatever belongs to a conversation is translated, and \
                 the ends judge (RFC 5382 REQ-2, RFC 7857 section 2).",
        vnet: &[Translated, Answered],
        nft: &[Leaked, Answered, Nothing],
        about: |case| is_tcp(case) && !case.facts.orderly,
        after: After::Parted,
        temporary: false,
    },
    Difference {
        name: "filtered",
        reason: "A stranger who tries a port that an inside host holds gets no answer, so he cannot \
                 tell who is there. Of the kernel's ports those that are free towards him are the \
                 router's own, and the router answers.",
        vnet: &[Nothing],
        nft: &[Answered],
        about: |case| case.step.way == Way::In && case.mapped && !case.known,
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "port_sharing",
        reason: "The kernel gives one outside port to several inside ends as long as they talk to \
                 different servers, so what a server sends to the port may be for another. vnet has one \
                 port for one inside end (RFC 4787 REQ-1).",
        vnet: &[Nothing],
        nft: &[Translated, Answered],
        about: |case| case.step.way == Way::In && case.shared,
        after: After::Parted,
        temporary: false,
    },
    Difference {
        name: "source_quench",
        reason: "Source quench is dead, and must not be sent or believed (RFC 6633). The kernel still \
                 translates it.",
        vnet: &[Nothing],
        nft: &[Translated],
        about: |case| matches!(case.step.kind, Kind::Error(IcmpKind { kind: 4, .. }, _)),
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "fragment_answered",
        reason: "The router answers the first fragment of a packet that has come too far, and quotes it. \
                 Connection tracking joins the fragments first: it quotes the whole, or waits for ever.",
        vnet: &[Answered],
        nft: &[Answered, Nothing],
        about: |case| case.step.fragments().is_some(),
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "quoted_checksum",
        reason: "An error may quote just enough of a TCP segment to hold its checksum. vnet lets that \
                 checksum follow; the kernel does so only where all of the header is quoted.",
        vnet: &[Translated],
        nft: &[Translated],
        about: |case| {
            matches!(case.step.kind, Kind::Error(_, About::Tcp))
                && case.step.has(|quirk| matches!(quirk, Quirk::Quote(18 | 19)))
        },
        after: After::Same,
        temporary: false,
    },
    Difference {
        name: "protocols",
        reason: "vnet translates every other protocol by address alone, for one inside host and one \
                 peer at a time, and does not look into it. Connection tracking looks into some, and \
                 calls what it does not like invalid.",
        vnet: &[Translated, Nothing],
        nft: &[Translated, Leaked, Nothing],
        about: |case| {
            let protocol = case.frame.get(23).map(|byte| Protocol(*byte));
            !matches!(protocol, Some(Protocol::TCP | Protocol::UDP | Protocol::ICMP))
        },
        after: After::Parted,
        temporary: false,
    },
    Difference {
        name: "tiny",
        reason: "A first fragment must hold its whole transport header, and of an ICMP error what is \
                 quoted of another (RFC 1858, RFC 3128): it is by these that a firewall judges. \
                 Connection tracking joins the fragments first.",
        vnet: &[Nothing, Answered],
        nft: &[Translated, Leaked, Answered],
        about: |case| {
            let tiny = case.step.fragments().is_some_and(|(size, _)| size < TINY);
            tiny && matches!(case.step.kind, Kind::Tcp(_) | Kind::Error(..))
        },
        after: After::SameIfKnown,
        temporary: false,
    },
    Difference {
        name: "incomplete",
        reason: "vnet translates fragments one by one as they come, and their receiver joins them. \
                 Connection tracking joins them first, and what is never complete ends there.",
        vnet: &[Translated, Answered],
        nft: &[Nothing],
        about: is_cut,
        after: After::SameIfKnown,
        temporary: false,
    },
];

/// The difference that a case shows, if it is a known one.
pub fn known(case: &Case<'_>) -> Option<&'static Difference> {
    let (vnet, nft) = case.verdicts;
    DIFFERENCES.iter().find(|difference| {
        difference.vnet.contains(&vnet) && difference.nft.contains(&nft) && (difference.about)(case)
    })
}

/// The difference of this name.
pub fn named(name: &str) -> Option<&'static Difference> {
    DIFFERENCES.iter().find(|difference| difference.name == name)
}

/// The list as the rows of a table in Markdown.
pub fn rows() -> Vec<String> {
    let words = |verdicts: &[Verdict]| {
        verdicts.iter().map(Verdict::to_string).collect::<Vec<_>>().join(" or ")
    };
    let row = |difference: &Difference| {
        let Difference { name, reason, vnet, nft, temporary, .. } = difference;
        let until = if *temporary { "Temporary. " } else { "" };
        format!("| `{name}` | {} | {} | {until}{reason} |", words(vnet), words(nft))
    };
    DIFFERENCES.iter().map(row).collect()
}

/// Fragments may be smaller than all headers that tell to whom a packet belongs.
const TINY: u16 = 64;

fn is_tcp(case: &Case<'_>) -> bool {
    matches!(case.step.kind, Kind::Tcp(_))
}

/// Not what an ordinary host sends in an ordinary conversation: that must be translated.
fn is_unusual(case: &Case<'_>) -> bool {
    match case.step.kind {
        Kind::Tcp(_) | Kind::Udp | Kind::Ping => !case.facts.orderly,
        Kind::Error(..) => !case.known || !case.facts.orderly || is_quote_short(case),
        Kind::Pong | Kind::Icmp(_) | Kind::Other(_) => true,
    }
}

/// Too little is quoted to tell the ports (RFC 792 asks for 8 bytes).
fn is_quote_short(case: &Case<'_>) -> bool {
    case.step.has(|quirk| matches!(quirk, Quirk::Quote(0..8)))
}

/// Whether it comes in fragments, or the router makes some of it.
fn is_cut(case: &Case<'_>) -> bool {
    let long = case.frame.len() > super::frames::ETHERNET + UPLINK_MTU as usize;
    let flipped = case.frame.get(20..22).is_some_and(|word| word[0] & 0x3f != 0 || word[1] != 0);
    long || flipped || case.step.fragments().is_some()
}
