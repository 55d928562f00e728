//! The end of a run: the link is kind, and all promises are due.

use bowline_core::{Duration, Mode};

use super::{Hostile, Report};
use crate::oracle::Direction;
use crate::{Failure, Side};

/// How long the link is kind before anything is counted as missing; longer than any timeout.
const PATIENCE: u32 = 120;
/// Messages up to this length travel whole, in bytes.
const WHOLE_MAX: usize = 400;
const SECOND: Duration = Duration::from_secs(1);
const DELAY: Duration = Duration::from_millis(5);

impl Hostile<'_> {
    /// The link turns kind, everybody listens, then says goodbye, and then nothing may be left.
    ///
    /// # Errors
    ///
    /// What is missing or left over, or else wrong.
    pub fn end(mut self) -> Result<Report, Failure> {
        self.attentive = [true; 2];
        for side in Side::BOTH {
            self.away[side.index()] = false;
            self.subjects[side.index()].set_suspended(self.now, false);
        }
        self.run(SECOND, DELAY)?;
        self.wait(|world| world.unsettled())?;
        for side in Side::BOTH {
            for at in 0..self.sessions[side.index()].len() {
                // Where somebody meddled with a session nothing may ever be whole again.
                let peer = self.sessions[side.index()][at].peer;
                match self.tainted || self.is_rogue(side, peer) {
                    true => self.close(side, at as u8, 1),
                    false => self.finish(side, at as u8, 1),
                }
            }
        }
        self.wait(|world| {
            let sessions = world.sessions.iter().flatten();
            sessions.map(|session| format!("{session:?} does not end")).collect()
        })?;
        self.wait(|world| world.leftovers())?;
        Ok(self.report())
    }

    /// Waits until nothing is missing.
    fn wait(&mut self, missing: impl Fn(&mut Self) -> Vec<String>) -> Result<(), Failure> {
        for _ in 0..PATIENCE {
            if missing(self).is_empty() {
                return Ok(());
            }
            self.run(SECOND, DELAY)?;
        }
        Err(Failure::Stuck(missing(self)))
    }

    /// What has not arrived, or not found an end, in sessions that both sides have.
    fn unsettled(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        for side in Side::BOTH {
            for session in &self.sessions[side.index()] {
                if self.is_rogue(side, session.peer) {
                    continue;
                }
                let Some(out) = session.out else {
                    all.push(format!("{side:?}: {session:?} does not begin"));
                    continue;
                };
                if self.tainted {
                    continue;
                }
                if session.full {
                    all.push(format!("{side:?}: {session:?} was never writable again"));
                }
                let pending = self.ledgers[side.index()].pending(session.peer).count();
                if pending > 0 {
                    all.push(format!("{side:?}: {pending} tagged messages have no end"));
                }
                let back = Direction { by_client: !out.by_client, ..out };
                let others = &self.sessions[side.other().index()];
                if session.closing || !others.iter().any(|other| other.out == Some(back)) {
                    all.push(format!("{side:?}: {session:?} has not ended"));
                    continue;
                }
                let missing = self.oracle.reliable_missing(out);
                if missing > 0 {
                    all.push(format!("{side:?}: {missing} reliable messages of {session:?}"));
                }
                let lost = self.oracle.acked_missing(out, must_have);
                if lost > 0 {
                    all.push(format!("{side:?}: {lost} acknowledged messages were not delivered"));
                }
            }
        }
        all
    }

    /// What is in use when nothing should be.
    fn leftovers(&mut self) -> Vec<String> {
        let left = Side::BOTH.into_iter().filter_map(|side| {
            let in_use = self.subjects[side.index()].leftovers()?;
            Some(format!("{side:?}: {in_use}"))
        });
        left.collect()
    }
}

/// Whether an acknowledged message was delivered for certain: one that is late may be passed over or replaced, and one
/// in fragments may be given up after all of them have arrived.
fn must_have(mode: Mode, len: usize) -> bool {
    match mode {
        Mode::Unreliable => len <= WHOLE_MAX,
        Mode::Reliable | Mode::ReliableUnordered => true,
        _ => false,
    }
}
