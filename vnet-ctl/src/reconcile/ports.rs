//! Ports taken for forwards, whoever holds them.

use std::thread;
use std::time::Duration;

use vnet_common::flow::flag;
use vnet_common::forward::Rule;
use vnet_common::translate::pool;

use super::error::Error;
use crate::bpf::{Connection, Maps, Orders, Pins, Tables};
use crate::fault::{Fault, ForwardFault};
use crate::plan::Grip;
use crate::state::{Holder, PoolPorts, Words as _};

/// How often ports are asked for that nobody seems to hold: they are on their way from one set to
/// another, or a mapping is just being made.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// The orders of one command, loaded when the first is given.
#[derive(Default)]
pub(super) struct Hands {
    orders: Option<Orders>,
}

impl Hands {
    fn orders(&mut self, pins: &Pins) -> Result<&mut Orders, Error> {
        if self.orders.is_none() {
            self.orders = Some(Orders::to(pins)?);
        }
        self.orders.as_mut().ok_or_else(|| Error::Unsettled("orders to the datapath".to_owned()))
    }

    pub(super) fn give(&mut self, pins: &Pins, ports: PoolPorts) -> Result<(), Error> {
        Ok(self.orders(pins)?.give(ports)?)
    }

    /// Takes ports; with a firm grip all of them, but for those that the target itself holds.
    pub(super) fn take(&mut self, pins: &Pins, ports: PoolPorts, grip: Grip) -> Result<(), Error> {
        let maps = Maps::of(pins);
        let id = match grip {
            Grip::Loose => return Ok(self.orders(pins)?.take(ports).map(drop)?),
            Grip::Firm(id) | Grip::Force(id) => id,
        };
        let Some(rule) = maps.rule(id)? else { return Ok(()) };
        let mut left = 0;
        for _ in 0..TRIES {
            left = self.orders(pins)?.take(ports)?;
            let holders = maps.holders(ports)?;
            let targets = holders.iter().filter(|holder| holder.is_target(&rule)).count();
            let others: Vec<_> = holders.iter().filter(|holder| !holder.is_target(&rule)).collect();
            if others.is_empty() && left as usize <= targets {
                return Ok(());
            }
            match grip {
                Grip::Force(_) => self.end(pins, ports, &rule)?,
                Grip::Loose | Grip::Firm(_) if others.is_empty() => {}
                Grip::Loose | Grip::Firm(_) => return Err(held(pins, ports, &rule, &others)?),
            }
            thread::sleep(PAUSE);
        }
        let (proto, ports) = (rule.protocol(), ports.ports);
        Err(Fault::from(ForwardFault::Racing { proto, ports, count: left }).into())
    }

    /// Ends the connections that use the ports, but for the target's own.
    fn end(&mut self, pins: &Pins, ports: PoolPorts, rule: &Rule) -> Result<(), Error> {
        for connection in Tables::of(pins.clone()).connections()? {
            if uses(&connection, ports) && !is_targets(&connection, rule) {
                self.orders(pins)?.end(&connection)?;
            }
        }
        Ok(())
    }
}

fn uses(connection: &Connection, ports: PoolPorts) -> bool {
    let out = &connection.out;
    out.flags & flag::FORWARD == 0
        && pool::number(out.outside, connection.key.proto) == Some(ports.pool)
        && ports.ports.contains(out.sport)
}

fn is_targets(connection: &Connection, rule: &Rule) -> bool {
    let key = &connection.key;
    key.saddr == rule.forward.inside && key.sport == rule.forward.inward(connection.out.sport)
}

fn held(pins: &Pins, ports: PoolPorts, rule: &Rule, holders: &[&Holder]) -> Result<Error, Error> {
    let outsides = Maps::of(pins).outsides()?;
    let outside = outsides.get(&(ports.pool / pool::PER_ADDRESS)).copied().unwrap_or_default();
    Ok(Error::Faults(holders.iter().map(|holder| holder.fault(rule, outside.addr)).collect()))
}
