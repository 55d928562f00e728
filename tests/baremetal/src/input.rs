//! Values that the optimiser can neither know nor drop.

use core::hint::black_box;

/// A source of unknown values.
pub struct Input;

impl Input {
    /// Any 32-bit number.
    pub fn word(&mut self) -> u32 {
        black_box(0)
    }

    /// Any 64-bit number.
    pub fn long(&mut self) -> u64 {
        black_box(0)
    }

    /// Any index or length, far beyond any memory.
    pub fn index(&mut self) -> usize {
        black_box(0)
    }

    /// Any bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        black_box([0; N])
    }
}

/// Keeps `value` from being optimised away, together with all that led to it.
pub fn keep<T>(value: T) {
    black_box(value);
}
