//! The datapath's log: a ring buffer that the programs write and one reader at a time empties.

use std::sync::{Arc, Mutex, PoisonError};

use aya::programs::ProgramInfo;
use aya_log::EbpfLogger;
use log::{Metadata, Record};

use super::error::Error;
use super::pins::Pins;
use crate::spec::Hook;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its level, in lower case.
    pub level: String,
    /// What it says.
    pub message: String,
}

/// Where the reader of the ring buffer leaves its lines.
#[derive(Clone, Debug, Default)]
struct Basket {
    lines: Arc<Mutex<Vec<Line>>>,
}

impl log::Log for Basket {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = record.level().as_str().to_ascii_lowercase();
        let line = Line { level, message: record.args().to_string() };
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn flush(&self) {}
}

/// The log of one instance.
pub struct Log {
    reader: EbpfLogger<Basket>,
    basket: Basket,
}

impl Log {
    /// Opens the log by the pinned programs.
    ///
    /// # Errors
    /// When they are not there.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        let basket = Basket::default();
        let doing = || "open the log".to_owned();
        let program = ProgramInfo::from_pin(pins.program(Hook::In));
        let id = program.map_err(|error| Error::hook(doing(), error))?.id();
        let reader = EbpfLogger::init_from_id_with_logger(id, basket.clone());
        Ok(Self { reader: reader.map_err(|error| Error::hook(doing(), error))?, basket })
    }

    /// Takes out every line there is.
    pub fn take(&mut self) -> Vec<Line> {
        self.reader.flush();
        let mut lines = self.basket.lines.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut lines)
    }
}
