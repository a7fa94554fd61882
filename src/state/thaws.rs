//! What an archive was asked for, and who waits for it.
//!
//! The order is written down, durably, before it is sent, so that a crash in
//! between leaves a row that says "perhaps": whoever comes next looks at the object
//! before it asks again. A pack is asked for once, however many files wait for it.
//! A file waits until it is whole, or nobody wants it any more; the row of a pack
//! goes when nobody waits for it and its copy has expired.

use super::error::{During, Error, Result};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::{Columns, rel_path, signed};
use crate::classes::Thaw;
use crate::ids::{FileIdent, PackId};
use crate::os::RelPath;
use rusqlite::{Connection, Row};

/// One pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThawRow {
    pub pack: PackId,
    /// As the store names it.
    pub class: Option<String>,
    pub order: Thaw,
    pub asked_ns: i64,
    /// The command, or the program that opened a file.
    pub asked_by: String,
    /// The store took the order.
    pub sent: bool,
    /// When the store was last asked how it goes.
    pub looked_ns: Option<i64>,
    /// Since when a copy is known to be there.
    pub ready_ns: Option<i64>,
    pub expires_ns: Option<i64>,
    pub waiting_files: u64,
    pub waiting_bytes: u64,
}

impl ThawRow {
    /// A copy is there, as far as is known.
    pub fn is_ready(&self, now_ns: i64) -> bool {
        self.ready_ns.is_some() && self.expires_ns.is_none_or(|expires_ns| now_ns < expires_ns)
    }
}

/// A file that is to wait for packs.
#[derive(Debug, Clone)]
pub struct Awaiting<'a> {
    pub ident: FileIdent,
    pub path: &'a RelPath,
    pub bytes: u64,
    pub packs: &'a [PackId],
}

/// A file that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedFile {
    pub root: RootId,
    pub ident: FileIdent,
    /// Where it is, as far as is known.
    pub path: RelPath,
    pub bytes: u64,
    pub since_ns: i64,
    pub asked_by: String,
    pub packs: Vec<PackId>,
}

/// No archive takes as long to bring a pack; nobody looked since.
const UNLOOKED_NS: i64 = 7 * 24 * 3600 * 1_000_000_000;

const ASKING: &str = "recording what an archive was asked for";
const READING: &str = "reading what an archive was asked for";

const COLUMNS: &str = "t.pack_id, t.class, t.tier, t.days, t.asked_ns, t.asked_by, t.sent,
     t.looked_ns, t.ready_ns, t.expires_ns,
     (SELECT count(*) FROM thaw_wait w WHERE w.pack_id = t.pack_id),
     (SELECT coalesce(sum(w.bytes), 0) FROM thaw_wait w WHERE w.pack_id = t.pack_id)";

impl StateDb {
    /// Every pack that was asked for and is not forgotten yet, longest first.
    pub fn thaws(&self) -> Result<Vec<ThawRow>> {
        self.read_thaws("ORDER BY t.asked_ns, t.pack_id", [])
    }

    pub fn thaw(&self, pack: PackId) -> Result<Option<ThawRow>> {
        Ok(self.read_thaws("WHERE t.pack_id = ?1", [pack.as_bytes()])?.pop())
    }

    fn read_thaws(&self, rest: &str, params: impl rusqlite::Params) -> Result<Vec<ThawRow>> {
        let sql = format!("SELECT {COLUMNS} FROM thaw t {rest}");
        let mut select = self.conn.prepare_cached(&sql).during(READING)?;
        let mut rows = select.query(params).during(READING)?;
        let mut found = vec![];
        while let Some(row) = rows.next().during(READING)? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    /// These packs are about to be asked for. What is known of an earlier order of
    /// theirs is forgotten; who waits for them goes on waiting. Durable on return.
    pub fn intend_thaws(
        &mut self,
        packs: &[(PackId, Option<String>, Thaw)],
        now_ns: i64,
    ) -> Result<()> {
        let by = self.actor.name.clone();
        self.write_durably(ASKING, |tx| {
            for (pack, class, order) in packs {
                tx.prepare_cached(
                    "INSERT INTO thaw (pack_id, class, tier, days, asked_ns, asked_by)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (pack_id) DO UPDATE SET class = excluded.class,
                     tier = excluded.tier, days = excluded.days, sent = 0, looked_ns = NULL,
                     asked_ns = excluded.asked_ns, ready_ns = NULL, expires_ns = NULL",
                )
                .and_then(|mut insert| {
                    let (tier, days) = (order.tier.as_str(), order.days);
                    insert.execute((pack.as_bytes(), class, tier, days, now_ns, &by))
                })
                .during(ASKING)?;
            }
            Ok(())
        })
    }

    /// The store has this pack on its way, whoever asked for it.
    pub fn note_thawing(&mut self, packs: &[PackId], now_ns: i64) -> Result<()> {
        self.each(packs, "UPDATE thaw SET sent = 1, looked_ns = ?2 WHERE pack_id = ?1", now_ns)
    }

    /// A copy is there; with when it goes.
    pub fn note_thawed(&mut self, packs: &[(PackId, Option<i64>)], now_ns: i64) -> Result<()> {
        self.write(ASKING, |tx| {
            for (pack, expires_ns) in packs {
                tx.prepare_cached(
                    "UPDATE thaw SET sent = 1, looked_ns = ?2, ready_ns = coalesce(ready_ns, ?2),
                     expires_ns = ?3 WHERE pack_id = ?1",
                )
                .and_then(|mut update| update.execute((pack.as_bytes(), now_ns, expires_ns)))
                .during(ASKING)?;
            }
            Ok(())
        })
    }

    /// The store refused the order, or the pack needs none; with it goes that files
    /// wait for it.
    pub fn forget_thaws(&mut self, packs: &[PackId]) -> Result<()> {
        self.write(ASKING, |tx| {
            for pack in packs {
                tx.execute("DELETE FROM thaw WHERE pack_id = ?1", [pack.as_bytes()])
                    .during(ASKING)?;
            }
            Ok(())
        })
    }

    fn each(&mut self, packs: &[PackId], sql: &str, now_ns: i64) -> Result<()> {
        self.write(ASKING, |tx| {
            for pack in packs {
                tx.prepare_cached(sql)
                    .and_then(|mut update| update.execute((pack.as_bytes(), now_ns)))
                    .during(ASKING)?;
            }
            Ok(())
        })
    }

    /// This file of a root waits for these packs from now on, and for no other.
    pub fn await_packs(&mut self, root: RootId, file: &Awaiting<'_>, now_ns: i64) -> Result<()> {
        let by = self.actor.name.clone();
        self.write(ASKING, |tx| {
            let FileIdent { ino, generation } = file.ident;
            let since_ns: Option<i64> = tx
                .query_row(
                    "SELECT min(since_ns) FROM thaw_wait
                     WHERE root_id = ?1 AND ino = ?2 AND generation = ?3",
                    (root.0, ino as i64, generation),
                    |row| row.get(0),
                )
                .during(ASKING)?;
            forget_waiter(tx, root, file.ident)?;
            for pack in file.packs {
                tx.prepare_cached(
                    "INSERT INTO thaw_wait (root_id, ino, generation, pack_id, path, bytes,
                     since_ns, asked_by) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
                     WHERE EXISTS (SELECT 1 FROM thaw WHERE pack_id = ?4)",
                )
                .and_then(|mut insert| {
                    insert.execute((
                        root.0,
                        ino as i64,
                        generation,
                        pack.as_bytes(),
                        file.path.as_bytes(),
                        signed(file.bytes),
                        since_ns.unwrap_or(now_ns),
                        &by,
                    ))
                })
                .during(ASKING)?;
            }
            Ok(())
        })
    }

    /// Every file that waits, longest first.
    pub fn awaited_files(&self) -> Result<Vec<AwaitedFile>> {
        let mut select = self
            .conn
            .prepare_cached(
                "SELECT w.root_id, w.ino, w.generation, d.path, f.name, w.path, w.bytes,
                 w.since_ns, w.asked_by, w.pack_id
                 FROM thaw_wait w
                 LEFT JOIN file f ON f.root_id = w.root_id AND f.ino = w.ino
                 AND f.generation = w.generation
                 LEFT JOIN dir d ON d.id = f.dir_id
                 ORDER BY w.since_ns, w.root_id, w.ino, w.generation, w.pack_id",
            )
            .during(READING)?;
        let mut rows = select.query([]).during(READING)?;
        let mut found: Vec<AwaitedFile> = vec![];
        while let Some(row) = rows.next().during(READING)? {
            let (file, pack) = read_awaited(row)?;
            match found.last_mut().filter(|last| (last.root, last.ident) == (file.root, file.ident))
            {
                Some(last) => last.packs.push(pack),
                None => found.push(AwaitedFile { packs: vec![pack], ..file }),
            }
        }
        Ok(found)
    }

    /// These files wait no more: they are whole, or gone. Packs that nobody waits for
    /// are forgotten when their copies have expired, or could have by now.
    pub fn await_no_more(
        &mut self,
        root: RootId,
        files: impl Iterator<Item = FileIdent>,
    ) -> Result<()> {
        let any: bool = self
            .conn
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM thaw)")
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .during(READING)?;
        if !any {
            return Ok(());
        }
        let now_ns = self.actor.clock.now_ns();
        self.write(ASKING, |tx| {
            for ident in files {
                forget_waiter(tx, root, ident)?;
            }
            tx.execute(
                "DELETE FROM thaw WHERE (expires_ns <= ?1 OR ready_ns IS NULL AND asked_ns <= ?2)
                 AND NOT EXISTS (SELECT 1 FROM thaw_wait w WHERE w.pack_id = thaw.pack_id)",
                (now_ns, now_ns.saturating_sub(UNLOOKED_NS)),
            )
            .during(ASKING)?;
            Ok(())
        })
    }
}

/// The file waits for nothing any more.
pub(super) fn forget_waiter(tx: &Connection, root: RootId, ident: FileIdent) -> Result<()> {
    tx.prepare_cached("DELETE FROM thaw_wait WHERE root_id = ?1 AND ino = ?2 AND generation = ?3")
        .and_then(|mut delete| delete.execute((root.0, ident.ino as i64, ident.generation)))
        .during(ASKING)?;
    Ok(())
}

fn pack_id(columns: &mut Columns<'_, '_>) -> Result<PackId> {
    let bytes = columns.bytes()?;
    PackId::from_slice(bytes).ok_or_else(|| Error::bad_value("pack id", bytes))
}

fn read(row: &Row<'_>) -> Result<ThawRow> {
    let mut columns = Columns::new(row, 0, READING);
    let (pack, class) = (pack_id(&mut columns)?, columns.get()?);
    let tier: String = columns.get()?;
    let tier = tier.parse().map_err(|_| Error::bad_value("tier", &tier))?;
    Ok(ThawRow {
        pack,
        class,
        order: Thaw { tier, days: columns.u32()? },
        asked_ns: columns.get()?,
        asked_by: columns.get()?,
        sent: columns.get()?,
        looked_ns: columns.get()?,
        ready_ns: columns.get()?,
        expires_ns: columns.get()?,
        waiting_files: columns.unsigned()?,
        waiting_bytes: columns.unsigned()?,
    })
}

fn read_awaited(row: &Row<'_>) -> Result<(AwaitedFile, PackId)> {
    let mut columns = Columns::new(row, 0, READING);
    let (root, ident) = (RootId(columns.get()?), columns.ident()?);
    let (dir, name): (Option<Vec<u8>>, Option<Vec<u8>>) = (columns.get()?, columns.get()?);
    let asked_at = rel_path(columns.get()?)?;
    let path = match dir.zip(name) {
        Some((dir, name)) => rel_path(dir)?.join(&name),
        None => asked_at,
    };
    let file = AwaitedFile {
        root,
        ident,
        path,
        bytes: columns.unsigned()?,
        since_ns: columns.get()?,
        asked_by: columns.get()?,
        packs: vec![],
    };
    Ok((file, pack_id(&mut columns)?))
}
