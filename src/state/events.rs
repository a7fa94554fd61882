//! What happened to each file: rows beside the changes of state, written in the
//! same transactions, for `hsm log`.
//!
//! The table is bounded in rows and age; what it has forgotten of a file the
//! file's own row still says in short. Recalls of programs are not here: the
//! guard's log of them says more.

use super::error::{During, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, rel_path};
use crate::clock::Clock;
use crate::ids::FileIdent;
use crate::os::RelPath;
use rusqlite::{CachedStatement, Connection, ToSql};

/// Words for [`EventRow::what`].
pub mod what {
    pub const UPLOADED: &str = "uploaded";
    pub const STUBBED: &str = "stubbed";
    pub const RECALLED: &str = "recalled";
    /// It changed since its upload.
    pub const DIRTY: &str = "dirty";
    /// Its copy is known bad.
    pub const DAMAGED: &str = "damaged";
    /// Its copy is good again.
    pub const MENDED: &str = "mended";
    /// A run that died had left it half-way.
    pub const RECOVERED: &str = "recovered";
    /// Something stands over the stub that only a person can merge.
    pub const CONFLICT: &str = "conflict";
    pub const ADOPTED: &str = "adopted";
    pub const RESTORED: &str = "restored";
    pub const MOVED: &str = "moved";
    pub const GONE: &str = "gone";
    /// It was concluded to be gone, and is there.
    pub const FOUND_AGAIN: &str = "found-again";
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub at_ns: i64,
    pub ident: FileIdent,
    /// One of [`what`].
    pub what: String,
    /// The command that did it.
    pub actor: String,
    /// The rule, or another reason.
    pub why: Option<String>,
    /// The place that it left.
    pub path: Option<RelPath>,
}

/// How many are remembered: some 80 MiB at most.
pub(super) const EVENTS_KEPT: i64 = 1_000_000;
/// And for how long.
const KEPT_NS: i64 = 400 * 24 * 3600 * 1_000_000_000;

pub(super) const NOTING: &str = "noting what happened to files";
const READING: &str = "reading what happened to files";

/// Who changes the DB, and by which clock, for changes that come without a time.
#[derive(Debug, Clone)]
pub struct Actor {
    pub name: String,
    pub clock: Clock,
}

impl Default for Actor {
    fn default() -> Self {
        Self { name: "hsm".to_owned(), clock: Clock::system() }
    }
}

impl StateDb {
    /// Events name `name` from now on as who did it.
    pub fn act_as(&mut self, name: &str, clock: Clock) {
        self.actor = Actor { name: name.to_owned(), clock };
    }

    /// Visits every event of these files of a root, oldest first. Reads the whole
    /// table.
    pub(super) fn events_of(
        &self,
        root: RootId,
        wanted: &dyn Fn(FileIdent) -> bool,
    ) -> Result<Vec<EventRow>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT ino, generation, at_ns, what, actor, why, path FROM event
                 WHERE root_id = ?1 ORDER BY id",
            )
            .during(READING)?;
        let mut rows = select.query([root.0]).during(READING)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            let mut columns = Columns::new(row, 0, READING);
            let ident = columns.ident()?;
            if wanted(ident) {
                found.push(EventRow {
                    ident,
                    at_ns: columns.get()?,
                    what: columns.get()?,
                    actor: columns.get()?,
                    why: columns.get()?,
                    path: columns.get::<Option<Vec<u8>>>()?.map(rel_path).transpose()?,
                });
            }
        }
        Ok(found)
    }

    /// The inodes that left this path.
    pub(super) fn leavers(&self, root: RootId, path: &RelPath) -> Result<Vec<FileIdent>> {
        let sql = "SELECT ino, generation FROM event WHERE root_id = ?1 AND path = ?2
             UNION SELECT ino, generation FROM gone
             WHERE root_id = ?1 AND path = ?2 AND kind = 'f'";
        let mut select = self.conn.prepare_cached(sql).during(READING)?;
        let mut rows = select.query((root.0, path.as_bytes())).during(READING)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(READING)? {
            found.push(Columns::new(row, 0, READING).ident()?);
        }
        Ok(found)
    }
}

/// Notes one kind of event of many files of a root.
pub(super) struct Notes<'t> {
    conn: &'t Connection,
    insert: CachedStatement<'t>,
    insert_with_rule: CachedStatement<'t>,
    root: RootId,
    actor: &'t str,
    at_ns: i64,
}

impl<'t> Notes<'t> {
    pub fn new(conn: &'t Connection, root: RootId, actor: &'t str, at_ns: i64) -> Result<Self> {
        let insert = conn
            .prepare_cached(
                "INSERT INTO event (at_ns, root_id, ino, generation, what, actor, why)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )
            .during(NOTING)?;
        let insert_with_rule = conn
            .prepare_cached(
                "INSERT INTO event (at_ns, root_id, ino, generation, what, actor, why)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, rule FROM file WHERE root_id = ?2 AND ino = ?3",
            )
            .during(NOTING)?;
        Ok(Self { conn, insert, insert_with_rule, root, actor, at_ns })
    }

    pub fn note(&mut self, ident: FileIdent, what: &str, why: Option<&str>) -> Result<()> {
        let FileIdent { ino, generation } = ident;
        self.insert
            .execute((self.at_ns, self.root.0, ino as i64, generation, what, self.actor, why))
            .during(NOTING)?;
        Ok(())
    }

    /// The reason is the rule that the file's row has.
    pub fn note_with_rule(&mut self, ident: FileIdent, what: &str) -> Result<()> {
        let FileIdent { ino, generation } = ident;
        self.insert_with_rule
            .execute((self.at_ns, self.root.0, ino as i64, generation, what, self.actor))
            .during(NOTING)?;
        Ok(())
    }

    /// At the end of a transaction.
    pub fn end(self) -> Result<()> {
        trim(self.conn)
    }
}

/// Enters events that another DB had, as they are.
pub(super) fn enter(conn: &Connection, root: RootId, events: &[EventRow]) -> Result<()> {
    let mut insert = conn
        .prepare_cached(
            "INSERT INTO event (at_ns, root_id, ino, generation, what, actor, why, path)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .during(NOTING)?;
    for event in events {
        let FileIdent { ino, generation } = event.ident;
        let path = event.path.as_ref().map(RelPath::as_bytes);
        insert
            .execute((
                event.at_ns,
                root.0,
                ino as i64,
                generation,
                &event.what,
                &event.actor,
                &event.why,
                path,
            ))
            .during(NOTING)?;
    }
    trim(conn)
}

/// Notes an event, with the place it is at, of every file that `rest` chooses by
/// `file f` with its `dir d`; `?1` is the root, `?5` the inode number if one is
/// given. No more of them than are remembered: a tree of millions may move at once.
pub(super) fn note_where(
    conn: &Connection,
    root: RootId,
    actor: &str,
    at_ns: i64,
    what: &str,
    rest: &str,
    ino: Option<u64>,
) -> Result<()> {
    let sql = format!(
        "INSERT INTO event (root_id, at_ns, ino, generation, what, actor, path)
         SELECT ?1, ?2, f.ino, f.generation, ?3, ?4,
         CAST(iif(length(d.path) = 0, f.name, d.path || x'2f' || f.name) AS BLOB) {rest}
         LIMIT {EVENTS_KEPT}"
    );
    let ino = ino.map(|ino| ino as i64);
    let mut params: Vec<&dyn ToSql> = vec![&root.0, &at_ns, &what, &actor];
    params.extend(ino.as_ref().map(|ino| ino as &dyn ToSql));
    conn.prepare_cached(&sql).and_then(|mut note| note.execute(&params[..])).during(NOTING)?;
    Ok(())
}

/// Forgets what is beyond the number that is remembered: at the end of each
/// transaction that noted anything.
pub(super) fn trim(conn: &Connection) -> Result<()> {
    conn.prepare_cached("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?1")
        .and_then(|mut trim| trim.execute([EVENTS_KEPT]))
        .during(NOTING)?;
    Ok(())
}

/// Forgets what is too old.
pub(super) fn forget_old(conn: &Connection, now_ns: i64) -> Result<()> {
    conn.execute(
        "DELETE FROM event
         WHERE id < (SELECT id FROM event WHERE at_ns >= ?1 ORDER BY id LIMIT 1)",
        [now_ns.saturating_sub(KEPT_NS)],
    )
    .during(NOTING)?;
    Ok(())
}
