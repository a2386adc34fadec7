//! Progress in plain words: spinners on a terminal, one line per step elsewhere.

use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where steps are shown; shared by threads.
pub(super) struct Talk {
    bars: Option<MultiProgress>,
}

/// One step under way.
pub(super) struct Step<'a> {
    talk: &'a Talk,
    bar: Option<ProgressBar>,
    begun: Instant,
}

impl Talk {
    pub(super) fn new() -> Self {
        Self { bars: stderr().is_terminal().then(MultiProgress::new) }
    }

    /// Prints one line above any spinners.
    pub(super) fn line(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Starts a step that may take a while.
    pub(super) fn step(&self, text: &str) -> Step<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new_spinner());
            let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let step = Step { talk: self, bar, begun: Instant::now() };
        step.say(text);
        step
    }
}

impl Step<'_> {
    /// Says what the step is doing now.
    pub(super) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => self.talk.line(text),
        }
    }

    /// Ends the step with what came of it and how long it took.
    pub(super) fn done(self, text: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.talk.line(&format!("{text} ({seconds:.1} s)"));
    }
}
