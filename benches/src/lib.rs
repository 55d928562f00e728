//! Workloads whose cost is counted, and the memory that sessions take.
//!
//! Everything runs in virtual time over a link in memory, so the same build executes the same
//! instructions each time. `cargo xtask callgrind` counts those in [`measured_region`] and
//! nothing else, and writes `HOTPATH.md`; run without a counter, a workload only checks that
//! every message arrives.

pub mod floor;
pub mod link;
pub mod pair;
pub mod protocol;
pub mod server;
pub mod tally;
pub mod workloads;

use bowline_core::Duration;

use crate::link::Carried;

/// Time between two ticks.
pub const TICK: Duration = Duration::from_millis(16);

/// Something that is done tick by tick and whose cost is counted.
pub trait Workload {
    /// What belongs to the tick but is not counted.
    fn prepare(&mut self) {}

    /// What is counted.
    fn tick(&mut self);

    /// After the last tick: sees that everything has arrived, and tells what was done since
    /// [`Workload::begin`].
    fn finish(&mut self) -> Work;

    /// The ticks from here on count.
    fn begin(&mut self);
}

/// How much was done while it counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Messages that were sent, or ticks of one peer.
    pub units: u64,
    /// Bytes of those messages.
    pub bytes: u64,
    /// What carried them.
    pub forth: Carried,
    /// What went the other way.
    pub back: Carried,
}

/// Runs a workload: first until its memory has grown to what it needs, then counted.
pub fn run(mut workload: impl Workload, warm: u32, counted: u32) -> Work {
    for _ in 0..warm {
        workload.prepare();
        workload.tick();
    }
    workload.begin();
    for _ in 0..counted {
        workload.prepare();
        measured_region(&mut workload);
    }
    workload.finish()
}

/// What the instruction counter is switched on for.
#[inline(never)]
pub fn measured_region<W: Workload>(workload: &mut W) {
    workload.tick();
}
