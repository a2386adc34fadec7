//! What is typed is read, or refused with every fault.

use super::*;

fn words() -> Words {
    Words { nat: vec!["eth0".into()], instance: "default".into(), ..Words::default() }
}

#[test]
fn nothing_but_the_uplink_means_the_defaults() {
    let wish = Attach::parse(&words()).unwrap();
    assert_eq!(wish.uplinks, ["eth0"]);
    assert_eq!(wish.ports, Ports { min: 1024, max: 65535 });
    assert_eq!((wish.udp, wish.icmp, wish.tcp_established), (300, 60, 7440));
    assert_eq!(wish.max_flows, None);
    assert!(wish.inside.is_empty());
}

#[test]
fn low_ports_are_the_default_where_nobody_names_ports() {
    let low = |ports: Option<&str>, low: Option<&str>, block: Option<&str>| {
        let own = |word: Option<&str>| word.map(str::to_owned);
        let (ports, low_ports, port_block) = (own(ports), own(low), own(block));
        let inside = vec!["10.0.0.0/24".into()];
        Attach::parse(&Words { ports, low_ports, port_block, inside, ..words() }).unwrap().low
    };
    assert_eq!(low(None, None, None), Some(Ports { min: 1, max: 1023 }));
    assert_eq!(low(Some("2000-3000"), None, None), None);
    assert_eq!(low(None, Some("none"), None), None);
    assert_eq!(low(None, None, Some("64")), None);
    let named = Some(Ports { min: 512, max: 1023 });
    assert_eq!(low(Some("2000-3000"), Some("512-1023"), None), named);
}

#[test]
fn insides_are_prefixes_or_devices() {
    let inside = vec!["10.0.0.0/8".into(), "lan0".into(), "192.168.1.5".into()];
    let wish = Attach::parse(&Words { inside, ..words() }).unwrap();
    let expected = [
        Inside::Net("10.0.0.0/8".parse().unwrap()),
        Inside::Net("192.168.1.5/32".parse().unwrap()),
        Inside::Device("lan0".into()),
    ];
    assert_eq!(wish.inside.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn every_fault_is_told_not_only_the_first() {
    let bad = |text: &str| Some(text.to_owned());
    let faults = Attach::parse(&Words {
        nat: vec!["a/b".into()],
        inside: vec!["10.0.0.1/8".into(), "2001:db8::/32".into(), "a/b".into()],
        ports: bad("9-3"),
        address: vec!["300.1.1.1".into()],
        instance: "No".into(),
        max_flows: bad("3"),
        timeout_udp: bad("0"),
        timeout_icmp: bad("soon"),
        timeout_tcp_established: bad("-1"),
        timeout_tcp_transitory: bad("9999999999"),
        port_rest: bad("86401"),
        low_ports: bad("1-1024"),
        port_block: bad("0"),
        exclude: vec!["10.0.0.1/8".into()],
        filtering: bad("open"),
        refresh: bad("never"),
        max_ports_per_host: bad("0"),
        max_flows_per_host: bad("many"),
        no_shortcut: vec!["a/b".into()],
        xdp: bad("fast"),
        no_answer: true,
        nptv6: vec![
            "fd00::/48".into(),
            "fd00:1::/48=2001:db8:1::/48".into(),
            "fd00:1::/56=2001:db8:2::/56".into(),
        ],
        nat66: false,
        address6: vec!["fe80::1".into(), "2001:db8::1".into(), "2001:db8::2".into()],
        events: true,
        fragments: bad("both"),
        log_level: bad("loud"),
    })
    .unwrap_err();
    // Blocks want prefixes only, and no low ports: two more than there are words. One IPv6
    // address is none, there are more of them than uplinks, and nothing says what they are for.
    assert_eq!(faults.len(), 31, "{faults:#?}");
}

#[test]
fn uplinks_and_addresses_are_counted_once() {
    let two = |a: &str, b: &str| vec![a.to_owned(), b.to_owned(), a.to_owned()];
    let (nat, address) = (two("eth0", "eth1"), two("192.0.2.1", "192.0.2.2"));
    let wish = Attach::parse(&Words { nat, address, ..words() }).unwrap();
    assert_eq!(wish.uplinks, ["eth0", "eth1"]);
    assert_eq!(wish.addresses, [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)]);
    let many = (0..257).map(|n| Ipv4Addr::from(0xc000_0201 + n).to_string()).collect();
    let wish = Attach::parse(&Words { address: many, ..words() });
    assert_eq!(wish, Err(vec![Fault::TooManyAddresses { most: 256 }]));
}

#[test]
fn the_uplink_is_not_inside() {
    let wish = Attach::parse(&Words { inside: vec!["eth0".into()], ..words() });
    assert_eq!(wish, Err(vec![Fault::InsideIsUplink("eth0".into())]));
}
