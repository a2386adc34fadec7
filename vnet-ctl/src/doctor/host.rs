//! Settings of this network namespace that matter to a router.

use std::fs;

use super::Check;
use crate::state::{Host, IP_FORWARD};

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![forwarding(host), reverse_path(host), bridge_netfilter()]
}

fn forwarding(host: &Host) -> Check {
    match host.sysctls.get(IP_FORWARD) {
        Some(0) => Check::ok("forwarding", "is off; attach turns it on and detach off again"),
        Some(_) | None => Check::ok("forwarding", "is on"),
    }
}

/// The kernel takes the greater of the device's value and that of `all`.
fn reverse_path(host: &Host) -> Check {
    let read = |device: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{device}/rp_filter"));
        text.ok().and_then(|text| text.trim().parse::<u8>().ok()).unwrap_or(0)
    };
    let all = read("all");
    let names = host.devices.values().map(|device| device.name.as_str());
    let strict: Vec<_> = names.filter(|name| *name != "lo" && read(name).max(all) == 1).collect();
    if strict.is_empty() {
        return Check::ok("rp_filter", "no device filters strictly");
    }
    let found = format!("strict on {}", strict.join(", "));
    // One way out is the usual case, and then strict filtering is harmless.
    if host.devices.len() <= 3 {
        return Check::ok("rp_filter", found);
    }
    let advice = "with several ways out, answers may be dropped: set net.ipv4.conf.DEV.rp_filter=2";
    Check::warn("rp_filter", found, advice)
}

fn bridge_netfilter() -> Check {
    let on = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/bridge/{name}"));
        text.is_ok_and(|text| text.trim() == "1")
    };
    if on("bridge-nf-call-iptables") {
        let advice = "if bridged traffic must not meet the firewall: \
                      sysctl -w net.bridge.bridge-nf-call-iptables=0";
        Check::warn("bridge netfilter", "bridged IPv4 traffic visits iptables and nftables", advice)
    } else {
        Check::ok("bridge netfilter", "bridged traffic is left alone")
    }
}
