// The classes of channels of the endpoint that the committed trace was recorded of; the firmware includes this
// file too.

/// How the recorded endpoint's channels stand among each other.
pub static CLASSES: [bowline_native::Class; 2] = [
    bowline_native::Class { priority: 200, rate_max: 20_000, ..bowline_native::Class::DEFAULT },
    bowline_native::Class { weight: 40, rate_min: 2_000, ..bowline_native::Class::DEFAULT },
];
