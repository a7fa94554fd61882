//! The policy that the page shows: the present one, with one rule in the place of
//! those that tier.
//!
//! Everything else is kept as it decides today: pins, excludes, defaults, limits,
//! classes, retentions, and the rules that ignore or upload, which keep their say
//! before or after the new rule. It takes the place of the last rule that tiers;
//! where none does, it comes before the last rule that uploads, which is how a
//! list ends, or else last. The files of a policy become one, without comments.

use super::Error;
use crate::policy::{Names, PolicySet};
use serde::Serialize;
use toml::{Table, Value};

/// Text around what the page writes: `top`, a watermark, `before`, the rule, `after`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Template {
    pub top: String,
    pub before: String,
    pub after: String,
    /// A name that no rule has which is kept.
    pub rule_name: String,
    /// The watermark's order, as it is written; `None` where it has none.
    pub order: Option<String>,
}

/// What the new rule says before anybody moves a slider. Of a file with several
/// names none is taken, whatever a class says of links.
const LEAST: &str = "action = \"tier\"\nnlink_max = 1\n";

impl Template {
    /// Of a policy that has been loaded, given as (name, text).
    pub fn of(files: &[(String, String)]) -> Result<Self, Error> {
        let mut parts = Parts::default();
        for (name, text) in files {
            let table: Table = text.parse().map_err(|source| Error::Template {
                file: name.clone(),
                source: Box::new(source),
            })?;
            parts.add(table);
        }
        Ok(parts.template())
    }

    /// The policy with the rule as it is before a slider moves.
    pub fn probe(&self, names: &Names<'_>) -> Result<PolicySet, Error> {
        let rule = format!("[[rule]]\nname = \"{}\"\n{LEAST}\n", self.rule_name);
        let text = [&*self.top, &self.before, &rule, &self.after].concat();
        PolicySet::load(&[("the workbench", text)], names).map_err(Error::Policy)
    }
}

#[derive(Default)]
struct Parts {
    /// `pin`, `exclude`, `unguarded`.
    knobs: Table,
    /// `defaults`, `limits`, `class`.
    tables: Table,
    rules: Vec<Table>,
    retentions: Vec<Table>,
    order: Option<String>,
}

impl Parts {
    fn add(&mut self, table: Table) {
        for (key, value) in table {
            match (key.as_str(), value) {
                ("rule", Value::Array(rules)) => self.rules.extend(tables(rules)),
                ("retention", Value::Array(all)) => self.retentions.extend(tables(all)),
                ("watermark", Value::Table(watermark)) => {
                    self.order = watermark.get("order").and_then(Value::as_str).map(str::to_owned);
                }
                (_, Value::Table(inner)) => match self.tables.get_mut(&key) {
                    Some(Value::Table(known)) => known.extend(inner),
                    _ => drop(self.tables.insert(key, Value::Table(inner))),
                },
                (_, value) => match self.knobs.get_mut(&key) {
                    Some(known) => *known = Value::Array(both(known.clone(), value)),
                    None => drop(self.knobs.insert(key, value)),
                },
            }
        }
    }

    fn template(self) -> Template {
        let place = self.place();
        let stays = |rule: &&Table| action(rule) != Some("tier");
        let before: Vec<&Table> = self.rules[..place].iter().filter(stays).collect();
        let after: Vec<&Table> = self.rules[place..].iter().filter(stays).collect();
        let retentions: Vec<&Table> = self.retentions.iter().collect();
        Template {
            top: [written(&self.knobs), written(&self.tables)].concat(),
            before: list("rule", &before),
            after: [list("rule", &after), list("retention", &retentions)].concat(),
            rule_name: self.free_name(),
            order: self.order,
        }
    }

    /// In front of which rule the new one stands.
    fn place(&self) -> usize {
        let last = |wanted| self.rules.iter().rposition(|rule| action(rule) == Some(wanted));
        last("tier").or_else(|| last("upload")).unwrap_or(self.rules.len())
    }

    fn free_name(&self) -> String {
        let taken = |name: &str| {
            let mut kept = self.rules.iter().filter(|rule| action(rule) != Some("tier"));
            kept.any(|rule| rule.get("name").and_then(Value::as_str) == Some(name))
        };
        let numbered = (2..).map(|number| format!("workbench {number}"));
        let mut names = std::iter::once("workbench".to_owned()).chain(numbered);
        names.find(|name| !taken(name)).expect("rules are finite")
    }
}

fn action(rule: &Table) -> Option<&str> {
    rule.get("action").and_then(Value::as_str)
}

fn tables(values: Vec<Value>) -> impl Iterator<Item = Table> {
    values.into_iter().filter_map(|value| match value {
        Value::Table(table) => Some(table),
        _ => None,
    })
}

/// Lists of several files add up; a single value is a list of one.
fn both(one: Value, other: Value) -> Vec<Value> {
    let list = |value| match value {
        Value::Array(list) => list,
        value => vec![value],
    };
    [list(one), list(other)].concat()
}

fn list(key: &str, all: &[&Table]) -> String {
    all.iter()
        .map(|table| {
            let item = Value::Array(vec![Value::Table((*table).clone())]);
            written(&Table::from_iter([(key.to_owned(), item)]))
        })
        .collect()
}

/// With an empty line behind it.
fn written(table: &Table) -> String {
    if table.is_empty() {
        return String::new();
    }
    let text = toml::to_string(table).expect("what TOML was read from can be written as TOML");
    format!("{}\n\n", text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = r#"
pin = "keys"
[defaults]
quiet = "5m"
[watermark]
high = "90%"
low = "80%"
order = "largest"
[class."odd \"name\""]
any = [{ include = "*.mkv" }, { min_size = "1GiB", not = { owner = 0 } }]
[[rule]]
name = "programs"
mode_any = "executable"
action = "ignore"
[[rule]]
name = "first"
idle = "1y"
action = "tier"
[[rule]]
name = "kept"
all = [{ xattr = { "user.keep" = true } }]
action = "upload"
[[rule]]
name = "workbench"
class = "odd \"name\""
action = "tier"
[[rule]]
name = "rest"
action = "upload"
[[retention]]
name = "all"
keep_versions = 2
"#;

    fn of(texts: &[&str]) -> Template {
        let named: Vec<_> =
            texts.iter().map(|text| ("x.toml".to_owned(), (*text).to_owned())).collect();
        PolicySet::load(&named, &Names::none()).expect("a policy");
        Template::of(&named).expect("a template")
    }

    #[test]
    fn one_rule_takes_the_place_of_those_that_tier() {
        let template = of(&[POLICY]);
        let set = template.probe(&Names::none()).expect("a policy");
        let names: Vec<_> = set.rules().iter().map(|rule| rule.name.as_str()).collect();
        assert_eq!(names, ["programs", "kept", "workbench", "rest"]);
        assert_eq!(set.class_names(), ["odd \"name\""]);
        assert_eq!(set.defaults().quiet.as_secs(), 300);
        assert_eq!(template.order.as_deref(), Some("largest"));
        assert!(template.after.contains("keep_versions = 2"), "{template:?}");
        assert!(template.top.starts_with("pin = \"keys\""), "{template:?}");
        assert_eq!(set.watermark(), None);
    }

    #[test]
    fn files_become_one() {
        let second = "pin = [\"a\", \"b\"]\n[limits]\nmax_files = 5\n[class.c]\nmin_size = 1\n";
        let template = of(&[POLICY, second]);
        let set = template.probe(&Names::none()).expect("a policy");
        assert_eq!(set.limits().max_files, Some(5));
        assert_eq!(set.class_names().len(), 2);
        assert!(template.top.contains(r#"pin = ["keys", "a", "b"]"#), "{}", template.top);
    }

    #[test]
    fn without_a_rule_that_tiers_it_comes_before_the_last_that_uploads() {
        let place = |text: &str| {
            let set = of(&[text]).probe(&Names::none()).expect("a policy");
            set.rules().iter().position(|rule| rule.name == "workbench").expect("it is there")
        };
        let rule = |name: &str, action: &str| {
            format!("[[rule]]\nname = \"{name}\"\naction = \"{action}\"\n")
        };
        assert_eq!(place(""), 0);
        assert_eq!(place(&rule("a", "ignore")), 1);
        assert_eq!(place(&(rule("a", "ignore") + &rule("b", "upload"))), 1);
        assert_eq!(place(&(rule("b", "upload") + &rule("a", "ignore"))), 0);
        assert_eq!(place(&(rule("a", "tier") + &rule("b", "upload"))), 0);
        assert_eq!(of(&[&rule("workbench", "upload")]).rule_name, "workbench 2");
    }
}
