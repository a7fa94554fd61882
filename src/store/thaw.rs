//! Objects in an archive: there, safe, and not to be read before they are asked
//! for.
//!
//! That an object is archived says nothing against it: it is never taken for gone
//! or damaged. Which objects are, only the store knows: a lifecycle rule may have
//! moved them long after they were put.

/// Whether an object's bytes can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    #[default]
    Now,
    /// Not before a thaw, which nobody has asked for.
    Archived,
    /// Asked for and on its way: minutes to days.
    Thawing,
    /// A copy can be read, until then where the store says when it goes.
    Thawed { until_ns: Option<i64> },
}

impl Access {
    /// Whether a read would work.
    pub fn is_readable(self) -> bool {
        matches!(self, Self::Now | Self::Thawed { .. })
    }
}

/// What became of the order for a thaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thawing {
    /// The store has taken it; a copy that was there already is kept for longer.
    Ordered,
    /// It was on its way already.
    UnderWay,
    /// The object can be read as it is.
    NotArchived,
}
