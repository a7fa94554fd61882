//! Whether a guard watches over the stubs of a root.

use crate::os::tree::RootDir;

/// A guard has proven itself for this root since the machine booted: it holds
/// the permission events of the root's file system and has turned its own probe
/// stub into data. Without that, a program that opens a stub reads zeros.
///
/// No guard exists in this version, so the answer is always the reason why not.
pub fn guard_has_proven_itself(_root: &RootDir) -> Result<(), String> {
    Err("no recall guard watches this root".to_owned())
}

/// The condition under which stubs may exist: a guard, or a policy that accepts
/// stubs without one (`unguarded = true`).
pub fn stubs_allowed(root: &RootDir, policy_says_unguarded: bool) -> Result<(), String> {
    if policy_says_unguarded {
        return Ok(());
    }
    guard_has_proven_itself(root)
}
