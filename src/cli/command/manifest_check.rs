//! `hsm manifest --check`: whether the store still has what a manifest names.

use super::Outcome;
use crate::backup::{self, CheckStats, Manifest, Problem};
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::exit::Exit;
use crate::cli::opened::{StorePlace, with_reading_site};
use crate::cli::output::{Name, escaped};
use crate::units::format_size;
use clap::Args;
use serde_json::json;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Another store than the configured one.
#[derive(Debug, Clone, Default, Args)]
pub struct StoreArgs {
    /// Check with this store; no configuration is needed [default: the configured one]
    #[arg(long, value_name = "URL", requires = "check")]
    pub store: Option<String>,

    /// The key file of an encrypted --store
    #[arg(long, value_name = "FILE", requires = "store")]
    pub key_file: Option<PathBuf>,

    /// Another S3 server than AWS, for --store
    #[arg(long, value_name = "URL", requires = "store")]
    pub endpoint: Option<String>,

    /// The S3 region, for --store
    #[arg(long, requires = "store")]
    pub region: Option<String>,

    /// Put the bucket in the path, not in the host name, for --store
    #[arg(long, requires = "store")]
    pub path_style: bool,
}

pub fn run(context: &Context, path: &Path, store: &StoreArgs) -> Result<Outcome, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let manifest = Manifest::open(BufReader::with_capacity(256 << 10, file))?;
    let place = store.store.as_deref().map(|url| StorePlace {
        url,
        key: store.key_file.as_deref(),
        endpoint: store.endpoint.as_deref(),
        region: store.region.as_deref(),
        path_style: store.path_style,
    });
    let mut broken = None;
    let stats = with_reading_site(context, place, |site| {
        Ok(backup::check(site, manifest, &mut |problem| {
            if broken.is_none() {
                broken = tell(context, &problem).err();
            }
        })?)
    })?;
    broken.map_or(Ok(()), Err)?;
    conclude(context, &stats)
}

fn tell(context: &Context, problem: &Problem) -> Result<(), Error> {
    let text = match problem {
        Problem::NoNode { node } => format!("log       the store has no log of node {node}"),
        Problem::Log { node, why } => {
            format!("log       of node {node} cannot be read: {}", escaped(why.as_bytes()))
        }
        Problem::Behind { node, known, wanted } => format!(
            "log       of node {node} ends with segment {known}, the manifest relies on {wanted}"
        ),
        Problem::NoSnapshot { name } => format!(
            "snapshot  {:?} is gone: nothing keeps what is still there",
            escaped(name.as_bytes())
        ),
        Problem::Missing { row, why } => format!(
            "missing   {} ({}): {why}",
            escaped(row.path.as_bytes()),
            format_size(row.size_bytes)
        ),
    };
    context.out.line(text)?;
    context.out.record(&match problem {
        Problem::NoNode { node } => json!({ "type": "problem", "kind": "no-node", "node": node }),
        Problem::Log { node, why } => {
            json!({ "type": "problem", "kind": "log", "node": node, "why": why })
        }
        Problem::Behind { node, known, wanted } => json!({
            "type": "problem", "kind": "behind", "node": node, "segment": known,
            "wanted_segment": wanted,
        }),
        Problem::NoSnapshot { name } => {
            json!({ "type": "problem", "kind": "no-snapshot", "name": name })
        }
        Problem::Missing { row, why } => json!({
            "type": "problem", "kind": "missing", "path": Name(row.path.as_bytes()),
            "content": row.content, "size_bytes": row.size_bytes, "why": why,
        }),
    })
}

fn conclude(context: &Context, stats: &CheckStats) -> Result<Outcome, Error> {
    let CheckStats { rows, bytes, missing_rows, missing_bytes, problems } = *stats;
    let whole = rows - missing_rows;
    context.out.remark(match problems {
        0 => format!("the store has all of {rows} files ({})", format_size(bytes)),
        _ => format!(
            "the store has {whole} of {rows} files; {missing_rows} ({}) are missing",
            format_size(missing_bytes)
        ),
    })?;
    Ok(Outcome::new(if problems > 0 { Exit::Problems } else { Exit::Done })
        .with("files", rows)
        .with("size_bytes", bytes)
        .with("missing_files", missing_rows)
        .with("missing_bytes", missing_bytes)
        .with("problems", problems))
}
