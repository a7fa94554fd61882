//! One table of a document, read key by key.
//!
//! A getter returns `None` both when the key is absent and when its value is
//! wrong; in the second case the problem has been noted, and the caller goes on
//! to find the next one. Nothing built from a document with problems is used.

use super::{Document, Place, closest};
use crate::units;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with the place it stands at.
#[derive(Clone, Copy)]
pub struct Item<'d, 't> {
    doc: &'d Document<'t>,
    value: &'d Spanned<DeValue<'t>>,
}

/// A table, its place, and the name it has in messages, such as `class "video"`.
pub struct Section<'d, 't> {
    doc: &'d Document<'t>,
    table: &'d DeTable<'t>,
    title: String,
    at: usize,
}

impl<'d, 't> Item<'d, 't> {
    /// Byte offset of the value in the text.
    pub fn at(&self) -> usize {
        self.value.span().start
    }

    pub fn place(&self) -> Place {
        self.doc.place(self.at())
    }

    pub fn value(&self) -> &'d DeValue<'t> {
        self.value.get_ref()
    }

    /// Notes a problem at this value.
    pub fn problem(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.doc.problem(self.at(), what, mend);
    }

    /// Notes a problem `offset` bytes into a text value; at the value itself
    /// where escapes make the text differ from what was typed.
    pub fn problem_inside(&self, offset: usize, what: impl Into<String>, mend: impl Into<String>) {
        let span = self.value.span();
        let typed = self.doc.source(span.clone());
        let plain = match self.value() {
            DeValue::String(text) => typed.get(1..typed.len() - 1) == Some(text.as_ref()),
            _ => false,
        };
        let at = if plain { span.start + 1 + offset } else { span.start };
        self.doc.problem(at, what, mend);
    }

    /// The text, or a noted problem that says what kind of value was found.
    pub fn text(&self) -> Option<&'d str> {
        match self.value() {
            DeValue::String(text) => Some(text.as_ref()),
            other => {
                let what = format!("expected a text in quotes, found {}", kind_of(other));
                self.problem(what, "");
                None
            }
        }
    }

    /// A whole number within `range`.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Option<i64> {
        let mend = match *range.end() {
            i64::MAX => format!("write a number from {} on", range.start()),
            end => format!("write a number from {} to {end}", range.start()),
        };
        let DeValue::Integer(number) = self.value() else {
            let what = format!("expected a whole number, found {}", kind_of(self.value()));
            self.problem(what, mend);
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.problem(format!("{number} is out of range"), mend);
        }
        value
    }

    /// The value as one of a few words; `noun` names what they are.
    pub fn word<T: Copy>(&self, noun: &str, known: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = known.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
            let mend = match closest(text, words.iter().copied()) {
                Some(word) => format!("did you mean {word:?}?"),
                None => format!("write one of {}", words.join(", ")),
            };
            self.problem(format!("unknown {noun} {text:?}"), mend);
        }
        found
    }

    /// Notes a quantity's error with its accepted forms.
    pub fn quantity<T>(&self, read: Result<T, units::Error>) -> Option<T> {
        read.map_err(|error| self.problem(error.to_string(), error.mend())).ok()
    }

    /// A text or a list of texts, as items; an empty list is a problem, since
    /// nobody writes one on purpose.
    pub fn one_or_more(&self) -> Vec<Item<'d, 't>> {
        match self.value() {
            DeValue::Array(values) if values.is_empty() => {
                self.problem("an empty list", "write at least one value or remove the key");
                Vec::new()
            }
            DeValue::Array(values) => {
                values.iter().map(|value| Item { doc: self.doc, value }).collect()
            }
            _ => vec![*self],
        }
    }

    /// This value as a table with these keys.
    pub fn section(&self, title: impl Into<String>, known: &[&str]) -> Option<Section<'d, 't>> {
        let section = self.open_section(title)?;
        section.only(known);
        Some(section)
    }

    /// This value as a table whose keys are names that the user chooses.
    pub fn open_section(&self, title: impl Into<String>) -> Option<Section<'d, 't>> {
        let title = title.into();
        match self.value() {
            DeValue::Table(table) => {
                Some(Section { doc: self.doc, table, title, at: self.value.span().start })
            }
            other => {
                self.problem(format!("{title} must be a table, found {}", kind_of(other)), "");
                None
            }
        }
    }
}

impl<'d, 't> Section<'d, 't> {
    /// The whole document as a section that may hold `known` keys.
    pub fn top(doc: &'d Document<'t>, table: &'d DeTable<'t>, known: &[&str]) -> Self {
        let section = Self { doc, table, title: "the file".to_owned(), at: 0 };
        doc.top_keys.get_or_init(|| known.iter().map(|key| (*key).to_owned()).collect());
        section.only(known);
        section
    }

    pub fn doc(&self) -> &'d Document<'t> {
        self.doc
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn place(&self) -> Place {
        self.doc.place(self.at)
    }

    /// Changes the name in messages, once a rule has told its own.
    pub fn retitle(&mut self, title: impl Into<String>) {
        self.title = title.into();
    }

    /// Notes every key that is not `known`.
    pub fn only(&self, known: &[&str]) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let top_keys = self.doc.top_keys.get().map_or(&[][..], Vec::as_slice);
                let mend = match closest(name, known.iter().copied()) {
                    _ if top_keys.iter().any(|key| key == name) => {
                        "it belongs to the file itself, above the first [table]".to_owned()
                    }
                    Some(meant) => format!("did you mean {meant:?}?"),
                    None => format!("known keys: {}", known.join(", ")),
                };
                let what = format!("unknown key {name:?} in {}", self.title);
                self.doc.problem(key.span().start, what, mend);
            }
        }
    }

    /// Notes a problem with the table as a whole.
    pub fn problem(&self, what: impl Into<String>, mend: impl Into<String>) {
        self.doc.problem(self.at, what, mend);
    }

    pub fn item(&self, key: &str) -> Option<Item<'d, 't>> {
        self.table.get(key).map(|value| Item { doc: self.doc, value })
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Where the key itself stands; the section's place if it is absent.
    pub fn key_place(&self, key: &str) -> Place {
        let span = self.table.get_key_value(key).map(|(key, _)| key.span());
        self.doc.place(span.map_or(self.at, |Range { start, .. }| start))
    }

    /// Keys that the user chose, with their values, in the order of the text.
    pub fn entries(&self) -> Vec<(&'d str, Place, Item<'d, 't>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let doc = self.doc;
        let entry = |(key, value): (&'d Spanned<_>, _)| {
            let name: &'d std::borrow::Cow<'t, str> = key.get_ref();
            (name.as_ref(), doc.place(key.span().start), Item { doc, value })
        };
        entries.into_iter().map(entry).collect()
    }

    /// The tables of a `[[key]]` list, or of an inline list of tables.
    pub fn tables(&self, key: &str) -> Vec<Item<'d, 't>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        match item.value() {
            DeValue::Array(values) => {
                values.iter().map(|value| Item { doc: self.doc, value }).collect()
            }
            other => {
                let what = format!("{key} must be a list of tables, found {}", kind_of(other));
                let outer = self.title.strip_prefix('[').and_then(|title| title.strip_suffix(']'));
                let outer = outer.map(|outer| format!("{outer}.")).unwrap_or_default();
                item.problem(what, format!("write [[{outer}{key}]]"));
                Vec::new()
            }
        }
    }

    pub fn text(&self, key: &str) -> Option<&'d str> {
        self.item(key)?.text()
    }

    pub fn flag(&self, key: &str) -> Option<bool> {
        let item = self.item(key)?;
        match item.value() {
            DeValue::Boolean(flag) => Some(*flag),
            other => {
                let what = format!("expected true or false, found {}", kind_of(other));
                item.problem(what, "write true or false without quotes");
                None
            }
        }
    }

    /// Bytes, written as `"64KiB"` or as a plain number.
    pub fn size(&self, key: &str) -> Option<u64> {
        let item = self.item(key)?;
        match item.value() {
            DeValue::Integer(_) => item.integer(0..=i64::MAX).map(|bytes| bytes.cast_unsigned()),
            _ => item.quantity(units::parse_size(item.text()?)),
        }
    }

    pub fn rate(&self, key: &str) -> Option<u64> {
        let item = self.item(key)?;
        item.quantity(units::parse_rate(item.text()?))
    }

    pub fn duration(&self, key: &str) -> Option<Duration> {
        let item = self.item(key)?;
        if let DeValue::Integer(number) = item.value() {
            let error = units::parse_duration(number.as_str()).err()?;
            item.problem(error.to_string(), error.mend());
            return None;
        }
        item.quantity(units::parse_duration(item.text()?))
    }

    /// Percent, 0 to 100.
    pub fn percent(&self, key: &str) -> Option<f64> {
        let item = self.item(key)?;
        item.quantity(units::parse_percent(item.text()?))
    }

    pub fn integer(&self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        self.item(key)?.integer(range)
    }
}

/// The kind of a value, as a person calls it.
fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
