//! Fuzzing for whoever builds on bowline: the models that its own fuzz targets and simulated worlds are held
//! against.
//!
//! [`oracle`] is told what was sent and what arrived, and says what must not have.

extern crate alloc;

pub mod oracle;
