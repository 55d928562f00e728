//! The mechanisms of `bowline-transport`, each against an obvious model.
