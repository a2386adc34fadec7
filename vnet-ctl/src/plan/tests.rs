//! Plans are right when they lead where they should, in the right order, and then have nothing
//! left to do.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use proptest::prelude::*;
use vnet_common::forward::{Forward, Rule};
use vnet_common::policy::{Config, Source, link_flag, role, source};

use super::*;
use crate::spec::{Attach, Hook, Words};
use crate::state::{
    Device, Forwarding, Found, Host, IP_FORWARD, Instance, LIBERAL, Running, Tc, Way, calls, wanted,
};

/// Which object programs are of.
const BUILD: u32 = 1;

fn device(name: &str, addresses: &[[u8; 4]]) -> Device {
    let addresses: Vec<_> = addresses.iter().map(|own| (Ipv4Addr::from(*own), true)).collect();
    let networks = addresses.iter().map(|(own, _)| Ipv4Net::new_assert(*own, 24).trunc()).collect();
    Device {
        name: name.to_owned(),
        header: Some(14),
        addresses,
        networks,
        enters: true,
        ..Device::default()
    }
}

fn host(tcx: bool, forward: i32, lan_forward: i32) -> Host {
    let mut host = Host { netns: 7, tcx, ..Host::default() };
    host.namespaces.insert(7);
    host.devices.insert(2, device("eth0", &[[203, 0, 113, 7], [203, 0, 113, 8]]));
    host.devices.insert(3, device("lan0", &[[10, 0, 0, 1]]));
    host.tc.insert(2, Tc::default());
    host.sysctls.insert(IP_FORWARD.to_owned(), forward);
    host.sysctls.insert("net.ipv4.conf.lan0.forwarding".to_owned(), forward.max(lan_forward));
    host.sysctls.insert("net.ipv4.conf.eth0.forwarding".to_owned(), forward);
    host
}

fn wish(words: Words) -> Attach {
    let base = Words { nat: vec!["eth0".into()], instance: "default".into(), ..words };
    Attach::parse(&base).unwrap()
}

fn world(host: Host) -> World {
    World { host, name: wish(Words::default()).instance, instance: None }
}

fn plan(world: &World, wish: &Attach) -> Plan {
    let found = world.instance.as_ref();
    let wanted = wanted(wish, &world.host, found, BUILD).unwrap();
    build(&wanted, found, &world.host)
}

fn settle(world: &mut World, wish: &Attach) -> Plan {
    let first = plan(world, wish);
    world.run(&first);
    assert_eq!(plan(world, wish), Plan::default(), "a second plan is empty");
    first
}

fn position(plan: &Plan, what: impl Fn(&Step) -> bool) -> usize {
    plan.steps.iter().position(|planned| what(&planned.step)).unwrap()
}

#[test]
fn tables_are_filled_then_hooks_attached_then_packets_forwarded() {
    let plan = settle(&mut world(host(true, 0, 0)), &wish(Words::default()));
    let attach = position(&plan, |step| matches!(step, Step::Attach(..)));
    let config = position(&plan, |step| matches!(step, Step::WriteConfig(_)));
    let sources = position(&plan, |step| matches!(step, Step::PutSource(..)));
    let remember = position(&plan, |step| matches!(step, Step::RememberSysctl(..)));
    let set = position(&plan, |step| matches!(step, Step::SetSysctl(..)));
    let load = position(&plan, |step| matches!(step, Step::LoadPrograms(_)));
    assert!(sources < config && config < remember && remember < load && load < attach);
    assert!(attach < set, "nobody is forwarded untranslated");
    assert!(plan.steps[set..].iter().all(|p| matches!(p.step, Step::SetSysctl(..))));
}

#[test]
fn other_addresses_of_the_uplink_are_kept_and_the_outside_one_is_not() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    let instance = world.instance.unwrap();
    assert_eq!(instance.addresses().collect::<Vec<_>>(), [Ipv4Addr::new(203, 0, 113, 7)]);
    let expected = [
        ("0.0.0.0/0", source::TRANSLATE),
        ("203.0.113.7/32", source::OUTSIDE),
        ("203.0.113.8/32", source::KEEP),
    ];
    let expected =
        expected.map(|(net, action)| (net.parse().unwrap(), Source { action, number: 0 }));
    assert_eq!(instance.sources.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(instance.sysctls.len(), 0, "forwarding was on: nothing to remember");
}

#[test]
fn a_change_raises_the_epoch_and_keeps_what_stays() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    let other = wish(Words { ports: Some("2000-3000".into()), ..Words::default() });
    let plan = settle(&mut world, &other);
    assert_eq!(plan.steps.len(), 1, "{plan:?}");
    assert_eq!(world.instance.unwrap().config.epoch, 2);
}

#[test]
fn peers_are_filled_before_they_matter_and_once_more_after() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    let mode = |mode: &str| wish(Words { filtering: Some(mode.into()), ..Words::default() });
    let plan = settle(&mut world, &mode("address-dependent"));
    let steps: Vec<_> = plan.steps.iter().map(|planned| &planned.step).collect();
    assert!(matches!(steps[..], [Step::FillPeers, Step::WriteConfig(_), Step::FillPeers]));
    assert_eq!(settle(&mut world, &mode("endpoint-independent")).steps.len(), 1);
}

#[test]
fn an_inside_device_comes_and_goes() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words { inside: vec!["lan0".into()], ..Words::default() }));
    assert_eq!(world.instance.as_ref().unwrap().hooks.len(), 2 + 2 + 1);
    // By itself it is found where everybody is inside, or whoever has its network.
    let elsewhere = wish(Words { inside: vec!["172.16.0.0/12".into()], ..Words::default() });
    let plan = settle(&mut world, &elsewhere);
    let put = position(&plan, |step| matches!(step, Step::PutSource(..)));
    let detach = position(&plan, |step| matches!(step, Step::Detach(3, ..)));
    let drop = position(&plan, |step| matches!(step, Step::DropLink(3)));
    assert!(put < detach && detach < drop);
    assert_eq!(world.instance.as_ref().unwrap().hooks.len(), 2 + 1);
    settle(&mut world, &wish(Words::default()));
    assert_eq!(world.instance.unwrap().links[&3].roles, role::HOOKED);
}

#[test]
fn other_programs_replace_the_running_ones_in_place() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    world.instance.as_mut().unwrap().config.build = 9;
    let plan = settle(&mut world, &wish(Words::default()));
    assert!(matches!(plan.steps[0].step, Step::WriteConfig(Config { build: 0, .. })));
    assert!(matches!(plan.steps[1].step, Step::LoadPrograms(_)));
    assert!(matches!(plan.steps[2].step, Step::Replace(2, Hook::In, Way::Tcx)));
    assert!(matches!(plan.steps[3].step, Step::Replace(2, Hook::Out, Way::Tcx)));
    assert_eq!(world.instance.unwrap().config.build, BUILD);
}

#[test]
fn a_missing_hook_is_attached_again() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    world.instance.as_mut().unwrap().hooks.remove(&(2, Hook::Out));
    let plan = settle(&mut world, &wish(Words::default()));
    assert!(matches!(plan.steps[0].step, Step::Attach(2, Hook::Out, Way::Tcx)));
}

#[test]
fn programs_sit_on_calls_while_there_is_a_forward_and_the_kernel_lets_them() {
    let plain = wish(Words::default());
    let mut world = world(host(true, 0, 0));
    settle(&mut world, &plain);
    let target = Forward {
        inside: [10, 0, 0, 2],
        first: 80,
        last: 80,
        inside_first: 80,
        id: 1,
        ..Forward::default()
    };
    let rule =
        Rule { forward: target, asked: [0; 4], proto: 6, state: 0, reserved: 0, name: [b'x'; 32] };
    let change = |world: &mut World, rules: &[Rule]| {
        let before = world.instance.clone().unwrap();
        let rules = rules.iter().map(|rule| (rule.forward.id, *rule)).collect();
        let forwarding = Forwarding::of(rules, &before.outsides);
        let calls = calls(&forwarding, Some(&before), &world.host);
        let plan =
            forward(&Instance { forwarding, calls, ..before.clone() }, &before, |_| Grip::Loose);
        world.run(&plan);
        plan
    };
    let plan = change(&mut world, &[rule]);
    let filled = position(&plan, |step| matches!(step, Step::SetForwards(_)));
    assert!(filled < position(&plan, |step| *step == Step::AttachCalls), "tables first");
    assert_eq!(world.instance.as_ref().unwrap().calls, Some(Running::Current));
    world.instance.as_mut().unwrap().config.build = 9;
    let plan = settle(&mut world, &plain);
    let loaded = position(&plan, |step| matches!(step, Step::LoadPrograms(_)));
    assert!(loaded < position(&plan, |step| *step == Step::AttachCalls), "others take their place");
    let gone = change(&mut world, &[]);
    position(&gone, |step| *step == Step::DetachCalls);
    assert_eq!(world.instance.as_ref().unwrap().calls, None);
    world.host.uncallable = Some("no cgroups".to_owned());
    let without = change(&mut world, &[rule]);
    assert!(without.steps.iter().all(|planned| planned.step != Step::AttachCalls));
    assert_eq!(world.instance.as_ref().unwrap().calls, None);
}

#[test]
fn removal_is_the_reverse_and_puts_everything_back() {
    let before = host(true, 0, 1);
    let mut world = world(before.clone());
    settle(&mut world, &wish(Words::default()));
    assert_eq!(world.host.sysctls[IP_FORWARD], 1);
    let plan = remove(world.instance.as_ref().unwrap(), &world.host, None);
    let detach = position(&plan, |step| matches!(step, Step::Detach(..)));
    let sysctl = position(&plan, |step| matches!(step, Step::SetSysctl(..)));
    let maps = position(&plan, |step| matches!(step, Step::RemoveMaps));
    assert!(sysctl < detach && detach < maps, "nobody is forwarded untranslated");
    world.run(&plan);
    assert_eq!((world.instance, world.host.sysctls), (None, before.sysctls));
}

#[test]
fn connection_tracking_is_liberal_while_there_are_shortcuts() {
    let mut strict = host(true, 1, 1);
    strict.sysctls.insert(LIBERAL.to_owned(), 0);
    let mut world = world(strict);
    let kept = wish(Words { no_shortcut: vec!["eth0".into(), "lan0".into()], ..Words::default() });
    settle(&mut world, &kept);
    assert_eq!(world.host.sysctls[LIBERAL], 0, "all packets are the kernel's");
    settle(&mut world, &wish(Words::default()));
    assert_eq!(world.host.sysctls[LIBERAL], 1);
    let heir = Instance::empty(crate::spec::Instance::parse("other").unwrap());
    let plan = remove(world.instance.as_ref().unwrap(), &world.host, Some(&heir));
    position(&plan, |step| matches!(step, Step::HandSysctl(name, ..) if name == LIBERAL));
    // Somebody makes it strict again, and then it is his.
    world.host.sysctls.insert(LIBERAL.to_owned(), 0);
    let plan = remove(world.instance.as_ref().unwrap(), &world.host, None);
    assert!(!plan.steps.iter().any(|planned| matches!(planned.step, Step::SetSysctl(..))));
    world.run(&plan);
    assert_eq!(world.instance, None);
}

#[test]
fn what_is_kept_off_for_nothing_is_told() {
    let words = Words { no_shortcut: vec!["eth0".into(), "nope0".into()], ..Words::default() };
    let told = crate::state::kept_off_anyway(&wish(words), &host(true, 1, 1));
    assert!(told.len() == 1 && told[0].contains("nope0"), "{told:?}");
}

#[test]
fn a_sysctl_somebody_else_changed_stays() {
    let mut world = world(host(true, 0, 1));
    settle(&mut world, &wish(Words::default()));
    world.host.sysctls.insert(IP_FORWARD.to_owned(), 2);
    let plan = remove(world.instance.as_ref().unwrap(), &world.host, None);
    assert_eq!(plan.warnings.len(), 1);
    assert!(!plan.steps.iter().any(|planned| matches!(planned.step, Step::SetSysctl(..))));
}

#[test]
fn what_another_instance_needs_is_handed_over() {
    let mut world = world(host(true, 0, 0));
    settle(&mut world, &wish(Words::default()));
    let heir = Instance::empty(crate::spec::Instance::parse("other").unwrap());
    let plan = remove(world.instance.as_ref().unwrap(), &world.host, Some(&heir));
    position(&plan, |step| matches!(step, Step::HandSysctl(name, ..) if name == IP_FORWARD));
    assert!(!plan.steps.iter().any(|planned| matches!(planned.step, Step::SetSysctl(..))));
}

#[test]
fn clsact_goes_only_when_it_is_ours_and_unused() {
    let mut world = world(host(false, 1, 1));
    settle(&mut world, &wish(Words::default()));
    let instance = world.instance.clone().unwrap();
    assert_ne!(instance.links[&2].flags & link_flag::CLSACT_OURS, 0);
    let goes = |host: &Host| {
        let plan = remove(&instance, host, None);
        plan.steps.iter().any(|planned| planned.step == Step::RemoveClsact(2))
    };
    assert!(goes(&world.host));
    let mut shared = world.host.clone();
    let mut other = shared.tc[&2].filters[0].clone();
    other.priority = 99;
    shared.tc.get_mut(&2).unwrap().filters.push(other);
    assert!(!goes(&shared));
}

#[test]
fn a_gone_uplink_is_a_dead_instance() {
    let mut world = world(host(true, 1, 1));
    settle(&mut world, &wish(Words::default()));
    let mut instance = world.instance.unwrap();
    assert!(!instance.is_dead(&world.host));
    instance.hooks.insert((2, Hook::In), Running::Gone);
    assert!(instance.is_dead(&world.host));
    assert!(matches!(Found::Whole(Box::new(instance)), Found::Whole(_)));
}

fn words() -> impl Strategy<Value = Words> {
    let inside = prop::collection::vec(
        prop::sample::select(vec!["10.0.0.0/8", "192.168.0.0/16", "lan0", "172.16.0.0/12"]),
        0..4,
    );
    let ports = prop::option::of(prop::sample::select(vec!["1024-2048", "40000-50000", "7"]));
    let address = prop::sample::subsequence(vec!["203.0.113.7", "203.0.113.8"], 0..=2);
    let level = prop::option::of(prop::sample::select(vec!["off", "debug"]));
    let udp = prop::option::of(1u32..400);
    let kept = prop::sample::subsequence(vec!["eth0", "lan0"], 0..=2);
    let all = (inside, ports, address, level, udp, kept);
    all.prop_map(|(inside, ports, address, level, udp, kept)| Words {
        no_shortcut: kept.into_iter().map(str::to_owned).collect(),
        inside: inside.into_iter().map(str::to_owned).collect(),
        ports: ports.map(str::to_owned),
        address: address.into_iter().map(str::to_owned).collect(),
        log_level: level.map(str::to_owned),
        timeout_udp: udp.map(|udp| udp.to_string()),
        ..Words::default()
    })
}

proptest! {
    /// From nothing to one wish, to another wish, and away again: each second plan is empty, and
    /// in the end the namespace is as it was.
    #[test]
    fn every_way_settles_and_leads_back(
        first in words(), second in words(), tcx: bool, forward in 0..2i32, lan in 0..2i32,
        liberal in 0..2i32,
    ) {
        let mut before = host(tcx, forward, lan);
        before.sysctls.insert(LIBERAL.to_owned(), liberal);
        let mut world = world(before.clone());
        settle(&mut world, &wish(first));
        settle(&mut world, &wish(second));
        let plan = remove(world.instance.as_ref().unwrap(), &world.host, None);
        world.run(&plan);
        prop_assert!(world.instance.is_none());
        prop_assert_eq!(world.host.sysctls, before.sysctls);
        prop_assert!(world.host.tc.values().all(|tc| tc.qdisc.is_none()));
    }

    /// Cut short anywhere and undone from there, nothing has changed.
    #[test]
    fn every_step_can_be_taken_back(
        first in words(), second in words(), tcx: bool, forward in 0..2i32, lan in 0..2i32,
        liberal in 0..2i32, cut in 0..40usize,
    ) {
        let mut host = host(tcx, forward, lan);
        host.sysctls.insert(LIBERAL.to_owned(), liberal);
        let mut world = world(host);
        settle(&mut world, &wish(first));
        let before = world.clone();
        let plan = plan(&world, &wish(second));
        let done = &plan.steps[..cut.min(plan.steps.len())];
        done.iter().for_each(|planned| world.step(&planned.step));
        done.iter().rev().filter_map(|p| p.undo.as_ref()).for_each(|undo| world.step(undo));
        let hooks = |world: &World| world.instance.as_ref().unwrap().hooks.clone();
        prop_assert_eq!(hooks(&world).len(), hooks(&before).len());
        let tables = |world: &World| {
            let instance = world.instance.clone().unwrap();
            let Instance { links, outsides, sources, config, sysctls, .. } = instance;
            (links, outsides, sources, config, sysctls)
        };
        prop_assert_eq!(tables(&world), tables(&before));
        prop_assert_eq!(world.host.sysctls, before.host.sysctls);
    }
}
