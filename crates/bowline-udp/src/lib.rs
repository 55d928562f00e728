//! Drives bowline machines over std UDP sockets.
#![no_std]
