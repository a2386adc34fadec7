//! Has the kernel join fragments in this network namespace: connection tracking needs them whole, so
//! a rule that reads a packet's state is enough. No connection is tracked: the rule before says so.
//! And what the namespace itself would say (groups it listens to, fragments that did not come) ends
//! there: nobody has sent it anything.
//!
//! The messages are those of nf_tables (linux/netfilter/nf_tables.h), written by hand: there are
//! few, and they never change.

use std::io;

use rtnetlink::sys::protocols::NETLINK_NETFILTER;
use rtnetlink::sys::{Socket, SocketAddr};

use super::Error;

/// Numbers of nfnetlink and nf_tables.
mod number {
    pub(super) const BATCH_BEGIN: u16 = 16;
    pub(super) const BATCH_END: u16 = 17;
    pub(super) const TABLES: u16 = 10;
    pub(super) const NEW_TABLE: u16 = TABLES << 8;
    pub(super) const NEW_CHAIN: u16 = TABLES << 8 | 3;
    pub(super) const NEW_RULE: u16 = TABLES << 8 | 6;
    pub(super) const IPV4: u8 = 2;
    pub(super) const IPV6: u8 = 10;
    pub(super) const REQUEST: u16 = 1;
    pub(super) const ACK: u16 = 4;
    pub(super) const CREATE: u16 = 0x400;
    pub(super) const APPEND: u16 = 0x800;
    pub(super) const NESTED: u16 = 0x8000;
    pub(super) const ERROR: u16 = 2;
}

const TABLE: &[u8] = b"vnet\0";
const CHAIN: &[u8] = b"sort\0";
/// The chain of what comes from nobody but the namespace itself.
const MUTE: &[u8] = b"mute\0";
/// After fragments are joined, before connections are tracked (`NF_IP_PRI_RAW`).
const PRIORITY: i32 = -300;
/// Where packets come in (`NF_INET_PRE_ROUTING`).
const COMING_IN: u32 = 0;
/// Where the namespace's own go out (`NF_INET_LOCAL_OUT`).
const OWN: u32 = 3;
/// What becomes of packets that no rule knows (`NF_DROP`, `NF_ACCEPT`).
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// Messages of a batch that are acknowledged.
const ACKNOWLEDGED: usize = 4;
/// Bytes of a netlink header.
const HEADER: usize = 16;

/// Switches it on, for IPv6 too where it is wanted.
///
/// # Errors
/// When the kernel has no nf_tables, or no connection tracking.
pub fn join_fragments(six: bool) -> Result<(), Error> {
    talk(number::IPV4).map_err(Error::Defrag)?;
    if six { talk(number::IPV6).map_err(Error::Defrag) } else { Ok(()) }
}

fn talk(family: u8) -> io::Result<()> {
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&batch(family), 0)?;
    // Whatever is refused answers for all.
    let mut acknowledged = 0;
    while acknowledged < ACKNOWLEDGED {
        let (answer, _) = socket.recv_from_full()?;
        acknowledged += read(&answer)?;
    }
    Ok(())
}

/// Counts what an answer acknowledges.
fn read(mut answer: &[u8]) -> io::Result<usize> {
    let mut acknowledged = 0;
    while let Some((length, kind)) = header(answer) {
        let code = answer.get(HEADER..HEADER + 4).and_then(|code| code.try_into().ok());
        if let (number::ERROR, Some(code)) = (kind, code.map(i32::from_ne_bytes)) {
            if code != 0 {
                return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
            }
            acknowledged += 1;
        }
        answer = answer.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(acknowledged)
}

fn header(answer: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(answer.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| *length >= HEADER)?;
    Some((length, kind))
}

/// All of it is done, or nothing.
fn batch(family: u8) -> Vec<u8> {
    let table = attribute(1, TABLE);
    let state = [attribute(1, &1u32.to_be_bytes()), attribute(2, &0u32.to_be_bytes())].concat();
    let read = [attribute(1, b"ct\0"), attribute(2 | number::NESTED, &state)].concat();
    let expressions = [
        attribute(1 | number::NESTED, &attribute(1, b"notrack\0")),
        attribute(1 | number::NESTED, &read),
    ];
    let rule = [
        attribute(1, TABLE),
        attribute(2, CHAIN),
        attribute(4 | number::NESTED, &expressions.concat()),
    ];
    let new = number::CREATE | number::ACK;
    [
        message(number::BATCH_BEGIN, 0, 0, number::TABLES, &[]),
        message(number::NEW_TABLE, new, family, 0, &table),
        message(number::NEW_CHAIN, new, family, 0, &chain(CHAIN, COMING_IN, ACCEPT)),
        message(number::NEW_CHAIN, new, family, 0, &chain(MUTE, OWN, DROP)),
        message(number::NEW_RULE, new | number::APPEND, family, 0, &rule.concat()),
        message(number::BATCH_END, 0, 0, number::TABLES, &[]),
    ]
    .concat()
}

/// A chain of filters at a hook, and what becomes of what passes its rules.
fn chain(name: &[u8], hook: u32, policy: u32) -> Vec<u8> {
    let at = [attribute(1, &hook.to_be_bytes()), attribute(2, &PRIORITY.to_be_bytes())].concat();
    [
        attribute(1, TABLE),
        attribute(3, name),
        attribute(4 | number::NESTED, &at),
        attribute(5, &policy.to_be_bytes()),
        attribute(7, b"filter\0"),
    ]
    .concat()
}

fn message(kind: u16, flags: u16, family: u8, resource: u16, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + 4 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | number::REQUEST).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_says_how_long_it_is() {
        let batch = batch(number::IPV6);
        let (mut rest, mut kinds) = (batch.as_slice(), Vec::new());
        while let Some((length, kind)) = header(rest) {
            kinds.push(kind);
            rest = &rest[length..];
        }
        assert!(rest.is_empty());
        assert_eq!(kinds, [16, 0xa00, 0xa03, 0xa03, 0xa06, 17]);
    }

    #[test]
    fn what_is_refused_is_an_error_and_the_rest_is_counted() {
        let answer = |code: i32| {
            let mut bytes = message(number::ERROR, 0, 0, 0, &[0; 16]);
            bytes[HEADER..HEADER + 4].copy_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert_eq!(read(&[answer(0), answer(0)].concat()).unwrap(), 2);
        assert_eq!(read(&answer(-95)).unwrap_err().raw_os_error(), Some(95));
    }
}
