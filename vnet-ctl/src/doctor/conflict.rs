//! Others who want the same packets: another NAT, a forward chain that drops, foreign programs.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use super::Check;
use crate::reconcile::Seen;
use crate::state;

pub(super) fn checks(seen: &Seen) -> Vec<Check> {
    let mut checks = firewall();
    checks.push(programs(seen));
    checks
}

/// What nftables and iptables say; what is not installed cannot be asked.
fn firewall() -> Vec<Check> {
    let mut nat = BTreeSet::new();
    let mut drops = BTreeSet::new();
    let mut asked = Vec::new();
    if let Some(ruleset) = output("nft", &["-j", "list", "ruleset"]) {
        asked.push("nftables");
        let ruleset: Value = serde_json::from_str(&ruleset).unwrap_or_default();
        nat.extend(nft_nat(&ruleset));
        drops.extend(nft_drops(&ruleset));
    }
    for tool in ["iptables-save", "iptables-legacy-save"] {
        if let Some(rules) = output(tool, &["-t", "nat"]) {
            asked.push("iptables");
            nat.extend(iptables_nat(&rules));
        }
    }
    asked.dedup();
    if asked.is_empty() {
        let found = "neither nft nor iptables is installed, so their rules cannot be listed";
        return vec![Check::ok("other NAT", found)];
    }
    let asked = asked.join(" and ");
    let nat = nat.into_iter().collect::<Vec<_>>().join("; ");
    let drops = drops.into_iter().collect::<Vec<_>>().join("; ");
    vec![
        if nat.is_empty() {
            Check::ok("other NAT", format!("none in {asked}"))
        } else {
            let advice = "remove it from the uplink of vnet: two NATs translate twice";
            Check::warn("other NAT", nat, advice)
        },
        if drops.is_empty() {
            Check::ok("forward chain", format!("no policy of {asked} drops what is forwarded"))
        } else {
            let advice =
                "let traffic from and to the inside pass there: vnet forwards by the kernel";
            Check::warn("forward chain", drops, advice)
        },
    ]
}

fn output(tool: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(tool).args(arguments).output().ok()?;
    let text = String::from_utf8(done.stdout).ok()?;
    (done.status.success() && !text.trim().is_empty()).then_some(text)
}

fn entries<'a>(ruleset: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    let all = ruleset["nftables"].as_array().into_iter().flatten();
    all.filter_map(move |entry| entry.get(kind))
}

/// Rules that translate sources.
fn nft_nat(ruleset: &Value) -> Vec<String> {
    let translates = |rule: &&Value| {
        let expressions = rule["expr"].as_array().into_iter().flatten();
        expressions
            .into_iter()
            .any(|expr| ["masquerade", "snat"].iter().any(|k| expr.get(k).is_some()))
    };
    let place = |rule: &Value| {
        let word = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        format!("nftables chain {} {} {}", word("family"), word("table"), word("chain"))
    };
    entries(ruleset, "rule").filter(translates).map(place).collect()
}

/// Chains on the way of forwarded packets whose policy is to drop.
fn nft_drops(ruleset: &Value) -> Vec<String> {
    let drops = |chain: &&Value| chain["hook"] == "forward" && chain["policy"] == "drop";
    let place = |chain: &Value| {
        let word = |key: &str| chain[key].as_str().unwrap_or_default().to_owned();
        format!("nftables chain {} {} {}", word("family"), word("table"), word("name"))
    };
    entries(ruleset, "chain").filter(drops).map(place).collect()
}

fn iptables_nat(rules: &str) -> Vec<String> {
    let rules =
        rules.lines().filter(|line| line.contains("-j MASQUERADE") || line.contains("-j SNAT"));
    rules.map(|line| format!("iptables {}", line.trim())).collect()
}

/// Devices whose hooks somebody else uses.
fn programs(seen: &Seen) -> Check {
    let mut found = Vec::new();
    for device in seen.host.devices.values() {
        found.extend(state::foreign(&device.name, &seen.host, &seen.instances));
    }
    if found.is_empty() {
        Check::ok("foreign programs", "no device has any")
    } else {
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        let advice = "attach refuses these devices until what is there is removed";
        Check::warn("foreign programs", found.join("; "), advice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nats_and_dropping_chains_are_found() {
        let ruleset = serde_json::json!({"nftables": [
            {"metainfo": {}},
            {"chain": {"family": "ip", "table": "filter", "name": "forward",
                       "hook": "forward", "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "input",
                       "hook": "input", "policy": "drop"}},
            {"rule": {"family": "ip", "table": "nat", "chain": "post",
                      "expr": [{"match": {}}, {"masquerade": null}]}},
            {"rule": {"family": "ip", "table": "nat", "chain": "other", "expr": [{"accept": null}]}},
        ]});
        assert_eq!(nft_nat(&ruleset), ["nftables chain ip nat post"]);
        assert_eq!(nft_drops(&ruleset), ["nftables chain ip filter forward"]);
        let rules = "*nat\n-A POSTROUTING -o eth0 -j MASQUERADE\n-A PREROUTING -j DNAT\nCOMMIT\n";
        assert_eq!(iptables_nat(rules), ["iptables -A POSTROUTING -o eth0 -j MASQUERADE"]);
    }
}
