//! Memory for what is known of those who want to come in.

use bowline_core::Link;

use crate::bans::Ban;
use crate::sources::{SourceCount, SourceRate};

/// Memory that an endpoint borrows when somebody asks for a session, or is kept from doing so. Apart from
/// [`Parts`](crate::Parts), since no packet of a session needs it.
///
/// Any of it may be empty: then nobody can be banned, or held to a rate, or to a number of sessions.
#[derive(Debug)]
pub struct Gate<'m> {
    /// One per ban; [`Ban::VACANT`] to begin with.
    pub bans: &'m mut [Ban],
    /// At least twice as many as bans; [`Link::NONE`] to begin with.
    pub ban_index: &'m mut [Link],
    /// How many bans there may be once the memory has grown.
    pub bans_max: u32,
    /// Sources that asked lately; [`SourceRate::VACANT`] to begin with.
    pub rates: &'m mut [SourceRate],
    /// At least twice as many as sessions, if [`Config::source_sessions_max`](crate::Config::source_sessions_max)
    /// asks for them; [`SourceCount::VACANT`] to begin with.
    pub counts: &'m mut [SourceCount],
}
