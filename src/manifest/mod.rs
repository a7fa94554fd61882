//! Stand-in for the proof value of the manifest room.

mod copy;

pub use copy::{PackEvidence, ProofMethod};
