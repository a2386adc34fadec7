//! What is told of mappings.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::conformance::Level::{Must, Should};
use crate::conformance::field::{A, B, Field, S1};
use crate::conformance::translator::Wish;
use crate::conformance::{Miss, Requirement, Seen, Translator, ensure, fails};
use crate::vnetctl::Running;

pub(super) const LIST: &[Requirement] = &[
    Requirement::new(
        (Must, "RFC 6888 section 4"),
        "rfc6888_4_mappings_are_logged",
        "When a mapping is made and when it ends one line says so: time, protocol, inside and \
         outside address and port.",
        told,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-12"),
        "rfc6888_req12_destinations_are_not_logged",
        "No line names a destination.",
        no_destinations,
    ),
    Requirement::new(
        (Should, "RFC 6888 REQ-14"),
        "rfc6888_req14_blocks_are_logged_not_ports",
        "With port blocks a block is logged once, not each of its ports.",
        blocks,
    ),
];

/// How long a line may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Lines that vnetctl tells of mappings, from now on.
struct Log {
    lines: Receiver<String>,
    // Ends when nobody listens any more.
    _told: Running,
}

impl Log {
    fn open(field: &Field) -> Result<Self, Miss> {
        let help = field.lab.vnetctl(&["events", "--help"]);
        if !help.status.success() {
            return Err(Miss::NotOffered("no `vnetctl events`".to_owned()));
        }
        let mut told = field.lab.start_vnetctl(&["events", "--follow", "--json"]);
        let log = Self { lines: told.lines(), _told: told };
        // It listens once it tells of a mapping: of this one, in a row of them.
        let until = Instant::now() + 4 * PATIENCE;
        for port in 50_000.. {
            field.udp((B, port), S1)?;
            if log.lines.recv_timeout(Duration::from_millis(200)).is_ok() {
                break;
            }
            ensure(Instant::now() < until, "nothing was told")?;
        }
        Ok(log)
    }

    /// The next line about an inside port, as text and as JSON.
    fn about(&self, port: u16) -> Result<(String, Value), Miss> {
        let until = Instant::now() + PATIENCE * 2;
        while let Ok(line) =
            self.lines.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            let Ok(json) = serde_json::from_str::<Value>(&line) else {
                return fails("a line is not JSON");
            };
            if json["sport"] == port {
                return Ok((line, json));
            }
        }
        fails("nothing was told")
    }
}

fn wish() -> Wish {
    let why = "its log statement logs packets, destinations included";
    Wish::plain().words(&["--events", "--timeout-udp", "2"]).no_nft(why)
}

fn told(translator: Translator) -> Seen {
    let field = Field::of(translator, &wish())?;
    let log = Log::open(&field)?;
    field.udp((A, 4000), S1)?;
    for event in ["created", "deleted"] {
        let (line, json) = log.about(4000)?;
        let right = json["event"] == event
            && json["proto"] == "udp"
            && json["src"] == A.to_string()
            && json["outside_port"] == 4000
            && line.contains("198.51.100.1")
            && json.get("time").is_some();
        ensure(right, format!("a line says {line}"))?;
    }
    Ok(())
}

fn no_destinations(translator: Translator) -> Seen {
    let field = Field::of(translator, &wish())?;
    let log = Log::open(&field)?;
    field.udp((A, 4000), S1)?;
    for _ in 0..2 {
        let (line, _) = log.about(4000)?;
        let named = line.contains(&S1.ip().to_string()) || line.contains(&S1.port().to_string());
        ensure(!named, "a destination was named")?;
    }
    Ok(())
}

fn blocks(translator: Translator) -> Seen {
    let wish = wish().inside("10.0.0.0/23").words(&["--port-block", "64"]);
    let field = Field::of(translator, &wish)?;
    let log = Log::open(&field)?;
    for port in 4000..4016 {
        field.udp((A, port), S1)?;
    }
    let until = Instant::now() + Duration::from_secs(1);
    let mut lines = 0;
    while let Ok(line) = log.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
        lines += u32::from(line.contains(&A.to_string()));
    }
    ensure(lines == 1, format!("{lines} lines for 16 ports of one block"))
}
