//! What a plan would cost in a store with classes, and where a class's terms bite.
//!
//! An estimate from above: before compression, and as if the store had none of the
//! chunks. Files share packs of about 32 MiB, so what a class takes for each object
//! (its overhead, its minimum size) is taken for each pack, not for each file.

use crate::classes;
use crate::cli::context::Context;
use crate::cli::error::Error;
use crate::cli::job::Planned;
use crate::config::Config;
use crate::policy::PolicySet;
use crate::tier::upload::PACK_BYTES;
use crate::units::{format_duration, format_size};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

const DAY_NS: i64 = 86_400 * 1_000_000_000;
const GIB: f64 = (1_u64 << 30) as f64;

/// What goes to which class.
pub struct Costs<'p> {
    /// `None` for a store without classes.
    default_class: Option<&'p str>,
    class_of_rule: BTreeMap<&'p str, &'p str>,
    classes: BTreeMap<&'p str, Sum>,
    now_ns: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    files: u64,
    bytes: u64,
    /// Of those, changed more recently than the class's minimum duration.
    young_files: u64,
    young_bytes: u64,
}

impl<'p> Costs<'p> {
    pub fn new(config: &'p Config, policy: &'p PolicySet, now_ns: i64) -> Self {
        let has_classes = config.store.url.starts_with("s3://");
        let configured = config.store.storage_class.as_deref();
        let named = policy
            .rules()
            .iter()
            .filter_map(|rule| Some((rule.name.as_str(), rule.storage_class.as_deref()?)));
        Self {
            default_class: has_classes.then(|| configured.unwrap_or(classes::STANDARD)),
            class_of_rule: named.collect(),
            classes: BTreeMap::new(),
            now_ns,
        }
    }

    pub fn add(&mut self, planned: &Planned<'_>) {
        let Some(default) = self.default_class.filter(|_| planned.step.upload) else { return };
        let rule = planned.step.rule.as_deref();
        let class = rule.and_then(|rule| self.class_of_rule.get(rule)).copied().unwrap_or(default);
        let sum = self.classes.entry(class).or_default();
        let bytes = planned.step.size_bytes;
        sum.files += 1;
        sum.bytes += bytes;
        let minimum_days = classes::of(class).map_or(0, |class| class.minimum_days);
        let age_ns = self.now_ns.saturating_sub(planned.entry.mtime_ns);
        if age_ns < i64::from(minimum_days) * DAY_NS {
            sum.young_files += 1;
            sum.young_bytes += bytes;
        }
    }

    pub fn tell(&self, context: &Context, config: &Config) -> Result<(), Error> {
        for (name, sum) in &self.classes {
            let packs = sum.bytes.div_ceil(PACK_BYTES as u64).max(1);
            let cost = config.prices.0.get(*name).map(|prices| cost(name, *prices, sum, packs));
            let terms = classes::of(name);
            let (files, size) = (sum.files, format_size(sum.bytes));
            let told = match &cost {
                Some(cost) => format!(
                    "at most {} to send, {} a month, {} to bring back",
                    dollars(cost.put),
                    dollars(cost.month),
                    dollars(cost.retrieval)
                ),
                None => format!("no price is known: [prices.{name}] in the configuration"),
            };
            context.out.remark(format!("{name}: {files} files ({size}), {packs} packs; {told}"))?;
            context.out.record(&json!({
                "type": "class", "class": name, "files": files, "size_bytes": sum.bytes,
                "packs": packs, "put_usd": cost.as_ref().map(|cost| cost.put),
                "month_usd": cost.as_ref().map(|cost| cost.month),
                "retrieval_usd": cost.as_ref().map(|cost| cost.retrieval),
                "minimum_days": terms.map(|terms| terms.minimum_days),
                "archive": terms.map(|terms| terms.is_archive),
                "young_files": sum.young_files, "young_bytes": sum.young_bytes,
            }))?;
            for warning in warnings(name, sum, config) {
                context.progress.warn(&warning);
            }
        }
        Ok(())
    }
}

struct Cost {
    put: f64,
    month: f64,
    retrieval: f64,
}

fn cost(name: &str, prices: classes::Prices, sum: &Sum, packs: u64) -> Cost {
    let (minimum, overhead) =
        classes::of(name).map_or((0, 0), |terms| (terms.minimum_bytes, terms.overhead_bytes));
    let billed = sum.bytes.max(packs * minimum) + packs * overhead;
    Cost {
        put: packs as f64 / 1000.0 * prices.put_per_1000,
        month: billed as f64 / GIB * prices.gib_month,
        retrieval: sum.bytes as f64 / GIB * prices.retrieval_gib,
    }
}

fn dollars(amount: f64) -> String {
    match amount {
        0.0 => "nothing".to_owned(),
        amount if amount < 0.01 => "less than $0.01".to_owned(),
        amount => format!("${amount:.2}"),
    }
}

/// Where the terms of a class do not fit what is done with it.
fn warnings(name: &str, sum: &Sum, config: &Config) -> Vec<String> {
    let Some(terms) = classes::of(name) else { return vec![] };
    let (mut warnings, days) = (vec![], terms.minimum_days);
    if sum.young_files > 0 {
        warnings.push(format!(
            "{name} is paid for {days} days at least: {} files ({}) changed in the last {days} days, \
             and one that changes again is paid for twice until then; mtime_older = \"{days}d\" in \
             the rule leaves them out",
            sum.young_files,
            format_size(sum.young_bytes)
        ));
    }
    let minimum = Duration::from_secs(u64::from(days) * 86_400);
    let grace = config.gc.grace_in_force();
    if grace < minimum {
        warnings.push(format!(
            "{name} is paid for {days} days at least: hsm gc deletes what is {} out of use, which \
             saves nothing before that",
            format_duration(grace)
        ));
    }
    if terms.is_archive {
        let tier = config.cold.thaw.tier;
        warnings.push(format!(
            "{name} cannot be read at once: a recall takes {} (tier {tier}), and a program that \
             opens such a stub is denied meanwhile",
            tier.typical(Some(name))
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_paid_for_by_the_pack() {
        let terms = classes::of("DEEP_ARCHIVE").expect("a known class");
        let sum = Sum { files: 1_000_000, bytes: 64 << 30, ..Sum::default() };
        let cost = cost("DEEP_ARCHIVE", terms.prices, &sum, 2048);
        assert!((cost.put - 0.1024).abs() < 1e-9, "2048 requests, not a million");
        let kept = 64.0 + 2048.0 * 40.0 / 1024.0 / 1024.0;
        assert!((cost.month - kept * 0.00099).abs() < 1e-9);
    }

    #[test]
    fn a_small_amount_is_not_nothing() {
        assert_eq!(
            [0.0, 0.004, 0.014, 12.3].map(dollars).join(" "),
            "nothing less than $0.01 $0.01 $12.30"
        );
    }
}
