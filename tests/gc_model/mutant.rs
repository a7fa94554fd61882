//! The protocol with one rule taken out.

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mutant {
    None,
    /// A writer that lists the plans before it says that it is at work.
    LooksBeforeItOpens,
    /// A writer that acknowledges what it saw last, but asked for lasting chunks
    /// before.
    AcknowledgesWithoutAsking,
    /// A writer that does not list the plans again before a segment, and
    /// acknowledges what another process of its node has heard of.
    LooksOnce,
    /// A writer that asks again only while a plan is pending.
    ForgetsEnds,
    /// A collector that does not wait for open sessions.
    DoesNotWait,
    /// A collector that deletes what its plan says, without a second look.
    MarksOnce,
    /// A collector that deletes what it found itself, and puts the end afterwards.
    DeletesOnItsOwn,
    /// A collector that puts its plan in place of another's.
    ReplacesPlans,
}
