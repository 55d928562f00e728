//! The mechanisms of reliable datagram protocols, one file each, usable alone.
#![no_std]
