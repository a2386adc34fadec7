//! Blocks are computed both ways, and never overlap.

use vnet_common::block::{Block, Blocks};
use vnet_common::policy::Config;

fn blocks(port_min: u16, port_max: u16, port_block: u32) -> Option<Blocks> {
    Blocks::of(&Config { port_min, port_max, port_block, ..Config::DEFAULT })
}

#[test]
fn hosts_follow_each_other_through_ports_and_addresses() {
    let blocks = blocks(1024, 65535, 256).unwrap();
    assert_eq!(blocks.per_address(), 252);
    assert_eq!(blocks.block(0), Block { address: 0, min: 1024, max: 1279 });
    assert_eq!(blocks.block(1), Block { address: 0, min: 1280, max: 1535 });
    assert_eq!(blocks.block(251), Block { address: 0, min: 65280, max: 65535 });
    assert_eq!(blocks.block(252), Block { address: 1, min: 1024, max: 1279 });
}

#[test]
fn every_port_is_its_hosts_and_the_rest_is_nobodys() {
    for (min, max, size) in [(1024, 65535, 1000), (1, 65535, 7), (40000, 40999, 1000), (5, 5, 1)] {
        let blocks = blocks(min, max, size).unwrap();
        let mut owned = 0;
        for host in 0..blocks.per_address() * 2 {
            let block = blocks.block(host);
            for port in block.min..=block.max {
                assert_eq!(blocks.host(block.address, port), Some(host));
                owned += 1;
            }
        }
        assert_eq!(owned, 2 * blocks.per_address() * size);
        assert_eq!(blocks.host(0, min - 1), None);
        let last = blocks.block(blocks.per_address() - 1).max;
        assert!((last..=max).skip(1).all(|port| blocks.host(0, port).is_none()));
    }
}

#[test]
fn there_are_none_when_none_fits() {
    assert_eq!(blocks(1024, 65535, 0), None);
    assert_eq!(blocks(2000, 2099, 101), None);
    assert_eq!(blocks(2000, 2099, 100).map(|blocks| blocks.per_address()), Some(1));
}
