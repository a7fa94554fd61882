//! The second store: is every copy that the state DB has proven there still there, and
//! with the data, is it whole; and the first copies that only it can mend.

use super::{Error, Problem, Verifier, reading};
use crate::ids::PackId;
use crate::manifest::keys;
use crate::site::{pack_key, second};
use crate::state::{PackStatus, SecondRow};
use crate::store::{ErrorKind, Store};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

impl Verifier<'_, '_> {
    /// Compares the second store with what is known of it.
    pub(super) fn second(&mut self, scope: Option<&HashSet<PackId>>) -> Result<(), Error> {
        let store = match &self.site.second {
            None => return Ok(()),
            Some(second) => match &second.away {
                Some(why) => {
                    let why = why.clone();
                    self.problem(Problem::SecondAway { why });
                    return Ok(());
                }
                None => second.store,
            },
        };
        let mut present: HashMap<PackId, u64> = HashMap::new();
        let listed = store.list(keys::PACKS, None, &mut |object| {
            if let Some(pack) = keys::parse_pack_key(object.key.as_str()) {
                present.insert(pack, object.size_bytes);
            }
        });
        if let Err(error) = listed {
            self.problem(Problem::SecondAway { why: error.to_string() });
            return Ok(());
        }
        let mut rows = self.site.state.seconds()?;
        rows.retain(|row| scope.is_none_or(|scope| scope.contains(&row.pack)));
        for row in rows {
            if self.site.stop.requested() {
                break;
            }
            if let Some(why) = self.fault_of(store, &row, present.get(&row.pack).copied())? {
                self.problem(Problem::SecondCopy { pack: row.pack, why });
                if !self.options.dry_run {
                    self.site.state.forget_second(row.pack)?;
                }
            }
        }
        if self.options.repair && !self.options.dry_run { self.mend() } else { Ok(()) }
    }

    fn fault_of(
        &mut self,
        store: &dyn Store,
        row: &SecondRow,
        listed: Option<u64>,
    ) -> Result<Option<String>, Error> {
        let size_bytes = match listed {
            Some(size_bytes) => size_bytes,
            // A listing can lag.
            None => match store.head(&pack_key(row.pack)) {
                Ok(object) => object.size_bytes,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(Some("it is not there".to_owned()));
                }
                Err(error) => return Err(error.into()),
            },
        };
        if size_bytes != row.size_bytes {
            let wanted = row.size_bytes;
            return Ok(Some(format!("it has {size_bytes} bytes, not {wanted}")));
        }
        if self.options.data.is_none() {
            return Ok(None);
        }
        let slots = self.site.state.pack_slots(row.pack)?;
        let (protection, store_id) = (self.site.protection, self.site.store_id);
        match reading::check(store, protection, store_id, row.pack, &slots) {
            Ok(check) => {
                self.stats.packs_read += 1;
                self.stats.bytes_read += check.bytes;
                let first = check.damaged.into_iter().next();
                Ok(first.map(|(chunk, why)| format!("chunk {chunk}: {why}")))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Integrity) => {
                Ok(Some(error.to_string()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the second copy where the first one is lost or damaged.
    fn mend(&mut self) -> Result<(), Error> {
        let mut bad = vec![];
        self.site.state.for_each_pack(&mut |row| {
            if matches!(row.status, PackStatus::Lost | PackStatus::Damaged) {
                bad.push(row.id);
            }
            ControlFlow::Continue(())
        })?;
        for pack in bad {
            if !self.site.state.has_second(pack)? || self.site.stop.requested() {
                continue;
            }
            match self.site.mend_from_second(pack) {
                Ok(mended) => self.stats.mended_packs += u64::from(mended),
                Err(second::Error::State(error)) => return Err(error.into()),
                Err(error) => {
                    let why = crate::site::guard::causes(&error).join(": ");
                    self.site.monitor.notice(&format!("not mended: {why}"));
                }
            }
        }
        Ok(())
    }
}
