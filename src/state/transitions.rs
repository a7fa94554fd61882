//! Changes of state of managed files, in batches, each in one transaction.
//!
//! `begin_*` records intent, durably, before the effect on disk; it passes over files
//! that are not in the state it starts from and returns them, so that the
//! caller leaves them alone. `finish_*` and `cancel_*` record what has happened.
//! There a file in another state means one of two things:
//!
//! * A guard recalled it in the meantime, because a program opened it between
//!   the effect and its record. The guard's own record
//!   ([`StateDb::record_recalls`]) took the row to `uploaded` and stands in the
//!   recall log behind the batch's intent. Such a file is passed over and
//!   returned: what the guard recorded is younger than what the batch knows.
//! * Two runs work on one root. Any other state says so, and so does `uploaded`
//!   without that entry of the log. The whole batch is refused: the files stay
//!   transient and are looked at by the next run.
//!
//! Where the log ended is kept in memory from one `begin_*` to the next, so one
//! [`StateDb`] works on one batch at a time.

use super::error::{During, Error, Result};
use super::events::{Actor, Notes, what};
use super::files::wrong_state;
use super::open::StateDb;
use super::recalls;
use super::roots::RootId;
use crate::ids::FileIdent;
use crate::policy::FileState;
use rusqlite::{Connection, OptionalExtension, ToSql};

impl StateDb {
    /// Uploaded files are about to lose their blocks. Returns those that are
    /// not `uploaded`. Durable on return, with the uploads before it: the stubs
    /// will be, and an ordinary user's marker counts only with its row.
    pub fn begin_stubs(&mut self, root: RootId, files: &[FileIdent]) -> Result<Vec<FileIdent>> {
        self.begin("beginning to stub", root, files, &[FileState::Uploaded], FileState::Stubbing)
    }

    /// The blocks are freed; `ctime_ns` is what our last write of metadata left.
    /// Returns the files that a guard has recalled since.
    pub fn finish_stubs(
        &mut self,
        root: RootId,
        files: &[(FileIdent, i64)],
        now_ns: i64,
    ) -> Result<Vec<FileIdent>> {
        let set = "state = 'stub', former_state = NULL, reason = NULL,
             ctime_ns = ?5, stubbed_ns = ?6";
        let what = Some(what::STUBBED);
        let way = Way { operation: "recording stubs", root, from: FileState::Stubbing, set, what };
        self.leave(
            &way,
            now_ns,
            files.iter().map(|(ident, ctime_ns)| (*ident, [*ctime_ns, now_ns])),
        )
    }

    /// Nothing was freed: the files are `uploaded` as before. Returns the files
    /// that a guard has recalled since.
    pub fn cancel_stubs(&mut self, root: RootId, files: &[FileIdent]) -> Result<Vec<FileIdent>> {
        self.cancel("cancelling stubs", root, files, FileState::Stubbing)
    }

    /// Stubs are about to be filled. Returns those that are neither stubs nor
    /// damaged ones.
    pub fn begin_recalls(&mut self, root: RootId, files: &[FileIdent]) -> Result<Vec<FileIdent>> {
        let from = [FileState::Stub, FileState::Damaged];
        self.begin("beginning to recall", root, files, &from, FileState::Recalling)
    }

    /// The data is back, durable and verified; (file, ctime, mtime) as we left it.
    /// Returns the files that a guard has recalled since the intent.
    pub fn finish_recalls(
        &mut self,
        root: RootId,
        files: &[(FileIdent, i64, i64)],
        now_ns: i64,
    ) -> Result<Vec<FileIdent>> {
        let set = "state = 'uploaded', former_state = NULL, reason = NULL,
             ctime_ns = ?5, mtime_ns = ?6, recalled_ns = ?7";
        let what = Some(what::RECALLED);
        let (operation, from) = ("recording recalls", FileState::Recalling);
        let way = Way { operation, root, from, set, what };
        let files = files.iter();
        let passed = self.leave(
            &way,
            now_ns,
            files.clone().map(|(ident, c, m)| (*ident, [*c, *m, now_ns])),
        )?;
        self.await_no_more(root, files.map(|(ident, ..)| *ident))?;
        Ok(passed)
    }

    /// The stubs are as they were before `begin_recalls`. Returns the files that
    /// a guard has recalled since.
    pub fn cancel_recalls(&mut self, root: RootId, files: &[FileIdent]) -> Result<Vec<FileIdent>> {
        self.cancel("cancelling recalls", root, files, FileState::Recalling)
    }

    /// Puts a managed file into `state`, whatever it was in, and says why: for
    /// recovery, which has looked at the file, and for verify.
    pub fn set_state(
        &mut self,
        root: RootId,
        ident: FileIdent,
        state: FileState,
        reason: Option<&str>,
    ) -> Result<()> {
        let operation = "setting a state";
        let Actor { name, clock } = self.actor.clone();
        self.write(operation, |tx| {
            let key = (root.0, ident.ino as i64, ident.generation);
            let before: Option<(String, Option<String>)> = tx
                .query_row(
                    "SELECT state, reason FROM file
                     WHERE root_id = ?1 AND ino = ?2 AND generation = ?3",
                    key,
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
                .during(operation)?;
            let Some((was, reason_was)) = before else {
                return Err(wrong_state(operation, ident, state, None));
            };
            tx.execute(
                "UPDATE file SET state = ?4, reason = ?5, former_state = NULL
                 WHERE root_id = ?1 AND ino = ?2 AND generation = ?3",
                (key.0, key.1, key.2, state.as_str(), reason),
            )
            .during(operation)?;
            if (was.as_str(), reason_was.as_deref()) != (state.as_str(), reason) {
                let mut notes = Notes::new(tx, root, &name, clock.now_ns())?;
                notes.note(ident, event_of(&was, state, reason), reason)?;
                notes.end()?;
            }
            Ok(())
        })
    }

    /// Files that were looked at and are what we left, though another program
    /// changed their (mtime, ctime): chmod, rename, touch. Their attributes are
    /// to be catalogued again.
    pub fn settle(&mut self, root: RootId, files: &[(FileIdent, i64, i64)]) -> Result<()> {
        let operation = "recording changed attributes";
        self.write(operation, |tx| {
            let mut update = tx
                .prepare_cached(
                    "UPDATE file SET mtime_ns = ?4, ctime_ns = ?5, segment_seq = NULL
                     WHERE root_id = ?1 AND ino = ?2 AND generation = ?3",
                )
                .during(operation)?;
            for (ident, mtime_ns, ctime_ns) in files {
                update
                    .execute((root.0, ident.ino as i64, ident.generation, mtime_ns, ctime_ns))
                    .during(operation)?;
            }
            Ok(())
        })
    }

    fn begin(
        &mut self,
        operation: &'static str,
        root: RootId,
        files: &[FileIdent],
        from: &[FileState],
        to: FileState,
    ) -> Result<Vec<FileIdent>> {
        let (refused, recalls) = self.write_durably(operation, |tx| {
            let mut refused = Vec::new();
            for ident in files {
                let found = state_of(tx, operation, root, ident)?;
                let allowed = from.iter().any(|from| found.as_deref() == Some(from.as_str()));
                if !allowed {
                    refused.push(*ident);
                    continue;
                }
                tx.prepare_cached(
                    "UPDATE file SET former_state = state, state = ?3
                     WHERE root_id = ?1 AND ino = ?2",
                )
                .and_then(|mut set| set.execute((root.0, ident.ino as i64, to.as_str())))
                .during(operation)?;
            }
            Ok((refused, recalls::last(tx)?))
        })?;
        self.recalls_at_intent = recalls;
        Ok(refused)
    }

    fn cancel(
        &mut self,
        operation: &'static str,
        root: RootId,
        files: &[FileIdent],
        from: FileState,
    ) -> Result<Vec<FileIdent>> {
        let set = "state = former_state, former_state = NULL";
        let way = Way { operation, root, from, set, what: None };
        self.leave(&way, 0, files.iter().map(|ident| (*ident, [])))
    }

    /// Each file with the parameters of the way's `set`.
    fn leave<const N: usize>(
        &mut self,
        way: &Way<'_>,
        now_ns: i64,
        files: impl Iterator<Item = (FileIdent, [i64; N])>,
    ) -> Result<Vec<FileIdent>> {
        let (since, actor) = (self.recalls_at_intent, self.actor.name.clone());
        self.write(way.operation, |tx| {
            let mut notes = Notes::new(tx, way.root, &actor, now_ns)?;
            let mut recalled = Vec::new();
            for (ident, values) in files {
                match way.what {
                    _ if !way.take(tx, ident, &values, since)? => recalled.push(ident),
                    Some(what::STUBBED) => notes.note_with_rule(ident, what::STUBBED)?,
                    Some(what) => notes.note(ident, what, None)?,
                    None => {}
                }
            }
            notes.end()?;
            Ok(recalled)
        })
    }
}

/// What it means that a file is put into a state.
fn event_of(was: &str, state: FileState, reason: Option<&str>) -> &'static str {
    match state {
        FileState::Dirty => what::DIRTY,
        FileState::Damaged => what::DAMAGED,
        FileState::Stub if reason.is_some() => what::CONFLICT,
        _ if was == FileState::Damaged.as_str() => what::MENDED,
        _ => what::RECOVERED,
    }
}

/// A way out of a transient state.
struct Way<'a> {
    operation: &'static str,
    root: RootId,
    from: FileState,
    /// Its parameters are `?5` and so on.
    set: &'a str,
    /// The event that it is.
    what: Option<&'static str>,
}

impl Way<'_> {
    /// False where a guard has taken the file another way: recalled it behind
    /// the entry `since` of the recall log.
    fn take(&self, tx: &Connection, ident: FileIdent, values: &[i64], since: i64) -> Result<bool> {
        let sql = format!(
            "UPDATE file SET {}
             WHERE root_id = ?1 AND ino = ?2 AND generation = ?3 AND state = ?4",
            self.set
        );
        let (ino, from) = (ident.ino as i64, self.from.as_str());
        let mut params: Vec<&dyn ToSql> = vec![&self.root.0, &ino, &ident.generation, &from];
        params.extend(values.iter().map(|value| value as &dyn ToSql));
        let changed = tx
            .prepare_cached(&sql)
            .and_then(|mut update| update.execute(&params[..]))
            .during(self.operation)?;
        if changed > 0 {
            return Ok(true);
        }
        let found = state_of(tx, self.operation, self.root, &ident)?;
        let is_whole = found.as_deref() == Some(FileState::Uploaded.as_str());
        if is_whole && recalls::recalled_since(tx, self.root, ident, since)? {
            return Ok(false);
        }
        Err(wrong_state(self.operation, ident, self.from, found))
    }
}

fn state_of(
    tx: &Connection,
    operation: &'static str,
    root: RootId,
    ident: &FileIdent,
) -> std::result::Result<Option<String>, Error> {
    tx.prepare_cached("SELECT state FROM file WHERE root_id = ?1 AND ino = ?2 AND generation = ?3")
        .and_then(|mut select| {
            select
                .query_row((root.0, ident.ino as i64, ident.generation), |row| row.get(0))
                .optional()
        })
        .during(operation)
}
