//! Sockets of this host that wait for others, and whose they are, as `ss -lp` shows them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::spec::{Ports, Proto};
use crate::state::Socket;

/// Those of one protocol whose port is in the range, in this network namespace.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn waiting(proto: Proto, ports: Ports) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for name in [proto.to_string(), format!("{proto}6")] {
        match fs::read_to_string(format!("/proc/self/net/{name}")) {
            Ok(text) => sockets.extend(text.lines().filter_map(|line| read(proto, line))),
            // A kernel without IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    sockets.retain(|(socket, _)| ports.contains(socket.port));
    let owners = if sockets.is_empty() { BTreeMap::new() } else { owners() };
    let named = sockets.into_iter().map(|(socket, inode)| {
        let nobody = || "a socket of no process that can be seen".to_owned();
        let owner = owners.get(&inode).cloned().unwrap_or_else(nobody);
        Socket { owner, ..socket }
    });
    Ok(named.collect())
}

/// One line of `/proc/net/tcp` and the like: state 0A is a TCP listener, 07 a UDP socket that is
/// not connected.
fn read(proto: Proto, line: &str) -> Option<(Socket, u64)> {
    let waits = match proto {
        Proto::Tcp => "0A",
        Proto::Udp => "07",
    };
    let mut fields = line.split_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    let inode = fields.nth(5)?.parse().ok()?;
    let (address, port) = (read_address(address)?, u16::from_str_radix(port, 16).ok()?);
    let owner = String::new();
    (state == waits).then_some((Socket { proto, address, port, owner }, inode))
}

/// An address as the kernel prints it: words in its own byte order.
fn read_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    if hex.len() == 8 {
        return Some(Ipv4Addr::from(word(0)?).into());
    }
    let words = [word(0)?, word(8)?, word(16)?, word(24)?];
    let bytes: [u8; 16] = words.concat().try_into().ok()?;
    let address = Ipv6Addr::from(bytes);
    Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
}

/// Processes by the inodes of their sockets.
fn owners() -> BTreeMap<u64, String> {
    let mut owners = BTreeMap::new();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        for file in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Ok(link) = fs::read_link(file.path()) else { continue };
            let inode =
                link.to_str().and_then(|link| link.strip_prefix("socket:[")?.strip_suffix(']'));
            if let Some(inode) = inode.and_then(|inode| inode.parse().ok()) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                owners.entry(inode).or_insert_with(|| format!("{} (pid {pid})", name.trim()));
            }
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn a_listener_is_found_with_its_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let found = waiting(Proto::Tcp, Ports { min: port, max: port }).unwrap();
        let own = found.iter().find(|socket| socket.address == IpAddr::V4(Ipv4Addr::LOCALHOST));
        let own = own.unwrap_or_else(|| panic!("{found:?}"));
        assert!(own.owner.contains(&format!("(pid {})", std::process::id())), "{own:?}");
        assert_eq!(own.at(), format!("127.0.0.1:{port}"));
    }

    #[test]
    fn a_udp_socket_waits_until_it_is_connected() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let ports = Ports { min: port, max: port };
        assert_eq!(waiting(Proto::Udp, ports).unwrap().len(), 1);
        socket.connect("127.0.0.1:9").unwrap();
        assert_eq!(waiting(Proto::Udp, ports).unwrap(), []);
    }

    #[test]
    fn addresses_of_both_families_are_read() {
        let v4 = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(read_address(&format!("{v4:08X}")), Some("127.0.0.1".parse().unwrap()));
        let (marks, one) = (u32::from_ne_bytes([0, 0, 255, 255]), u32::from_ne_bytes([0, 0, 0, 1]));
        assert_eq!(read_address(&format!("{:024X}{one:08X}", 0)), Some("::1".parse().unwrap()));
        let mapped = format!("{:016X}{marks:08X}{v4:08X}", 0);
        assert_eq!(read_address(&mapped), Some("127.0.0.1".parse().unwrap()));
    }
}
