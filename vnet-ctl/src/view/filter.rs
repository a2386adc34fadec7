//! Which connections are shown, and in which order.

use ipnet::IpNet;
use vnet_common::tcp::State;

use super::flows::FlowRow;

/// What the rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Packets, most first.
    Packets,
    /// Bytes, most first.
    Bytes,
}

/// Which rows are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Inside source in this prefix.
    pub src: Option<IpNet>,
    /// Destination in this prefix.
    pub dst: Option<IpNet>,
    /// This inside source port.
    pub sport: Option<u16>,
    /// This destination port.
    pub dport: Option<u16>,
    /// This protocol.
    pub proto: Option<&'static str>,
    /// This state.
    pub state: Option<State>,
    /// The order; oldest first when none.
    pub by: Option<By>,
    /// So many rows at most.
    pub top: Option<usize>,
}

impl Filter {
    fn passes(&self, row: &FlowRow) -> bool {
        self.src.is_none_or(|net| net.contains(&row.src))
            && self.dst.is_none_or(|net| net.contains(&row.dst))
            && self.sport.is_none_or(|port| port == row.sport)
            && self.dport.is_none_or(|port| port == row.dport)
            && self.proto.is_none_or(|proto| proto == row.proto)
            && self.state.is_none_or(|state| state.name() == row.state)
    }

    /// The rows that pass, in order, as many as are wanted.
    #[must_use]
    pub fn apply(&self, rows: Vec<FlowRow>) -> Vec<FlowRow> {
        let mut rows: Vec<_> = rows.into_iter().filter(|row| self.passes(row)).collect();
        // Equal ones keep their places from one look to the next.
        rows.sort_by_cached_key(|row| (row.first_seen, row.identity()));
        match self.by {
            Some(By::Packets) => rows.sort_by_key(|row| std::cmp::Reverse(row.packets())),
            Some(By::Bytes) => rows.sort_by_key(|row| std::cmp::Reverse(row.bytes())),
            None => {}
        }
        rows.truncate(self.top.unwrap_or(usize::MAX));
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::{Way, Why};

    fn row(src: [u8; 4], sport: u16, bytes_in: u64, packets_out: u64) -> FlowRow {
        let way = Way { why: Why::Unseen, age_s: None, hop: None };
        FlowRow {
            instance: "default".into(),
            ifname: "eth0".into(),
            ifindex: 2,
            proto: "udp",
            src: std::net::Ipv4Addr::from(src).into(),
            sport,
            dst: std::net::Ipv4Addr::from([192, 0, 2, 1]).into(),
            dport: 53,
            outside: std::net::Ipv4Addr::from([203, 0, 113, 7]).into(),
            outside_port: sport,
            state: State::Replied.name(),
            host: false,
            packets_out,
            bytes_out: 0,
            packets_in: 0,
            bytes_in,
            first_seen: 10 - u64::from(sport) / 2,
            age_s: 0.0,
            idle_s: 0.0,
            timeout_s: Some(300),
            left_s: Some(300.0),
            way_out: way.clone(),
            way_in: way,
            bytes_per_s: None,
        }
    }

    #[test]
    fn rows_are_filtered_ordered_and_cut() {
        let rows = vec![
            row([10, 0, 0, 2], 1, 5, 9),
            row([10, 0, 0, 3], 2, 9, 1),
            row([10, 1, 0, 2], 3, 7, 2),
        ];
        let ports = |filter: &Filter| -> Vec<u16> {
            filter.apply(rows.clone()).iter().map(|row| row.sport).collect()
        };
        assert_eq!(ports(&Filter::default()), [2, 3, 1], "oldest first, then by address");
        assert_eq!(ports(&Filter { by: Some(By::Bytes), ..Filter::default() }), [2, 3, 1]);
        let top = Filter { by: Some(By::Packets), top: Some(1), ..Filter::default() };
        assert_eq!(ports(&top), [1]);
        let src = Filter { src: "10.0.0.0/16".parse().ok(), ..Filter::default() };
        assert_eq!(ports(&src), [2, 1]);
        let none = Filter { proto: Some("tcp"), ..Filter::default() };
        assert_eq!(ports(&none), [0u16; 0]);
        let state = Filter { state: Some(State::Unreplied), ..Filter::default() };
        assert_eq!(ports(&state), [0u16; 0]);
    }
}
