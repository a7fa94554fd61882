//! `hsm gc` with the real program: what goes and what stays, what is refused, what a
//! kill leaves, two servers at once, and every store call of one run with another
//! run in the middle.

#[path = "gc/beside.rs"]
mod beside;
#[path = "gc/between.rs"]
mod between;
#[path = "gc/cycle.rs"]
mod cycle;
#[path = "gc/killed.rs"]
mod killed;
#[path = "gc/place.rs"]
mod place;
#[path = "gc/refused.rs"]
mod refused;
#[path = "gc/storm.rs"]
mod storm;
mod support;
#[path = "gc/two.rs"]
mod two;
