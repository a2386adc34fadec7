//! The two translators that are compared, set up from the same wish.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::Miss;
use crate::lab::{INSIDE, Lab, UPLINK};
use crate::vnetctl::Outcome;

/// Exit code of vnetctl for words that it does not know.
const USAGE: i32 = 2;

/// Exit code of vnetctl when another one has been at work for long.
const LOCKED: i32 = 11;

/// Who translates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translator {
    /// vnet.
    Vnet,
    /// The kernel: an nftables masquerade rule, and what nftables has beside it where a probe asks
    /// for more than a plain one.
    Nft,
}

impl fmt::Display for Translator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vnet => "vnet",
            Self::Nft => "nftables",
        })
    }
}

/// How a translator shall be set up; [`Wish::plain`] is out of the box.
#[derive(Clone, Debug)]
#[must_use = "a wish does nothing by itself"]
pub struct Wish {
    words: Vec<&'static str>,
    rule: Result<&'static str, &'static str>,
    rules: &'static str,
    sysctls: &'static [(&'static str, &'static str)],
    router: &'static [&'static str],
    uplink: &'static str,
    inside: &'static str,
}

impl Wish {
    /// Nothing but the uplink and who is inside.
    pub fn plain() -> Self {
        Self {
            words: Vec::new(),
            rule: Ok("oifname up0 masquerade"),
            rules: "",
            sysctls: &[],
            router: &[],
            uplink: UPLINK,
            inside: INSIDE,
        }
    }

    /// Further words for `vnetctl attach`.
    pub fn words(self, words: &[&'static str]) -> Self {
        Self { words: [&self.words, words].concat(), ..self }
    }

    /// Another rule than masquerade in nftables' postrouting chain.
    pub fn rule(self, rule: &'static str) -> Self {
        Self { rule: Ok(rule), ..self }
    }

    /// Further nftables commands.
    pub fn rules(self, rules: &'static str) -> Self {
        Self { rules, ..self }
    }

    /// Settings below net/netfilter that correspond to the words.
    pub fn sysctls(self, sysctls: &'static [(&'static str, &'static str)]) -> Self {
        Self { sysctls, ..self }
    }

    /// What `ip` does in the router first: further addresses, routes.
    pub fn router(self, router: &'static [&'static str]) -> Self {
        Self { router, ..self }
    }

    /// Another uplink than the lab's own; the rule names it too.
    pub fn uplink(self, uplink: &'static str) -> Self {
        Self { uplink, ..self }
    }

    /// Fewer inside than there might be.
    pub fn inside(self, inside: &'static str) -> Self {
        Self { inside, ..self }
    }

    /// nftables has nothing of the kind, and why.
    pub fn no_nft(self, why: &'static str) -> Self {
        Self { rule: Err(why), ..self }
    }

    /// Timeouts in seconds, for vnet and for conntrack, so short that a probe can wait for them:
    /// three seconds for all but established connections.
    pub fn short(self) -> Self {
        self.words(&["--timeout-udp", "3", "--timeout-icmp", "3", "--timeout-tcp-transitory", "3"])
            .sysctls(&[
                ("nf_conntrack_udp_timeout", "3"),
                ("nf_conntrack_udp_timeout_stream", "3"),
                ("nf_conntrack_icmp_timeout", "3"),
                ("nf_conntrack_tcp_timeout_syn_sent", "3"),
                ("nf_conntrack_tcp_timeout_syn_recv", "3"),
                ("nf_conntrack_tcp_timeout_fin_wait", "3"),
                ("nf_conntrack_tcp_timeout_close_wait", "3"),
                ("nf_conntrack_tcp_timeout_last_ack", "3"),
                ("nf_conntrack_tcp_timeout_time_wait", "3"),
                ("nf_conntrack_tcp_timeout_close", "3"),
            ])
    }

    /// Has the lab's router translate so.
    pub(super) fn apply(&self, translator: Translator, lab: &Lab) -> Result<(), Miss> {
        for line in self.router {
            lab.router.ip(line);
        }
        match translator {
            Translator::Vnet => self.vnet(lab),
            Translator::Nft => self.nft(lab),
        }
    }

    fn vnet(&self, lab: &Lab) -> Result<(), Miss> {
        let words =
            [&["attach", "--nat", self.uplink, "--inside", self.inside], &self.words[..]].concat();
        let done = attach(lab, &words);
        if done.status.code() == Some(USAGE) {
            return Err(Miss::NotOffered(format!("no `{}`", self.words.join(" "))));
        }
        done.ok();
        Ok(())
    }

    fn nft(&self, lab: &Lab) -> Result<(), Miss> {
        let rule = self.rule.map_err(|why| Miss::NotOffered(why.to_owned()))?;
        lab.forward();
        let table = format!(
            "add table ip nat; \
             add chain ip nat out {{ type nat hook postrouting priority srcnat; }}; \
             add chain ip nat in {{ type nat hook prerouting priority dstnat; }}; \
             add rule ip nat out {rule}; {}",
            self.rules
        );
        lab.router.must("nft", &[&table]);
        for (name, value) in self.sysctls {
            lab.router.set_sysctl(&format!("net/netfilter/{name}"), value);
        }
        Ok(())
    }
}

/// Attaches. Commands of a machine take turns and wait for a limited time: probes queue up here, so
/// that they compete with others only, and a turn that was missed is taken again.
fn attach(lab: &Lab, words: &[&str]) -> Outcome {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tries = std::iter::repeat_with(|| lab.vnetctl(words)).take(4);
    let done = tries.find(|done| done.status.code() != Some(LOCKED));
    done.expect("others have held vnetctl's lock for two minutes")
}
