//! The sums as JSON: what `hsm report --json` prints and what the page carries.
//!
//! Cells are arrays of numbers, since there may be tens of thousands. A number
//! is exact in a browser up to 2^53 bytes, 9 PB.

use super::buckets::{Grid, IDLE_DAYS, SIZES};
use super::census::{Candidates, RootCount};
use super::tally::Top;
use super::{RECALL_DAYS, Report, Spelling, prices};
use crate::tier::upload::PACK_BYTES;
use crate::units::format_time;
use serde_json::{Value, json};
use std::os::unix::ffi::OsStrExt;

/// Owners and extensions that are named.
const NAMED: usize = 20;

impl Report<'_> {
    /// Takes what was counted apart.
    pub fn data(self, spelling: &Spelling<'_>) -> Value {
        let days = self.recall_history(spelling);
        let store = self.store();
        let candidates = self.candidates();
        let sources = &self.sources;
        let classes: Vec<Value> = self
            .class_names
            .iter()
            .map(|name| {
                let quoted = toml::Value::String(name.clone()).to_string();
                json!({ "name": (spelling.shown)(name.as_bytes()), "toml": quoted })
            })
            .collect();
        let mark = sources.policy.watermark();
        let census = self.census;
        let classed = self.class_names.iter().zip(&census.by_class);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "made": format_time(sources.now_ns),
            "sizes": SIZES.map(|(bytes, word)| json!({ "bytes": bytes, "word": word })),
            "idle_days": IDLE_DAYS,
            "roots": census.roots.iter().map(|root| of_root(root, spelling)).collect::<Vec<_>>(),
            "all": of_grid("all files", &census.all),
            "stubs": census.stubs,
            "by": {
                "state": listed(census.by_state.iter().map(|(state, grid)| of_grid(state, grid))),
                "class": listed(classed.map(|(name, grid)| {
                    of_grid(&(spelling.shown)(name.as_bytes()), grid)
                })),
                "owner": of_top(census.by_owner.top(NAMED), |uid| {
                    (spelling.user)(*uid).map_or(uid.to_string(), |name| (spelling.shown)(name.as_bytes()))
                }),
                "extension": of_top(census.by_extension.top(NAMED), |extension| {
                    (spelling.shown)(extension.as_bytes())
                }),
            },
            "classes": classes,
            "candidates": candidates,
            "present": census.present,
            "watermark": mark.map(|mark| json!({ "high": mark.high_pct, "low": mark.low_pct })),
            "template": self.template,
            "recalls": days,
            "store": store,
            "prices": prices::prices(self.sources.prices),
            "prices_source": prices::SOURCE,
        })
    }

    fn candidates(&self) -> Value {
        let cells: Vec<Vec<u64>> = self
            .census
            .candidates
            .iter()
            .map(|((root, set, bucket), sum)| {
                let mut row =
                    vec![*root as u64, *set as u64, bucket.size.into(), bucket.idle.into()];
                row.extend(of_candidates(sum));
                row
            })
            .collect();
        json!({
            "sets": self.census.sets,
            "cells": cells,
            "unsorted": of_candidates(&self.census.unsorted),
        })
    }

    fn recall_history(&self, spelling: &Spelling<'_>) -> Value {
        let day = |at_ns| format_time(at_ns).chars().take(10).collect::<String>();
        let days = self.days.iter().map(|sum| {
            json!({ "day": day(sum.at_ns), "files": sum.files, "bytes": sum.bytes,
                "denied": sum.denied })
        });
        let top = self.recallers.iter().map(|recaller| {
            let who = match recaller.who.as_str() {
                "" => "(gone before it was looked at)".to_owned(),
                who => (spelling.shown)(who.as_bytes()),
            };
            let user = (spelling.user)(recaller.uid);
            let user =
                user.map_or(recaller.uid.to_string(), |name| (spelling.shown)(name.as_bytes()));
            json!({ "who": who, "user": user, "files": recaller.files, "bytes": recaller.bytes,
                "denied": recaller.denied })
        });
        json!({
            "span_days": RECALL_DAYS,
            "until": day(self.sources.now_ns),
            "since": self.oldest_recall_ns.map(day),
            "days": listed(days),
            "top": listed(top),
        })
    }

    fn store(&self) -> Value {
        let stored = self
            .stored
            .iter()
            .map(|sum| json!({ "class": sum.class, "packs": sum.packs, "bytes": sum.bytes }));
        json!({
            "stored": listed(stored),
            "storage_class": self.sources.storage_class,
            "pack_bytes": PACK_BYTES,
        })
    }
}

fn of_root(root: &RootCount, spelling: &Spelling<'_>) -> Value {
    json!({
        "name": (spelling.shown)(root.row.path.as_os_str().as_bytes()),
        "is_there": root.is_there,
        "scanned": root.row.last_complete_scan_ns.map(format_time),
        "used_bytes": root.space.map(|space| space.used_bytes()),
        "usable_bytes": root.space.map(|space| space.usable_bytes),
        "used_pct": root.space.map(|space| space.used_pct),
        "file_system": root.row.identity,
    })
}

fn of_candidates(sum: &Candidates) -> [u64; 5] {
    [sum.files, sum.size_bytes, sum.local_bytes, sum.upload_files, sum.upload_bytes]
}

fn of_grid(name: &str, grid: &Grid) -> Value {
    json!({ "name": name, "sum": grid.total(), "cells": grid.rows() })
}

fn of_top<W>(top: Top<W>, name: impl Fn(&W) -> String) -> Value {
    let mut all: Vec<Value> =
        top.first.iter().map(|(word, grid)| of_grid(&name(word), grid)).collect();
    if top.others.total().files > 0 {
        let mut others = of_grid("others", &top.others);
        others["is_rest"] = true.into();
        others["is_rough"] = top.is_rough.into();
        all.push(others);
    }
    listed(all)
}

fn listed(values: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(values.into_iter().collect())
}
