// The memory that the committed trace was recorded on; the firmware includes this file too.

/// Six sessions of two channels and all five modes.
pub type Memory = bowline_native::Fixed<6, 2, 480, 560, 128, 5>;
