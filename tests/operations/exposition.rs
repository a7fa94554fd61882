//! Reads Prometheus' text format as strictly as a scraper could
//! (prometheus.io/docs/instrumenting/exposition_formats): anything that is not
//! exactly of the format is a failure.

use std::collections::BTreeMap;

/// Values by `name{label="value",...}`, labels in the order of their names.
pub type Samples = BTreeMap<String, f64>;

/// Every sample of a text.
///
/// # Errors
/// The first line that is not of the format, and why.
pub fn read(text: &str) -> Result<Samples, String> {
    if !text.ends_with('\n') {
        return Err("the last line does not end".to_owned());
    }
    let mut samples = Samples::new();
    let mut families: Vec<Family> = vec![];
    for (number, line) in text.lines().enumerate() {
        read_line(line, &mut families, &mut samples)
            .map_err(|why| format!("line {}: {why}: {line}", number + 1))?;
    }
    let empty = families.iter().find(|family| family.samples == 0);
    empty.map_or(Ok(samples), |family| Err(format!("{} has no samples", family.name)))
}

/// Every metric is explained.
pub fn are_in_the_manual(samples: &Samples) {
    let manual = include_str!("../../docs/OPERATIONS.md");
    for name in samples.keys().map(|key| key.split('{').next().expect("a name")) {
        assert!(manual.contains(&format!("`{name}`")), "docs/OPERATIONS.md does not say {name}");
    }
}

struct Family {
    name: String,
    kind: Option<String>,
    samples: usize,
}

fn read_line(line: &str, families: &mut Vec<Family>, samples: &mut Samples) -> Result<(), String> {
    if let Some(rest) = line.strip_prefix("# HELP ") {
        let (name, help) = rest.split_once(' ').ok_or("no help")?;
        require_name(name, true)?;
        if help.trim().is_empty() || !ends_as_help(help) {
            return Err("bad help".to_owned());
        }
        if families.iter().any(|family| family.name == name) {
            return Err("a second family of this name".to_owned());
        }
        families.push(Family { name: name.to_owned(), kind: None, samples: 0 });
        return Ok(());
    }
    let family = families.last_mut().ok_or("a sample before its help")?;
    if let Some(rest) = line.strip_prefix("# TYPE ") {
        let (name, kind) = rest.split_once(' ').ok_or("no type")?;
        if name != family.name || family.kind.is_some() || family.samples > 0 {
            return Err("a type that is not of the help above it".to_owned());
        }
        if !["gauge", "counter"].contains(&kind) {
            return Err(format!("unknown type {kind}"));
        }
        if (kind == "counter") != name.ends_with("_total") {
            return Err("counters, and only they, end in _total".to_owned());
        }
        family.kind = Some(kind.to_owned());
        return Ok(());
    }
    if line.starts_with('#') || family.kind.is_none() {
        return Err("neither help, type nor a sample".to_owned());
    }
    let (key, value) = read_sample(line, &family.name)?;
    if family.kind.as_deref() == Some("counter") && value < 0.0 {
        return Err("a counter below zero".to_owned());
    }
    family.samples += 1;
    match samples.insert(key, value) {
        None => Ok(()),
        Some(_) => Err("the same sample twice".to_owned()),
    }
}

/// Backslashes in help stand only before another, or before an n.
fn ends_as_help(help: &str) -> bool {
    let mut letters = help.chars();
    while let Some(letter) = letters.next() {
        if letter == '\\' && !matches!(letters.next(), Some('\\' | 'n')) {
            return false;
        }
    }
    true
}

fn require_name(name: &str, colons: bool) -> Result<(), String> {
    let first = name.chars().next().ok_or("an empty name")?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    if first.is_ascii_digit() || !name.chars().all(good) {
        return Err(format!("bad name {name:?}"));
    }
    Ok(())
}

fn read_sample(line: &str, family: &str) -> Result<(String, f64), String> {
    let rest = line.strip_prefix(family).ok_or("a sample of another family")?;
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => read_labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.strip_prefix(' ').ok_or("no space before the value")?;
    let number = match value {
        "NaN" => f64::NAN,
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        plain if plain.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            plain.parse().map_err(|_| format!("bad value {plain:?}"))?
        }
        other => return Err(format!("bad value {other:?}")),
    };
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}={value:?}")).collect();
    let braces =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    Ok((format!("{family}{braces}"), number))
}

/// The labels, and what follows the closing brace.
fn read_labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        require_name(name, false)?;
        let mut value = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next().ok_or("a value without an end")? {
                (at, '"') => break at,
                (_, '\\') => value.push(match letters.next() {
                    Some((_, '\\')) => '\\',
                    Some((_, '"')) => '"',
                    Some((_, 'n')) => '\n',
                    _ => return Err("an escape that is none".to_owned()),
                }),
                (_, letter) => value.push(letter),
            }
        };
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("the label {name} twice"));
        }
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return Ok((labels, rest.strip_prefix('}').ok_or("no closing brace")?)),
        }
    }
}

#[test]
fn the_reader_is_strict() {
    let head = "# HELP a_b Some help.\n# TYPE a_b gauge\n";
    let good = format!("{head}a_b 1\na_b{{c=\"d\\\\e\\\"f\\ng\",h=\"\"}} -0.5\n");
    let samples = read(&good).expect("good");
    assert_eq!(samples["a_b"], 1.0);
    assert_eq!(samples[r#"a_b{c="d\\e\"f\ng",h=""}"#], -0.5);
    for bad in [
        "a_b 1\n",
        "# HELP a_b Some help.\na_b 1\n",
        "# HELP a_b Some help.\n# TYPE a_b gauge\n",
        "# HELP a_b Some help.\n# TYPE a_b counter\na_b 1\n",
        &format!("{head}a_b 1"),
        &format!("{head}a_b  1\n"),
        &format!("{head}a_b one\n"),
        &format!("{head}a_b inf\n"),
        &format!("{head}a_b 1\na_b 2\n"),
        &format!("{head}a_c 1\n"),
        &format!("{head}a_b{{c=d}} 1\n"),
        &format!("{head}a_b{{c=\"d\\q\"}} 1\n"),
        &format!("{head}a_b{{c=\"d\" 1\n"),
        &format!("{head}a_b{{c=\"d\",c=\"e\"}} 1\n"),
        &format!("{head}a_b{{0c=\"d\"}} 1\n"),
        &format!("{head}a_b 1\n\n"),
        &format!("{head}a_b 1\n{head}a_b{{c=\"d\"}} 1\n"),
    ] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
