//! `hsm gc` with the real program: what goes and what stays, what is refused, what a
//! kill leaves, two servers at once, and every store call of one run with another
//! run in the middle.

#[path = "gc/beside.rs"]
mod beside;
#[path = "gc/cycle.rs"]
mod cycle;
#[path = "gc/killed.rs"]
mod killed;
#[path = "gc/place.rs"]
mod place;
#[path = "gc/storm.rs"]
mod storm;
#[path = "gc/refused.rs"]
mod refused;
mod support;
#[path = "gc/two.rs"]
mod two;
