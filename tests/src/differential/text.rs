//! Sequences as text, one packet a line, so that a case can be read, kept and sent again:
//!
//! ```text
//! out tcp S a0 w0              host a's port 0 to server w's service 0
//! in tcp S. a0 w0 len=12       the answer, with data
//! in error 3/4 tcp a0 w0 quote=28
//! out udp b1 x2 frag=256:reversed len=900
//! hairpin udp c2 a0            host c's port 2 to the outside port that a's port 0 has
//! ```

use std::fmt;
use std::str::{FromStr, SplitWhitespace};

use super::step::{About, HOSTS, Kind, Order, PORTS, Quirk, SERVICES, Sequence, Step, Talk, Way};
use crate::packet::{IcmpKind, TcpFlags};

const FIRST_HOST: u8 = b'a';
const FIRST_SERVER: u8 = b'w';
/// As tcpdump writes them.
const FLAGS: [(TcpFlags, char); 8] = [
    (TcpFlags::FIN, 'F'),
    (TcpFlags::SYN, 'S'),
    (TcpFlags::RST, 'R'),
    (TcpFlags::PSH, 'P'),
    (TcpFlags::URG, 'U'),
    (TcpFlags::ACK, '.'),
    (TcpFlags(0x40), 'E'),
    (TcpFlags(0x80), 'W'),
];
const ORDERS: [(Order, &str); 6] = [
    (Order::Straight, "straight"),
    (Order::Reversed, "reversed"),
    (Order::Swapped, "swapped"),
    (Order::Twice, "twice"),
    (Order::Headless, "headless"),
    (Order::Endless, "endless"),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (way, first) = match self.way {
            Way::Out => ("out", FIRST_SERVER),
            Way::In => ("in", FIRST_SERVER),
            Way::Hairpin => ("hairpin", FIRST_HOST),
        };
        let Talk { host, port, server, service } = self.talk;
        let (host, server) = ((FIRST_HOST + host) as char, (first + server) as char);
        write!(f, "{way} {} {host}{port} {server}{service}", self.kind)?;
        self.quirks.iter().try_for_each(|quirk| write!(f, " {quirk}"))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(TcpFlags(0)) => f.write_str("tcp none"),
            Self::Tcp(flags) => {
                let set = FLAGS.iter().filter(|(flag, _)| flags.has(*flag));
                write!(f, "tcp {}", set.map(|(_, letter)| letter).collect::<String>())
            }
            Self::Udp => f.write_str("udp"),
            Self::Ping => f.write_str("ping"),
            Self::Pong => f.write_str("pong"),
            Self::Icmp(IcmpKind { kind, code }) => write!(f, "icmp {kind}/{code}"),
            Self::Error(IcmpKind { kind, code }, about) => {
                let about = match about {
                    About::Tcp => "tcp",
                    About::Udp => "udp",
                    About::Ping => "ping",
                };
                write!(f, "error {kind}/{code} {about}")
            }
            Self::Other(protocol) => write!(f, "proto {protocol}"),
        }
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(n) => write!(f, "len={n}"),
            Self::Sequence(n) => write!(f, "seq={n:+}"),
            Self::Acknowledgement(n) => write!(f, "ack={n:+}"),
            Self::Ttl(n) => write!(f, "ttl={n}"),
            Self::Tos(n) => write!(f, "tos={n}"),
            Self::DontFragment => f.write_str("df"),
            Self::Options => f.write_str("options"),
            Self::BadSum => f.write_str("badsum"),
            Self::NoSum => f.write_str("nosum"),
            Self::Quote(n) => write!(f, "quote={n}"),
            Self::ByRouter => f.write_str("router"),
            Self::Short(n) => write!(f, "short={n}"),
            Self::Cut(n) => write!(f, "cut={n}"),
            Self::Flip(n) => write!(f, "flip={n}"),
            Self::Fragments(size, order) => {
                let word = ORDERS.iter().find(|(o, _)| o == order).map_or("", |(_, word)| word);
                write!(f, "frag={size}:{word}")
            }
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let way = match next(&mut words)? {
            "out" => Way::Out,
            "in" => Way::In,
            "hairpin" => Way::Hairpin,
            other => return Err(format!("`{other}` is neither out nor in nor hairpin")),
        };
        let (first, ports) = match way {
            Way::Out | Way::In => (FIRST_SERVER, SERVICES.len() as u8),
            Way::Hairpin => (FIRST_HOST, PORTS),
        };
        let kind = kind(&mut words)?;
        let (host, port) = end(next(&mut words)?, FIRST_HOST, PORTS)?;
        let (server, service) = end(next(&mut words)?, first, ports)?;
        let quirks = words.map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { way, kind, talk: Talk { host, port, server, service }, quirks })
    }
}

fn next<'a>(words: &mut SplitWhitespace<'a>) -> Result<&'a str, String> {
    words.next().ok_or_else(|| "the line ends too early".to_owned())
}

fn kind(words: &mut SplitWhitespace<'_>) -> Result<Kind, String> {
    Ok(match next(words)? {
        "tcp" => Kind::Tcp(flags(next(words)?)?),
        "udp" => Kind::Udp,
        "ping" => Kind::Ping,
        "pong" => Kind::Pong,
        "icmp" => Kind::Icmp(icmp_kind(next(words)?)?),
        "error" => {
            let kind = icmp_kind(next(words)?)?;
            let about = match next(words)? {
                "tcp" => About::Tcp,
                "udp" => About::Udp,
                "ping" => About::Ping,
                other => return Err(format!("errors are about tcp, udp or ping, not `{other}`")),
            };
            Kind::Error(kind, about)
        }
        "proto" => Kind::Other(number(next(words)?)?),
        other => return Err(format!("`{other}` is no kind of packet")),
    })
}

fn flags(word: &str) -> Result<TcpFlags, String> {
    if word == "none" {
        return Ok(TcpFlags::default());
    }
    word.chars().try_fold(TcpFlags::default(), |all, letter| {
        let flag = FLAGS.iter().find(|(_, l)| *l == letter).map(|(flag, _)| *flag);
        flag.map(|flag| all | flag).ok_or_else(|| format!("`{letter}` is no TCP flag"))
    })
}

fn icmp_kind(word: &str) -> Result<IcmpKind, String> {
    let (kind, code) = word.split_once('/').ok_or_else(|| format!("`{word}` is not TYPE/CODE"))?;
    Ok(IcmpKind { kind: number(kind)?, code: number(code)? })
}

/// One end of a conversation: a letter and a digit.
fn end(word: &str, first: u8, ports: u8) -> Result<(u8, u8), String> {
    let wrong = || format!("`{word}` is not a host's letter and a port's digit");
    let &[letter, digit] = word.as_bytes() else { return Err(wrong()) };
    let who = letter.checked_sub(first).filter(|who| *who < HOSTS).ok_or_else(wrong)?;
    let port = digit.checked_sub(b'0').filter(|port| *port < ports).ok_or_else(wrong)?;
    Ok((who, port))
}

fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("`{word}` is not a number that fits"))
}

impl FromStr for Quirk {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        Ok(match name {
            "len" => Self::Length(number(value)?),
            "seq" => Self::Sequence(number(value)?),
            "ack" => Self::Acknowledgement(number(value)?),
            "ttl" => Self::Ttl(number(value)?),
            "tos" => Self::Tos(number(value)?),
            "df" => Self::DontFragment,
            "options" => Self::Options,
            "badsum" => Self::BadSum,
            "nosum" => Self::NoSum,
            "quote" => Self::Quote(number(value)?),
            "router" => Self::ByRouter,
            "short" => Self::Short(number(value)?),
            "cut" => Self::Cut(number(value)?),
            "flip" => Self::Flip(number(value)?),
            "frag" => fragments(value)?,
            other => return Err(format!("`{other}` is no quirk")),
        })
    }
}

fn fragments(value: &str) -> Result<Quirk, String> {
    let (size, word) = value.split_once(':').unwrap_or((value, "straight"));
    let order = ORDERS.iter().find(|(_, w)| *w == word).map(|(order, _)| *order);
    let size: u16 = number(size)?;
    let good = size > 0 && size.is_multiple_of(8);
    match order.filter(|_| good) {
        Some(order) => Ok(Quirk::Fragments(size, order)),
        None => Err(format!("`{value}` is not a multiple of 8 and an order")),
    }
}

/// A sequence as lines.
pub fn show(sequence: &[Step]) -> String {
    sequence.iter().map(|step| format!("{step}\n")).collect()
}

/// Reads a sequence; empty lines, and what follows a `#`, are for people.
///
/// # Errors
/// The first line that makes no sense, and why.
pub fn read(text: &str) -> Result<Sequence, String> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or("").trim());
    let told = lines.enumerate().filter(|(_, line)| !line.is_empty());
    told.map(|(n, line)| line.parse().map_err(|why| format!("line {}: {why}", n + 1))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differential::generate::sequence;

    #[test]
    fn what_is_written_is_read_back() {
        for number in 0..300 {
            let made = sequence(7, number);
            assert_eq!(read(&show(&made)).as_ref(), Ok(&made), "{}", show(&made));
        }
    }

    #[test]
    fn a_line_that_makes_no_sense_is_named() {
        assert!(read("# fine\nout udp a0 w0\nout udp a9 w0").unwrap_err().starts_with("line 3"));
        for line in ["up udp a0 w0", "out tcp X a0 w0", "out udp a0", "in udp a0 w0 frag=9"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
