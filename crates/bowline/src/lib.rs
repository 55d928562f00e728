//! Reliable UDP as pure state machines: the paved path.
#![no_std]
