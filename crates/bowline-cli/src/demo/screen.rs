//! What is seen while the demonstration runs: a table that is redrawn on a terminal, a line now and
//! then where the output goes elsewhere, nothing where JSON was asked for.

use std::io::{self, IsTerminal, Write};

use bowline::{Duration, Mode};
use console::Term;

use super::options::Options;
use super::oracle::Oracle;
use super::report::{lane_table, thousands};

/// Between two drawings of the table.
const FRAME: Duration = Duration::from_millis(200);
/// Between two lines.
const LINE: Duration = Duration::from_secs(2);

/// Where progress is shown.
#[derive(Debug)]
pub(super) struct Screen {
    terminal: Option<Term>,
    is_silent: bool,
    /// Lines of the table that is shown now.
    drawn: usize,
    next: Duration,
}

impl Screen {
    pub(super) fn new(options: &Options) -> Self {
        let terminal = (!options.json && io::stdout().is_terminal()).then(Term::stdout);
        Self { terminal, is_silent: options.json, drawn: 0, next: Duration::ZERO }
    }

    pub(super) fn heading(&self, text: &str) -> io::Result<()> {
        if self.is_silent { Ok(()) } else { writeln!(io::stdout(), "{text}\n") }
    }

    /// Shows how things are after `elapsed`, if it is time to.
    pub(super) fn refresh(&mut self, elapsed: Duration, oracle: &Oracle) -> io::Result<()> {
        if self.is_silent || elapsed < self.next {
            return Ok(());
        }
        self.next = elapsed + if self.terminal.is_some() { FRAME } else { LINE };
        let state = state(elapsed, oracle);
        let Some(terminal) = self.terminal.clone() else {
            return writeln!(io::stdout(), "{state}");
        };
        let (rows, columns) = terminal.size();
        let table = lane_table(&oracle.tally).to_string();
        // What has scrolled away cannot be redrawn.
        let lines: Vec<_> = core::iter::once(&*state)
            .chain(table.lines())
            .take(usize::from(rows).saturating_sub(2))
            .map(|line| console::truncate_str(line, columns.into(), ""))
            .collect();
        self.clear()?;
        terminal.write_line(&lines.join("\n"))?;
        self.drawn = lines.len();
        Ok(())
    }

    /// Takes the table away.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let drawn = core::mem::take(&mut self.drawn);
        self.terminal.as_ref().map_or(Ok(()), |terminal| terminal.clear_last_lines(drawn))
    }
}

fn state(elapsed: Duration, oracle: &Oracle) -> String {
    let total = oracle.tally.total(None);
    let missing = oracle.reliable_missing();
    format!(
        "{:>5.1} s: {} messages sent, {} delivered, {} {} under way, {} promises broken",
        elapsed.as_millis() as f64 / 1e3,
        thousands(total.sent),
        thousands(total.delivered),
        thousands(missing),
        Mode::Reliable,
        oracle.breach_count,
    )
}
