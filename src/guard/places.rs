//! Which file systems may be guarded.
