//! `peers`: whom those inside talk to. The datapath counts it while filtering is address-dependent;
//! for the connections from before, it is filled in here.

use std::collections::{BTreeSet, HashMap as Counts};

use aya::maps::{HashMap, MapData};
use vnet_common::translate::{Peer, PeerFlows};

use super::error::Error;
use super::maps::{Maps, absent_is_fine};
use super::tables::{Connection, Tables};

/// Looks at most: each mends what has moved since the one before it, which soon is nothing.
const LOOKS: usize = 8;

type Table = HashMap<MapData, Peer, PeerFlows>;

impl Tables {
    /// Makes `peers` say what the connections say. Connections may come and go meanwhile; therefore
    /// it looks again until nothing moves.
    ///
    /// # Errors
    /// When a map cannot be read or written.
    pub fn fill_peers(&self) -> Result<(), Error> {
        let mut table: Table = Maps::of(self.pins()).open("peers")?;
        let there: Result<Counts<_, _>, _> = table.iter().collect();
        let mut before = there.map_err(|source| Error::map("read", "peers", source))?;
        for _ in 0..LOOKS {
            let now = count(&self.connections()?);
            let different = different(&before, &now);
            for peer in &different {
                set(&mut table, peer, now.get(peer))?;
            }
            if different.is_empty() {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

/// Who is talked to by which mapping, and in how many connections.
fn count(connections: &[Connection]) -> Counts<Peer, PeerFlows> {
    let mut peers: Counts<Peer, PeerFlows> = Counts::new();
    for Connection { key, out, .. } in connections {
        let outside = out.outside;
        let peer = Peer { addr: out.daddr, port: out.sport, proto: key.proto, outside };
        peers.entry(peer).or_default().flows += 1;
    }
    peers
}

fn different(before: &Counts<Peer, PeerFlows>, now: &Counts<Peer, PeerFlows>) -> BTreeSet<Peer> {
    let all = before.keys().chain(now.keys());
    all.filter(|peer| before.get(peer) != now.get(peer)).copied().collect()
}

fn set(table: &mut Table, peer: &Peer, flows: Option<&PeerFlows>) -> Result<(), Error> {
    match flows {
        Some(flows) => {
            let put = table.insert(peer, flows, 0);
            put.map_err(|source| Error::map("write", "peers", source))
        }
        None => absent_is_fine("peers", table.remove(peer)),
    }
}

#[cfg(test)]
mod tests {
    use vnet_common::flow::{Flow, FlowKey};

    use super::*;

    fn connection(sport: u16, dport: u16) -> Connection {
        let key = FlowKey { sport, dport, proto: 17, ..FlowKey::default() };
        let out = Flow { daddr: [192, 0, 2, 1], sport, outside: 1, ..Flow::default() };
        Connection { key, out, back: Flow::default() }
    }

    #[test]
    fn a_peer_counts_as_often_as_it_is_talked_to_and_stale_ones_go() {
        let now = count(&[connection(4000, 1), connection(4000, 2), connection(4001, 1)]);
        let peer = |port| Peer { addr: [192, 0, 2, 1], port, proto: 17, outside: 1 };
        assert_eq!(now.get(&peer(4000)), Some(&PeerFlows { flows: 2 }));
        assert_eq!(now.get(&peer(4001)), Some(&PeerFlows { flows: 1 }));
        let one = PeerFlows { flows: 1 };
        let before = Counts::from([(peer(4000), one), (peer(4001), one), (peer(9), one)]);
        let changed = different(&before, &now);
        assert_eq!(changed.into_iter().collect::<Vec<_>>(), [peer(9), peer(4000)]);
        assert!(different(&now, &now).is_empty());
    }
}
