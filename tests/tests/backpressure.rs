//! Who is told that there is no room is told when there is, and nobody takes what another was promised.
