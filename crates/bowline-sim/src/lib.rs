//! A virtual network with seeded impairments that drives any bowline machine.
#![no_std]
