//! Wishes that cannot be are refused, with every reason.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use vnet_common::LAYOUT_VERSION;
use vnet_common::policy::{Outside, role, source};

use super::*;
use crate::fault::Fault;
use crate::spec::{self, Attach, Hook, Words};

fn device(name: &str, header: Option<u32>, addresses: &[[u8; 4]]) -> Device {
    let addresses: Vec<_> = addresses.iter().map(|own| (Ipv4Addr::from(*own), true)).collect();
    let networks = own_networks(&addresses);
    Device { name: name.to_owned(), header, addresses, networks, enters: true, ..Device::default() }
}

/// A /24 around each address.
fn own_networks(addresses: &[(Ipv4Addr, bool)]) -> Vec<Ipv4Net> {
    let net = |(own, _): &(Ipv4Addr, bool)| Ipv4Net::new_assert(*own, 24).trunc();
    addresses.iter().map(net).collect()
}

fn host() -> Host {
    let mut host = Host { netns: 7, tcx: true, ..Host::default() };
    host.namespaces = [7, 8].into();
    host.devices.insert(2, device("eth0", Some(14), &[[203, 0, 113, 7]]));
    host.devices.insert(3, device("lan0", Some(14), &[]));
    host.devices.insert(4, device("odd0", None, &[[192, 0, 2, 1]]));
    host.tc.insert(2, Tc::default());
    host
}

fn wish(words: Words) -> Attach {
    let nat = if words.nat.is_empty() { vec!["eth0".to_owned()] } else { words.nat };
    let words = Words { nat, ..words };
    Attach::parse(&Words { instance: default(words.instance, "default"), ..words }).unwrap()
}

fn default(word: String, fallback: &str) -> String {
    if word.is_empty() { fallback.to_owned() } else { word }
}

fn instance(name: &str) -> Instance {
    let words = Words { instance: name.to_owned(), ..Words::default() };
    wanted(&wish(words), &host(), None, 1).unwrap()
}

fn instances(found: Found) -> BTreeMap<spec::Instance, Found> {
    BTreeMap::from([(found.instance().name.clone(), found)])
}

fn whole(instance: Instance) -> Found {
    Found::Whole(Box::new(instance))
}

#[test]
fn every_missing_device_and_address_is_told() {
    let inside = vec!["lan9".into(), "lan0".into(), "odd0".into()];
    let words = Words { inside, address: vec!["192.0.2.9".into()], ..Words::default() };
    let faults = wanted(&wish(words), &host(), None, 1).unwrap_err();
    assert!(matches!(&faults[0], Fault::AddressNotThere { .. }), "{faults:?}");
    assert!(
        faults[1..].iter().any(|f| matches!(f, Fault::NoDevice { name, .. } if name == "lan9"))
    );
    assert!(faults[1..].contains(&Fault::LinkLayer("odd0".into())));
    assert_eq!(faults.len(), 3);
    let words = Words { nat: vec!["lan0".into()], ..Words::default() };
    let faults = wanted(&wish(words), &host(), None, 1).unwrap_err();
    assert_eq!(faults, [Fault::NoAddress("lan0".into())]);
}

#[test]
fn foreign_programs_are_named_and_ours_are_not_foreign() {
    let mut host = host();
    let tc = host.tc.get_mut(&2).unwrap();
    tc.tcx.push(TcxProgram { hook: Hook::In, id: 5, name: "cil_from_netdev".into() });
    tc.tcx.push(TcxProgram { hook: Hook::In, id: 6, name: "vnet_in".into() });
    let mut ours = instance("default");
    ours.ids.insert(6);
    let faults = check(&wish(Words::default()), &host, &instances(whole(ours)), None);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().contains("cil_from_netdev"));
}

#[test]
fn another_instance_keeps_its_device_and_its_ports() {
    let other = instances(whole(instance("other")));
    let wish = wish(Words::default());
    let wanted = wanted(&wish, &host(), None, 1).unwrap();
    let faults = check(&wish, &host(), &other, Some(&wanted));
    assert!(matches!(faults[0], Fault::OtherInstance { .. }));
    assert!(matches!(faults[1], Fault::Overlap { .. }));
    assert_eq!(faults.len(), 2);
    let mut left = instance("other");
    left.hooks.clear();
    let faults = check(&wish, &host(), &instances(whole(left)), Some(&wanted));
    assert_eq!(faults, [], "what runs nowhere is in nobody's way");
}

#[test]
fn an_instance_stays_in_its_namespace_while_that_lives() {
    let mut elsewhere = instance("default");
    elsewhere.config.netns = 8;
    let wish = wish(Words::default());
    let faults = check(&wish, &host(), &instances(whole(elsewhere.clone())), None);
    assert_eq!(faults, [Fault::OtherNamespace("default".into())]);
    elsewhere.config.netns = 9;
    let faults = check(&wish, &host(), &instances(whole(elsewhere.clone())), None);
    assert_eq!(faults, [Fault::OtherNamespace("default".into())], "9 is not seen, but it runs");
    elsewhere.hooks.clear();
    let faults = check(&wish, &host(), &instances(whole(elsewhere.clone())), None);
    assert_eq!(faults, [Fault::UnseenNamespace("default".into())]);
    elsewhere.hooks.insert((2, Hook::In), Running::Gone);
    assert_eq!(check(&wish, &host(), &instances(whole(elsewhere)), None), [], "9 is gone");
}

#[test]
fn uplink_and_size_of_a_running_instance_are_fixed() {
    let found = instances(whole(instance("default")));
    let words =
        Words { nat: vec!["lan0".into()], max_flows: Some("99".into()), ..Words::default() };
    let faults = check(&wish(words), &host(), &found, None);
    assert!(matches!(&faults[0], Fault::SecondUplink { uplink, .. } if uplink == "eth0"));
    assert!(matches!(faults[1], Fault::MaxFlows { found: 262_144, wanted: 99, .. }));
    assert_eq!(faults.len(), 2);
}

#[test]
fn inside_hosts_come_in_by_devices_with_their_addresses() {
    let mut host = host();
    host.devices.insert(5, device("lan1", Some(14), &[[10, 1, 0, 1]]));
    host.devices.insert(6, device("lan2", Some(14), &[[10, 2, 0, 1], [192, 168, 1, 1]]));
    host.devices.insert(7, Device { enters: false, ..device("port0", Some(14), &[[10, 3, 0, 1]]) });
    host.devices.insert(8, device("up1", Some(14), &[[192, 0, 2, 9]]));
    host.uplinks.insert(8, spec::Instance::parse("other").unwrap());
    let found = |inside: &[&str]| {
        let inside = inside.iter().map(|word| (*word).to_owned()).collect();
        let wanted = wanted(&wish(Words { inside, ..Words::default() }), &host, None, 1).unwrap();
        let hooked = wanted.links.iter().filter(|(_, link)| link.roles == role::HOOKED);
        hooked.map(|(index, _)| *index).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), [5, 6], "no address, no port, nobody else's uplink");
    assert_eq!(found(&["10.1.0.0/16"]), [5]);
    assert_eq!(found(&["10.1.0.128/25", "192.168.0.0/16"]), [5, 6]);
    assert_eq!(found(&["10.0.0.0/8", "lan1"]), [6], "what is named is inside itself");
    assert_eq!(found(&["lan0"]), [0; 0], "who names devices means just those");
    host.foreign.insert(5);
    let everybody = wish(Words::default());
    assert_eq!(hooked(&everybody, &host), [6]);
    assert!(left_out(&everybody, &host)[0].contains("'lan1' is left alone"));
}

#[test]
fn instances_share_devices_they_have_not_named() {
    let mut host = host();
    host.devices.insert(5, device("lan1", Some(14), &[[10, 1, 0, 1]]));
    host.devices.insert(6, device("up1", Some(14), &[[192, 0, 2, 9]]));
    let words = Words { instance: "other".into(), nat: vec!["up1".into()], ..Words::default() };
    let other = wanted(&wish(words), &host, None, 1).unwrap();
    assert!(other.links.contains_key(&5));
    let faults = |inside: &[&str]| {
        let inside = inside.iter().map(|word| (*word).to_owned()).collect();
        let words = Words { inside, ..Words::default() };
        check(&wish(words), &host, &instances(whole(other.clone())), None)
    };
    assert_eq!(faults(&[]), []);
    assert_eq!(faults(&["lan1"]), [], "a name is stronger");
    assert!(matches!(faults(&["up1"]).as_slice(), [Fault::OtherInstance { .. }]));
}

#[test]
fn filters_of_two_instances_on_one_device_have_handles_of_their_own() {
    let mut host = Host { tcx: false, ..host() };
    host.devices.insert(5, device("lan1", Some(14), &[[10, 1, 0, 1]]));
    let first = wanted(&wish(Words::default()), &host, None, 1).unwrap().links[&5];
    assert_eq!(first.filter_in, FILTER_HANDLE);
    let filter = |hook: Hook| Filter {
        hook,
        priority: FILTER_PRIORITY,
        handle: FILTER_HANDLE,
        kind: "bpf".into(),
        name: format!("vnet_{hook}"),
        program: None,
    };
    let filters = Hook::ALL.map(filter).to_vec();
    host.tc.insert(5, Tc { qdisc: Some("clsact".into()), ours: true, filters, ..Tc::default() });
    let second = wanted(&wish(Words::default()), &host, None, 1).unwrap().links[&5];
    assert_eq!((second.filter_in, second.filter_out), (FILTER_HANDLE + 1, FILTER_HANDLE + 1));
    assert_eq!(second.flags, first.flags, "the last one to go takes the qdisc along");
}

#[test]
fn every_uplink_has_an_address_and_every_address_an_uplink() {
    let mut host = host();
    host.devices.insert(5, device("ppp0", Some(0), &[[198, 51, 100, 1], [198, 51, 100, 2]]));
    let attach = |found: Option<&Instance>, nat: &[&str], address: &[&str]| {
        let all = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let words = Words { nat: all(nat), address: all(address), ..Words::default() };
        wanted(&wish(words), &host, found, 1)
    };
    let numbers = |instance: &Instance| -> Vec<_> {
        let row = |(number, outside): (&u32, &Outside)| (*number, outside.link, outside.addr[3]);
        instance.outsides.iter().map(row).collect()
    };
    let one = attach(None, &["eth0", "ppp0"], &[]).unwrap();
    assert_eq!(numbers(&one), [(0, 2, 7), (2, 5, 1)]);
    assert_eq!((one.links[&5].outside, one.links[&5].outsides), (2, 1));
    let both = attach(Some(&one), &["eth0", "ppp0"], &["198.51.100.2", "198.51.100.1"]).unwrap();
    assert_eq!(numbers(&both), [(0, 2, 7), (2, 5, 1), (3, 5, 2)]);
    assert_eq!(both.links[&5].outsides, 2);
    let fewer = attach(Some(&both), &["ppp0"], &["198.51.100.2"]).unwrap();
    assert_eq!(numbers(&fewer), [(2, 5, 2)]);
    assert_eq!(fewer.sources[&"198.51.100.1/32".parse().unwrap()].action, source::KEEP);
    let faults = attach(None, &["eth0", "ppp0"], &["192.0.2.1"]).unwrap_err();
    let told = "is not on device 'eth0' or 'ppp0', which has: 203.0.113.7, 198.51.100.1, 198.";
    assert!(faults[0].to_string().contains(told), "{faults:?}");
}

#[test]
fn more_addresses_than_there_is_room_for_are_refused() {
    let mut host = host();
    let many: Vec<_> = (1..=5).map(|last| [198, 51, 100, last]).collect();
    host.devices.insert(5, device("ppp0", Some(0), &many));
    let words = |count: usize| {
        let address = (1..=count).map(|last| format!("198.51.100.{last}")).collect();
        wish(Words { nat: vec!["ppp0".into()], address, ..Words::default() })
    };
    let one = wanted(&words(1), &host, None, 1).unwrap();
    let faults = wanted(&words(5), &host, Some(&one), 1).unwrap_err();
    assert_eq!(faults, [Fault::Room { instance: "default".into(), room: 4, wanted: 5 }]);
    let anew = wanted(&words(5), &host, None, 1).unwrap();
    assert_eq!((anew.config.addresses, anew.outsides.len()), (5, 5));
}

#[test]
fn hosts_are_numbered_through_the_prefixes_and_must_all_have_a_block() {
    let words = |block: &str, inside: &[&str]| {
        let inside = inside.iter().map(|word| (*word).to_owned()).collect();
        wish(Words { inside, port_block: Some(block.to_owned()), ..Words::default() })
    };
    // 1024-65535 are 252 blocks of 256 ports, 504 of 128.
    let two = words("128", &["10.0.0.0/24", "10.7.0.0/25", "10.0.0.128/25"]);
    let instance = wanted(&two, &host(), None, 1).unwrap();
    let places = Places::of(&instance).unwrap();
    let ports = |host: [u8; 4]| {
        let found = places.of_host(host.into()).unwrap();
        assert_eq!(found.len(), 1, "one uplink, one block");
        (found[0].outside.octets()[3], found[0].ports.min, found[0].ports.max)
    };
    assert_eq!(ports([10, 0, 0, 0]), (7, 1024, 1151));
    assert_eq!(ports([10, 0, 0, 200]), (7, 1024 + 200 * 128, 1151 + 200 * 128));
    assert_eq!(ports([10, 7, 0, 0]), (7, 1024 + 256 * 128, 1151 + 256 * 128));
    for place in places.all() {
        let found = |port| places.of_outside(place.outside, port).unwrap();
        assert_eq!((found(place.ports.min), found(place.ports.max)), (place.clone(), place));
    }
    assert_eq!(places.all().count(), 256 + 128);
    let told = |fault: Option<Fault>| fault.map(|fault| fault.to_string()).unwrap_or_default();
    assert!(told(places.of_host([10, 8, 0, 0].into()).err()).contains("in no inside prefix"));
    let outside = "203.0.113.7".parse().unwrap();
    assert!(told(places.of_outside(outside, 80).err()).contains("in no block"));
    assert!(told(places.of_outside(outside, 65_535).err()).contains("nobody has"));
    let faults = wanted(&words("256", &["10.0.0.0/24"]), &host(), None, 1).unwrap_err();
    let Fault::Blocks { hosts: 256, fit: 252, addresses: 1, .. } = &faults[0] else {
        panic!("{faults:?}");
    };
}

#[test]
fn another_version_is_refused_and_remains_are_not() {
    let old = Found::Other(Box::new(instance("default")), "layout 9".into());
    let faults = check(&wish(Words::default()), &host(), &instances(old), None);
    assert!(matches!(faults.as_slice(), [Fault::Version { ours, .. }]
        if ours.ends_with(&LAYOUT_VERSION.to_string())));
    let remains = Found::HalfMade(Box::new(instance("default")));
    assert_eq!(check(&wish(Words::default()), &host(), &instances(remains), None), []);
}

#[test]
fn what_is_not_said_again_falls_back_and_is_told() {
    let inside = vec!["10.9.0.0/24".into(), "lan0".into()];
    let first = wish(Words { inside, ports: Some("2000-3000".into()), ..Words::default() });
    let before = wanted(&first, &host(), None, 1).unwrap();
    let second = wish(Words { log_level: Some("debug".into()), ..Words::default() });
    let after = wanted(&second, &host(), Some(&before), 1).unwrap();
    let lines = |before, after| -> Vec<_> {
        let changes = changes(before, after, &host()).into_iter();
        changes.map(|c| format!("{}: {} -> {}", c.what, c.before, c.after)).collect()
    };
    let expected = [
        "sources: 10.9.0.0/24 -> 0.0.0.0/0",
        "inside devices: lan0 -> none",
        "ports: 2000-3000 -> 1024-65535",
        "low-ports: none -> 1-1023",
        "log-level: off -> debug",
    ];
    assert_eq!(lines(&before, &after), expected);
    let mut broken = after.clone();
    broken.hooks.remove(&(2, Hook::In));
    assert_eq!(lines(&broken, &after), ["in hook of eth0: not attached -> attached"]);
    assert_eq!(lines(&after, &after), [""; 0]);
}
