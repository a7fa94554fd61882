//! Named points where a test may make the process die or an effect fail.
//!
//! Compiled to nothing unless the `fault-points` feature is on (`cargo test`
//! turns it on, release builds never have it). Environment variables drive
//! it, read once:
//!
//! * `HSM_FAULT_ABORT=NAME[:N]`: abort the process, like a power cut of the
//!   program, when the point NAME is reached for the N-th time (default 1).
//! * `HSM_FAULT_FAIL=N`: the N-th effect of the process, counted over every
//!   call of [`effect`], fails with `EIO`.
//! * `HSM_FAULT_HOLD=NAME:FIFO`: when the point NAME is reached for the first
//!   time, wait there until someone has opened the FIFO for writing and closed
//!   it again, so that a test can change the world at exactly this moment.
//! * `HSM_FAULT_COUNT=FILE`: write the number of effects passed to FILE at each
//!   effect, so that a test knows when N has gone past the last one.
//!
//! Call [`point`] at each arrow of the safety order (docs/SEMANTICS.md) and
//! [`effect`] just before each system call or store request that changes the
//! world.

/// The process may die here. `name` is `room.what`, for example
/// `upload.pack-durable`.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

/// One effect on the world is about to happen; the error stands for its failure.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn effect(_name: &'static str) -> std::io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-points")]
pub use armed::{effect, point};

#[cfg(feature = "fault-points")]
mod armed {
    use std::io;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    struct Plan {
        abort_at: Option<(String, u64)>,
        hold_at: Option<(String, String)>,
        fail_nth: Option<u64>,
        count_file: Option<String>,
        reached: AtomicU64,
        held: AtomicBool,
        effects: AtomicU64,
    }

    fn plan() -> &'static Plan {
        static PLAN: OnceLock<Plan> = OnceLock::new();
        PLAN.get_or_init(|| Plan {
            abort_at: std::env::var("HSM_FAULT_ABORT").ok().map(|text| {
                match text.split_once(':') {
                    Some((name, nth)) => (name.to_owned(), nth.parse().unwrap_or(1)),
                    None => (text, 1),
                }
            }),
            hold_at: std::env::var("HSM_FAULT_HOLD").ok().and_then(|text| {
                let (name, fifo) = text.split_once(':')?;
                Some((name.to_owned(), fifo.to_owned()))
            }),
            fail_nth: std::env::var("HSM_FAULT_FAIL").ok().and_then(|n| n.parse().ok()),
            count_file: std::env::var("HSM_FAULT_COUNT").ok(),
            reached: AtomicU64::new(0),
            held: AtomicBool::new(false),
            effects: AtomicU64::new(0),
        })
    }

    pub fn point(name: &'static str) {
        let plan = plan();
        if let Some((wanted, fifo)) = &plan.hold_at
            && wanted == name
            && !plan.held.swap(true, Ordering::SeqCst)
        {
            // To open it waits for a writer; to read to its end, for its going.
            drop(std::fs::read(fifo));
        }
        let Some((wanted, nth)) = &plan.abort_at else { return };
        if wanted == name && plan.reached.fetch_add(1, Ordering::SeqCst) + 1 == *nth {
            std::process::abort();
        }
    }

    pub fn effect(name: &'static str) -> io::Result<()> {
        let plan = plan();
        if plan.fail_nth.is_none() && plan.count_file.is_none() {
            return Ok(());
        }
        let nth = plan.effects.fetch_add(1, Ordering::SeqCst) + 1;
        if let Some(file) = &plan.count_file {
            std::fs::write(file, nth.to_string())?;
        }
        if plan.fail_nth == Some(nth) {
            return Err(io::Error::other(format!("injected failure of effect {nth} ({name})")));
        }
        Ok(())
    }
}
