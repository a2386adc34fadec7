//! `--watch`: the same answer again and again, as a live view on a terminal and as one snapshot
//! after the other elsewhere.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ratatui::{DefaultTerminal, Frame};

use super::output::Output;
use crate::exit::Exit;
use crate::fault::Fault;
use crate::reconcile::Error;

/// Options of commands that can be watched.
#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Show it again and again: a live view on a terminal (q or Ctrl-C ends it), else one snapshot after
    /// the other (with -j a line of JSON each)
    #[arg(long)]
    pub(super) watch: bool,
    /// Seconds between two looks
    #[arg(long, value_name = "S", default_value = "1")]
    interval: String,
}

impl Watch {
    fn interval(&self) -> Result<Duration, Fault> {
        let seconds = self.interval.parse().ok().filter(|s| (0.1..=3600.0).contains(s));
        let hint = "give a number of seconds from 0.1 to 3600";
        let odd = || Fault::Word { option: "--interval", given: self.interval.clone(), hint };
        seconds.map(Duration::from_secs_f64).ok_or_else(odd)
    }
}

/// What is shown at one moment.
pub(super) struct Snapshot {
    /// A line above the table.
    pub(super) title: String,
    /// The table; its first line is the heading.
    pub(super) text: String,
    /// The same for programs.
    pub(super) json: String,
}

/// Shows snapshots until the reader goes away. `take` is told how long ago the last one was, or
/// nothing the first time.
pub(super) async fn watch(
    args: &Watch,
    output: &Output,
    mut take: impl AsyncFnMut(Option<Duration>) -> Result<Snapshot, Error>,
) -> Result<Exit, Error> {
    let interval = args.interval()?;
    if !output.json && io::stdout().is_terminal() {
        // Asked once before, so that an error is printed on the screen it belongs to.
        let first = take(None).await?;
        let mut terminal = ratatui::init();
        let ended = live(&mut terminal, interval, first, &mut take).await;
        ratatui::restore();
        return ended.map(|()| Exit::Ok);
    }
    let mut stop = super::interrupts()?;
    let mut last = None;
    loop {
        let since = last.map(|last: Instant| last.elapsed());
        last = Some(Instant::now());
        let snapshot = take(since).await?;
        let Snapshot { title, text, json } = snapshot;
        output.write(&if output.json { json } else { format!("{title}\n{text}\n") })?;
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            _ = stop.recv() => return Ok(Exit::Ok),
        }
    }
}

async fn live(
    terminal: &mut DefaultTerminal,
    interval: Duration,
    mut snapshot: Snapshot,
    take: &mut impl AsyncFnMut(Option<Duration>) -> Result<Snapshot, Error>,
) -> Result<(), Error> {
    let screen = |error| Error::io("draw on the terminal", error);
    let mut taken = Instant::now();
    let mut scroll = 0;
    loop {
        terminal.draw(|frame| draw(frame, &snapshot, scroll)).map_err(screen)?;
        let left = interval.saturating_sub(taken.elapsed());
        if event::poll(left).map_err(screen)? {
            match key(&event::read().map_err(screen)?) {
                Key::End => return Ok(()),
                Key::Scroll(by) => scroll = limited(scroll, by, &snapshot),
                Key::Other => {}
            }
        } else {
            let since = taken.elapsed();
            taken = Instant::now();
            snapshot = take(Some(since)).await?;
            scroll = limited(scroll, 0, &snapshot);
        }
    }
}

/// The first line shown, kept within the table.
fn limited(scroll: u16, by: i16, snapshot: &Snapshot) -> u16 {
    let last = snapshot.text.lines().count().saturating_sub(2);
    scroll.saturating_add_signed(by).min(u16::try_from(last).unwrap_or(u16::MAX))
}

enum Key {
    End,
    Scroll(i16),
    Other,
}

fn key(event: &Event) -> Key {
    let Event::Key(key) = event else { return Key::Other };
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if key.kind == KeyEventKind::Release {
        return Key::Other;
    }
    const STEPS: [(KeyCode, i16); 6] = [
        (KeyCode::Up, -1),
        (KeyCode::Down, 1),
        (KeyCode::PageUp, -20),
        (KeyCode::PageDown, 20),
        (KeyCode::Home, i16::MIN),
        (KeyCode::End, i16::MAX),
    ];
    let ends = [KeyCode::Char('q'), KeyCode::Esc].contains(&key.code);
    if ends || (control && key.code == KeyCode::Char('c')) {
        return Key::End;
    }
    let step = STEPS.into_iter().find(|(code, _)| *code == key.code);
    step.map_or(Key::Other, |(_, by)| Key::Scroll(by))
}

fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, scroll: u16) {
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(0)];
    let [title, heading, body] = Layout::vertical(rows).areas(frame.area());
    let mut lines = snapshot.text.lines();
    let keys = "   q ends, arrows scroll".dim();
    frame.render_widget(Line::from(vec![snapshot.title.as_str().bold(), keys]), title);
    let head = lines.next().unwrap_or_default();
    frame.render_widget(Paragraph::new(head).style(Style::new().reversed()), heading);
    let rest: Vec<_> = lines.map(Line::from).collect();
    frame.render_widget(Paragraph::new(rest).scroll((scroll, 0)), body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scrolling_stays_within_the_table() {
        let text = "head\n1\n2\n3\n".to_owned();
        let snapshot = Snapshot { title: String::new(), text, json: String::new() };
        assert_eq!(limited(0, -1, &snapshot), 0);
        assert_eq!(limited(0, i16::MAX, &snapshot), 2);
        assert_eq!(limited(1, i16::MIN, &snapshot), 0);
    }

    #[test]
    fn intervals() {
        let args = |interval: &str| Watch { watch: true, interval: interval.to_owned() };
        assert_eq!(args("0.5").interval(), Ok(Duration::from_millis(500)));
        for bad in ["0", "-1", "soon", "NaN", "4000"] {
            assert!(args(bad).interval().is_err(), "{bad}");
        }
    }
}
