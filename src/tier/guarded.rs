//! Whether a guard watches over the stubs of a root.

use crate::site::Guard;
use crate::state::RootRow;

/// The guard has proven itself for this root since the machine booted: it holds
/// the permission events of the root's file system and has turned its own probe
/// stub into data. Without that, a program that opens a stub reads zeros. The
/// error says why not.
pub fn guard_has_proven_itself(
    guard: Option<&mut dyn Guard>,
    root: &RootRow,
) -> Result<(), String> {
    match guard {
        Some(guard) => guard.watches(root),
        None => Err("no recall guard watches this root".to_owned()),
    }
}

/// The condition under which stubs may exist: a guard, or a policy that accepts
/// stubs without one (`unguarded = true`). Where a guard is at work its word
/// counts whatever the policy says: no run may free blocks beside it.
pub fn stubs_allowed(
    guard: Option<&mut dyn Guard>,
    root: &RootRow,
    policy_says_unguarded: bool,
) -> Result<(), String> {
    if guard.is_none() && policy_says_unguarded {
        return Ok(());
    }
    guard_has_proven_itself(guard, root)
}
