//! The small traits bowline needs of cryptography, and providers behind features.
#![no_std]
