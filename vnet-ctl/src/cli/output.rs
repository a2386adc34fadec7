//! How answers and errors are printed.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::exit::Exit;
use crate::reconcile::Error;

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    /// JSON instead of text.
    pub(super) json: bool,
    /// JSON with indentation.
    pub(super) pretty: bool,
}

#[derive(Serialize)]
struct Failure<'a> {
    error: Message<'a>,
}

#[derive(Serialize)]
struct Message<'a> {
    code: u8,
    name: &'static str,
    messages: &'a [String],
}

impl Output {
    /// Prints the value as JSON, or the text.
    pub(super) fn print<T: Serialize>(
        &self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        self.write(&if self.json { self.to_json(value) + "\n" } else { text() })
    }

    /// The value as one line of JSON.
    pub(super) fn line<T: Serialize>(self, value: &T) -> String {
        Self { pretty: false, ..self }.to_json(value) + "\n"
    }

    /// Prints the text.
    pub(super) fn write(&self, text: &str) -> Result<(), Error> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        written.map_err(|error| Error::io("write the answer", error))
    }

    /// Prints sentences to stderr, which JSON readers need not see.
    pub(super) fn note(&self, sentence: &str) {
        if !self.json {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{sentence}");
        }
    }

    /// Prints why the command failed, to stderr.
    pub(super) fn error(&self, exit: Exit, sentences: &[String]) {
        let text = if self.json {
            let error = Message { code: exit.code(), name: exit.name(), messages: sentences };
            self.to_json(&Failure { error }) + "\n"
        } else {
            sentences.iter().map(|sentence| format!("vnetctl: {sentence}\n")).collect()
        };
        let _ = io::stderr().write_all(text.as_bytes());
    }

    fn to_json<T: Serialize>(self, value: &T) -> String {
        let json = if self.pretty {
            serde_json::to_string_pretty(value)
        } else {
            serde_json::to_string(value)
        };
        // Only maps with other keys than strings can fail, and no row has one.
        json.unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
    }
}
