//! An allocator that counts what is asked of it, and refuses when told to.
//!
//! Only what happens inside [`watch`] counts, and only on the thread that called it: what tests do between
//! the calls that they watch, and in other threads, is their own affair. A test says
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: bowline_tests::allocator::Watchful = bowline_tests::allocator::Watchful;
//! ```
//!
//! In programs without this, nothing is counted and nothing refused.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ops::Range;
use std::alloc::System;

/// The system's allocator, watched.
#[derive(Debug)]
pub struct Watchful;

/// What was asked of the allocator inside [`watch`], on one thread.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Requests for memory that was not held before.
    pub allocations: u64,
    /// Requests for another length.
    pub reallocations: u64,
    /// Times that memory was given back.
    pub frees: u64,
    /// Bytes asked for and not given back, in all.
    pub bytes: i64,
    /// Requests that were refused; they count above, too.
    pub refusals: u64,
}

impl Counts {
    const NONE: Self = Self { allocations: 0, reallocations: 0, frees: 0, bytes: 0, refusals: 0 };

    /// How often memory was asked for.
    pub const fn requests(&self) -> u64 {
        self.allocations + self.reallocations
    }

    /// What came on top of `before`.
    #[must_use]
    pub const fn since(&self, before: &Self) -> Self {
        Self {
            allocations: self.allocations - before.allocations,
            reallocations: self.reallocations - before.reallocations,
            frees: self.frees - before.frees,
            bytes: self.bytes - before.bytes,
            refusals: self.refusals - before.refusals,
        }
    }
}

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static COUNTS: Cell<Counts> = const { Cell::new(Counts::NONE) };
    static REFUSED: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
}

/// Counts what `f` asks of the allocator.
pub fn watch<T>(f: impl FnOnce() -> T) -> T {
    struct Watching;
    impl Drop for Watching {
        fn drop(&mut self) {
            DEPTH.set(DEPTH.get() - 1);
        }
    }
    DEPTH.set(DEPTH.get() + 1);
    let _watching = Watching;
    f()
}

/// What was counted on this thread so far.
pub fn counts() -> Counts {
    COUNTS.get()
}

/// Has the allocator refuse these of the requests on this thread that are still to come inside [`watch`]; the
/// next one is number 0. An empty range refuses nothing any more.
pub fn refuse(requests: Range<u64>) {
    let next = COUNTS.get().requests();
    REFUSED.set((next.saturating_add(requests.start), next.saturating_add(requests.end)));
}

/// Whether this program has the allocator that is watched.
pub fn is_watched() -> bool {
    let before = counts().requests();
    watch(|| drop(core::hint::black_box(Box::new(0_u8))));
    counts().requests() > before
}

/// Counts a request, and tells whether it is granted.
fn on_request(anew: bool, more: i64) -> bool {
    if DEPTH.try_with(Cell::get).unwrap_or(0) == 0 {
        return true;
    }
    let mut counts = COUNTS.get();
    let (from, to) = REFUSED.get();
    let granted = !(from..to).contains(&counts.requests());
    counts.allocations += u64::from(anew);
    counts.reallocations += u64::from(!anew);
    counts.refusals += u64::from(!granted);
    counts.bytes += if granted { more } else { 0 };
    COUNTS.set(counts);
    granted
}

fn on_free(len: usize) {
    if DEPTH.try_with(Cell::get).unwrap_or(0) > 0 {
        let mut counts = COUNTS.get();
        counts.frees += 1;
        counts.bytes -= len as i64;
        COUNTS.set(counts);
    }
}

// SAFETY: all memory is the system allocator's, to which every request that is granted is handed on as it is; no
// memory is what a refused one gets, which an allocator may always answer. Counting touches only
// thread-local cells that need neither memory nor a destructor.
unsafe impl GlobalAlloc for Watchful {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if on_request(true, layout.size() as i64) {
            // SAFETY: the caller's promises are those that the system's allocator asks for.
            unsafe { System.alloc(layout) }
        } else {
            core::ptr::null_mut()
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if on_request(true, layout.size() as i64) {
            // SAFETY: as above.
            unsafe { System.alloc_zeroed(layout) }
        } else {
            core::ptr::null_mut()
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if on_request(false, len as i64 - layout.size() as i64) {
            // SAFETY: as above.
            unsafe { System.realloc(memory, layout, len) }
        } else {
            core::ptr::null_mut()
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        on_free(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}
