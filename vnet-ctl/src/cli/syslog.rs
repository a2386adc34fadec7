//! Syslog messages (RFC 5424), to this host's own syslog or by UDP (RFC 5426).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, UnixDatagram};
use tokio::time::sleep;

use crate::fault::Fault;
use crate::reconcile::Error;
use crate::view::{EventRow, What};

/// Where this host's own syslog listens.
pub(super) const LOCAL: &str = "/dev/log";
/// Where others' listen (RFC 5426).
const PORT: u16 = 514;
/// Facility daemon (3), severity informational (6).
const PRIORITY: u8 = 3 * 8 + 6;

/// How often a message is tried, and the pause in between: long enough for a syslog to start anew.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Somebody who takes syslog messages.
#[derive(Debug)]
pub(super) struct Syslog {
    to: To,
    host: String,
}

#[derive(Debug)]
enum To {
    Local(UnixDatagram, String),
    Remote(UdpSocket, SocketAddr),
}

impl Syslog {
    /// Finds out what was typed: a path, or an address with or without a port.
    pub(super) fn open(typed: &str) -> Result<Self, Error> {
        let failed = |source| Error::io(format!("open a socket for --syslog {typed}"), source);
        let to = if typed.starts_with('/') {
            To::Local(UnixDatagram::unbound().map_err(failed)?, typed.to_owned())
        } else {
            let address = address(typed).ok_or_else(|| Fault::Syslog(typed.to_owned()))?;
            let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = std::net::UdpSocket::bind(any)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
                .and_then(UdpSocket::from_std);
            To::Remote(socket.map_err(failed)?, address)
        };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Ok(Self { to, host: host.trim().to_owned() })
    }

    /// Sends one message; one that is not taken is tried again for some seconds.
    pub(super) async fn send(&self, row: &EventRow) -> Result<(), Error> {
        let message = message(row, &self.host, std::process::id());
        let mut last = Ok(());
        for _ in 0..TRIES {
            last = self.to.send(message.as_bytes()).await;
            if last.is_ok() {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        last.map_err(|error| Error::io(format!("send to syslog at {}", self.to), error))
    }
}

impl To {
    async fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Local(socket, path) => socket.send_to(message, path).await.map(drop),
            Self::Remote(socket, address) => socket.send_to(message, address).await.map(drop),
        }
    }
}

impl std::fmt::Display for To {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(_, path) => f.write_str(path),
            Self::Remote(_, address) => address.fmt(f),
        }
    }
}

fn address(typed: &str) -> Option<SocketAddr> {
    let bare = || Some(SocketAddr::new(typed.parse::<IpAddr>().ok()?, PORT));
    typed.parse().ok().or_else(bare)
}

/// The message: header, no structured data, and words that are easily taken apart.
fn message(row: &EventRow, host: &str, process: u32) -> String {
    let EventRow { time, instance, event, src, outside, .. } = row;
    let host = if host.is_empty() { "-" } else { host };
    let (id, rest) = match row.what {
        What::Mapping { proto, sport, outside_port } => (
            "mapping",
            format!(
                "proto={proto} inside={} outside={}",
                SocketAddr::new(*src, sport),
                SocketAddr::new(*outside, outside_port)
            ),
        ),
        What::Block { ports } => ("block", format!("inside={src} outside={outside}:{ports}")),
    };
    format!("<{PRIORITY}>1 {time} {host} vnet {process} {id} - {event} instance={instance} {rest}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Ports;

    #[test]
    fn addresses_have_a_port_or_get_one() {
        let shown = |typed| address(typed).map(|address| address.to_string());
        assert_eq!(shown("192.0.2.7").as_deref(), Some("192.0.2.7:514"));
        assert_eq!(shown("192.0.2.7:5514").as_deref(), Some("192.0.2.7:5514"));
        assert_eq!(shown("2001:db8::7").as_deref(), Some("[2001:db8::7]:514"));
        assert_eq!(shown("[2001:db8::7]:5514").as_deref(), Some("[2001:db8::7]:5514"));
        assert_eq!(shown("loghost"), None);
    }

    #[test]
    fn a_message_is_what_rfc_5424_wants() {
        let row = EventRow {
            time: "2026-01-02T03:04:05.006Z".to_owned(),
            instance: "default".to_owned(),
            event: "created",
            src: [10, 0, 0, 2].into(),
            outside: [198, 51, 100, 1].into(),
            what: What::Mapping { proto: "tcp", sport: 4000, outside_port: 4001 },
            host: false,
        };
        assert_eq!(
            message(&row, "router", 77),
            "<30>1 2026-01-02T03:04:05.006Z router vnet 77 mapping - created instance=default \
             proto=tcp inside=10.0.0.2:4000 outside=198.51.100.1:4001"
        );
        let what = What::Block { ports: Ports { min: 1024, max: 1087 } };
        assert_eq!(
            message(&EventRow { what, ..row }, "", 77),
            "<30>1 2026-01-02T03:04:05.006Z - vnet 77 block - created instance=default \
             inside=10.0.0.2 outside=198.51.100.1:1024-1087"
        );
    }
}
