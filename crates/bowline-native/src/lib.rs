//! The native bowline protocol: sans-I/O sessions and endpoint over lent memory.
#![no_std]
