//! The native bowline wire format as views and values over byte slices.
#![no_std]
