//! Some stubs of a root, picked all over it without reading all of it.
//!
//! Inode numbers are cut into as many stretches as there are points to look at;
//! in each one a few stubs are taken from a place on that the seed chooses. At
//! worst, with few stubs among many files, the table is read once.

use super::error::{During, Result};
use super::files::{MANAGED_COLUMNS, ManagedRow};
use super::open::StateDb;
use super::roots::RootId;
use super::rows::Columns;

const STRETCHES: i128 = 20;
const OPERATION: &str = "reading a sample of the stubs";

impl StateDb {
    /// At most `limit` stubs; another `seed` picks others. All of them if they
    /// are few, save when they lie crowded in a few stretches.
    pub fn sample_stubs(&self, root: RootId, limit: usize, seed: u64) -> Result<Vec<ManagedRow>> {
        let Some((first, last)) = self.inode_span(root)? else { return Ok(Vec::new()) };
        let width = (last - first) / STRETCHES + 1;
        let each = limit.div_ceil(usize::try_from(STRETCHES).expect("a small number"));
        let mut found = Vec::new();
        for start in (first..=last).step_by(usize::try_from(width).unwrap_or(usize::MAX)) {
            let (end, from) = (start + width, start + i128::from(seed) % width);
            let room = each.min(limit - found.len());
            let mut picked = self.stubs_between(root, from, end, room)?;
            picked.extend(self.stubs_between(root, start, from, room - picked.len())?);
            found.extend(picked);
        }
        Ok(found)
    }

    /// The smallest and the largest inode number, as the table keeps them.
    fn inode_span(&self, root: RootId) -> Result<Option<(i128, i128)>> {
        let ends = self.conn.query_row(
            "SELECT (SELECT MIN(ino) FROM file WHERE root_id = ?1),
                    (SELECT MAX(ino) FROM file WHERE root_id = ?1)",
            [root.0],
            |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)),
        );
        let (first, last) = ends.during(OPERATION)?;
        Ok(first.zip(last).map(|(first, last)| (first.into(), last.into())))
    }

    /// `from` is included, `end` is not.
    fn stubs_between(
        &self,
        root: RootId,
        from: i128,
        end: i128,
        limit: usize,
    ) -> Result<Vec<ManagedRow>> {
        let sql = format!(
            "SELECT {MANAGED_COLUMNS} FROM file f JOIN dir fd ON fd.id = f.dir_id
             WHERE f.root_id = ?1 AND f.ino BETWEEN ?2 AND ?3 AND f.state = 'stub'
             ORDER BY f.ino LIMIT ?4"
        );
        let edge = |at: i128| i64::try_from(at).unwrap_or(i64::MAX);
        if limit == 0 || from >= end {
            return Ok(Vec::new());
        }
        let mut select = self.conn.prepare_cached(&sql).during(OPERATION)?;
        let params = (root.0, edge(from), edge(end - 1), limit as i64);
        let mut rows = select.query(params).during(OPERATION)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().during(OPERATION)? {
            found.push(ManagedRow::read(root, &mut Columns::new(row, 0, OPERATION))?);
        }
        Ok(found)
    }
}
