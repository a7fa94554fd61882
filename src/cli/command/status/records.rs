//! A survey for programs: the records of `hsm status --json`.

use super::forecast::{Forecast, Reach};
use super::recallers;
use super::survey::{RootSurvey, Survey};
use super::thaws;
use crate::cli::error::Error;
use crate::cli::output::{Name, Output};
use crate::tier::standing::{Amount, Standing};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Roots, thaws, recallers, runs.
pub fn write(survey: &Survey, out: &Output) -> Result<(), Error> {
    if let Some((url, waiting)) = &survey.second {
        out.record(&json!({
            "type": "second_store", "url": url, "waiting_files": waiting.files,
            "waiting_bytes": waiting.bytes,
        }))?;
    }
    for root in &survey.roots {
        out.record(&of_root(root, survey.at_ns))?;
    }
    for thaw in thaws::records(survey) {
        out.record(&thaw)?;
    }
    for recaller in recallers::top(survey) {
        out.record(&json!({
            "type": "recaller", "program": recaller.who, "uid": recaller.uid,
            "files": recaller.files, "bytes": recaller.bytes, "refused": recaller.denied,
        }))?;
    }
    for run in &survey.runs {
        out.record(&json!({
            "type": "run", "command": run.row.command, "started_ns": run.row.started_ns,
            "finished_ns": run.row.finished_ns, "outcome": run.outcome,
            "used_before_bytes": run.row.usage.map(|usage| usage.used_before_bytes),
            "used_after_bytes": run.row.usage.map(|usage| usage.used_after_bytes),
        }))?;
    }
    Ok(())
}

fn of_root(root: &RootSurvey, at_ns: i64) -> Value {
    let states: Map<String, Value> = root
        .states
        .iter()
        .map(|(state, files, bytes)| {
            ((*state).to_owned(), json!({ "files": files, "size_bytes": bytes }))
        })
        .collect();
    let (row, space, week) = (&root.row, root.space.as_ref(), &root.week);
    let mut record = json!({
        "type": "root", "path": Name::of(&row.path), "identity": row.identity,
        "same_file_system": root.is_same, "entries": row.entries,
        "last_complete_scan_ns": row.last_complete_scan_ns, "states": states,
        "pins": root.pins, "unfinished": root.unfinished,
        "total_bytes": space.map(|space| space.total_bytes),
        "usable_bytes": space.map(|space| space.usable_bytes),
        "available_bytes": space.map(|space| space.available_bytes),
        "used_pct": space.map(|space| space.used_pct),
        "watermark": root.watermark.as_ref().map(|mark| {
            json!({ "high_pct": mark.high_pct, "low_pct": mark.low_pct })
        }),
        "forecast": root.forecast.as_ref().map(|forecast| of_forecast(forecast, at_ns)),
        "last_7_days": {
            "runs": week.runs, "uploaded_files": week.uploaded_files,
            "sent_bytes": week.sent_bytes, "stubbed_files": week.stubbed_files,
            "freed_bytes": week.freed_bytes, "failed_files": week.failed_files,
            "failed_runs": week.failed_runs,
        },
    });
    let fields = record.as_object_mut().expect("it was made as one");
    fields.append(&mut of_standing(root.wanted.as_ref()));
    record
}

/// Null where the policy could not be asked.
fn of_standing(wanted: Option<&Standing>) -> Map<String, Value> {
    let record = json!({
        "unprotected_files": wanted.map(|wanted| wanted.unprotected.files),
        "unprotected_bytes": wanted.map(|wanted| wanted.unprotected.bytes),
        "oldest_unprotected_ns": wanted.and_then(|wanted| wanted.oldest_unprotected_ns),
        "unprotected_since_ns": wanted.and_then(|wanted| wanted.unprotected_since_ns),
        "kept": wanted.map(|wanted| of_amounts(&wanted.kept)),
        "left": wanted.map(|wanted| of_amounts(&wanted.left)),
    });
    record.as_object().cloned().unwrap_or_default()
}

fn of_amounts(amounts: &BTreeMap<&'static str, Amount>) -> Value {
    let pairs = amounts.iter().map(|(why, amount)| {
        ((*why).to_owned(), json!({ "files": amount.files, "size_bytes": amount.bytes }))
    });
    Value::Object(pairs.collect())
}

fn of_forecast(forecast: &Forecast, at_ns: i64) -> Value {
    let levels: Vec<Value> = forecast
        .levels
        .iter()
        .map(|level| {
            json!({
                "level": level.name, "pct": level.pct,
                "passed": level.reach == Reach::Passed, "at_ns": level.reach.at_ns(at_ns),
            })
        })
        .collect();
    json!({ "growth_bytes_per_day": forecast.growth_bytes_per_day, "levels": levels })
}
