//! Whether this machine has the other router, and whether the comparison finds what it must.

use vnet_tests::differential::rig::Router;
use vnet_tests::differential::shrink::shrink;
use vnet_tests::differential::text;
use vnet_tests::differential::twins::Twins;
use vnet_tests::netns::Netns;
use vnet_tests::skip;

/// Why nftables cannot be asked here, if it cannot.
pub(crate) fn missing() -> Option<String> {
    let words =
        ["add table ip t; add chain ip t c { type nat hook postrouting priority srcnat; }; \
                  add rule ip t c masquerade"];
    let output = Netns::new("try").command("nft", &words).output();
    match output {
        Err(error) => Some(format!("nft cannot be run: {error}")),
        Ok(output) if !output.status.success() => {
            Some("this kernel has no nftables NAT".to_owned())
        }
        Ok(_) => None,
    }
}

const STORY: &str =
    "out tcp S a0 w0\nout udp a1 x0 tos=4\nin udp a1 x0\nout udp b2 x1 len=9\nout ping a0 w0";

#[test]
fn two_routers_of_a_kind_do_the_same() {
    if let Some(why) = missing() {
        skip!("{why}");
    }
    let story = text::read(STORY).expect("a good story");
    let trials = Twins::of(Router::Nft, Router::Nft).run(&[story]);
    assert!(trials[0].fault().is_none());
}

#[test]
fn a_router_that_does_more_than_nat_is_found_out_and_the_story_shrinks() {
    if let Some(why) = missing() {
        skip!("{why}");
    }
    let mut twins = Twins::of(Router::Meddler, Router::Nft);
    let story = text::read(STORY).expect("a good story");
    let failed = twins.run(&[story]).remove(0);
    let (_, why) = failed.fault().expect("the meddler is found out");
    assert_eq!(why, "more than NAT changes was changed");
    let smallest = shrink(&mut twins, failed);
    assert_eq!(text::show(smallest.sequence()), "out udp a0 w1\n");
}
