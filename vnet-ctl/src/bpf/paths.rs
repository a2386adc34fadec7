//! Conversations of `paths`, read for people.

use std::collections::HashMap as Seen;

use aya::maps::{HashMap, MapData};
use vnet_common::flow::FlowKey;
use vnet_common::path::{Path, PathKey, flag, written};

use super::error::Error;
use super::maps::Maps;
use super::tables::Tables;

/// The entries of `paths`.
#[derive(Debug)]
pub struct Paths(Seen<PathKey, Path>);

/// A routed conversation: its two entries of `paths`.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Key of the entry whose packets went first, or whose source is translated.
    pub key: PathKey,
    /// That entry.
    pub out: Path,
    /// The entry of the other direction, if there is one.
    pub back: Option<Path>,
}

impl Tables {
    /// What is remembered of routed conversations.
    ///
    /// # Errors
    /// When the map cannot be read.
    pub fn paths(&self) -> Result<Paths, Error> {
        let map: HashMap<MapData, PathKey, Path> = Maps::of(self.pins()).open("paths")?;
        let entries = map.iter().collect::<Result<_, _>>();
        Ok(Paths(entries.map_err(|source| Error::map("read", "paths", source))?))
    }
}

impl Paths {
    /// The entries of connections in `flows4`, by the key of that one's direction.
    #[must_use]
    pub fn of_flows(&self) -> Seen<FlowKey, Path> {
        let counted = self.0.values().filter(|path| path.flow != FlowKey::default());
        counted.map(|path| (path.flow, *path)).collect()
    }

    /// The conversations that `flows4` does not have.
    #[must_use]
    pub fn routes(&self) -> Vec<Route> {
        let plain = self.0.iter().filter(|(_, path)| path.flow == FlowKey::default());
        let joined = plain.filter_map(|(key, out)| {
            let twin = key.twin(out);
            let back = self.0.get(&twin).copied().filter(|back| twin.twin(back) == *key);
            let second = back.is_some_and(|back| is_second((key, out), (&twin, &back)));
            (!second).then_some(Route { key: *key, out: *out, back })
        });
        joined.collect()
    }
}

/// Whether this entry is the way back of the other one.
fn is_second((key, path): (&PathKey, &Path), (other, first): (&PathKey, &Path)) -> bool {
    let order = |key: &PathKey, path: &Path| {
        let (inward, answer) = (path.written != written::SOURCE, path.flags & flag::ANSWER != 0);
        (inward, answer, key.saddr, key.sport, key.daddr, key.dport)
    };
    order(key, path) > order(other, first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(from: u8, to: u8) -> PathKey {
        let addr = |last| [0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        PathKey {
            saddr: addr(from),
            daddr: addr(to),
            sport: 1,
            dport: 2,
            proto: 17,
            ..PathKey::default()
        }
    }

    #[test]
    fn directions_are_joined_and_the_first_one_names_the_conversation() {
        let first = Path { packets: 3, ..Path::default() };
        let second = Path { flags: flag::ANSWER, packets: 4, ..Path::default() };
        let alone = Path { packets: 7, ..Path::default() };
        let entries = [(key(8, 2), first), (key(8, 2).reversed(), second), (key(3, 4), alone)];
        let mut routes = Paths(entries.into_iter().collect()).routes();
        routes.sort_by_key(|route| route.out.packets);
        let seen: Vec<_> = routes.iter().map(|route| (route.key, route.back)).collect();
        assert_eq!(seen, [(key(8, 2), Some(second)), (key(3, 4), None)]);
    }

    #[test]
    fn of_a_translated_one_the_side_with_the_inside_source_is_out() {
        let outside = key(9, 2).saddr;
        let out = Path {
            first_seen: 9,
            addr: outside,
            port: 1,
            written: written::SOURCE,
            ..Path::default()
        };
        let back_key = key(1, 2).twin(&out);
        assert_eq!((back_key.daddr, back_key.dport), (outside, 1));
        let back = Path {
            addr: key(1, 2).saddr,
            port: 1,
            written: written::DESTINATION,
            ..Path::default()
        };
        let routes = Paths([(key(1, 2), out), (back_key, back)].into_iter().collect()).routes();
        assert_eq!(routes.len(), 1);
        assert_eq!((routes[0].key, routes[0].back), (key(1, 2), Some(back)));
    }
}
