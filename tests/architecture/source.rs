//! One source file, read well enough for the rules: comments and test modules
//! are blanked out, strings are kept apart, line numbers stay right.

/// A file below `src/`, split into code and strings.
pub struct Source {
    /// Relative to `src/`, with `/`.
    pub file: String,
    /// The text as it is.
    pub text: String,
    /// The text without comments, strings and tests; lines as in `text`.
    pub code: String,
    /// Every string literal outside tests: line and value.
    pub strings: Vec<(usize, String)>,
}

impl Source {
    pub fn new(file: &str, text: &str) -> Self {
        let (mut code, mut strings) = split(text);
        if is_test_file(file) {
            code = blank(&code);
            strings.clear();
        }
        for (start, end) in test_modules(&code) {
            let first = line_of(&code, start);
            let last = line_of(&code, end);
            strings.retain(|(line, _)| *line < first || *line > last);
            code.replace_range(start..end, &blank(&code[start..end]));
        }
        Self { file: file.to_owned(), text: text.to_owned(), code, strings }
    }

    /// The first component: `state/mod.rs` and `state.rs` are both `state`.
    pub fn room(&self) -> &str {
        let first = self.file.split('/').next().expect("split yields at least one part");
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// Lines of code that contain `needle` as a whole word (it may end in `!`
    /// or `::name`): line numbers, 1-based.
    pub fn lines_with(&self, needle: &str) -> Vec<usize> {
        let starts_in_word = needle.starts_with(is_word);
        let ends_in_word = needle.ends_with(is_word);
        let whole = |at: usize| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + needle.len()..].chars().next();
            let inside = starts_in_word && before.is_some_and(is_word);
            let goes_on = ends_in_word && after.is_some_and(is_word);
            !inside && !goes_on
        };
        self.code
            .match_indices(needle)
            .filter(|(at, _)| whole(*at))
            .map(|(at, _)| line_of(&self.code, at))
            .collect()
    }

    /// Lines of the file outside test modules.
    pub fn length(&self) -> usize {
        let tests: usize = test_modules(&split(&self.text).0)
            .iter()
            .map(|(start, end)| self.code[*start..*end].lines().count())
            .sum();
        self.text.lines().count().saturating_sub(tests)
    }
}

pub fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_'
}

/// `tests.rs`, `tests/..` and `.._tests.rs` beside the code hold only tests.
fn is_test_file(file: &str) -> bool {
    file.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs"))
}

/// Spaces for everything but line ends, byte for byte.
fn blank(text: &str) -> String {
    text.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect()
}

/// Code with comments and strings blanked, and the strings.
fn split(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut strings = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let len = token_len(rest, &code);
        let token = &rest[..len];
        if len > first.len_utf8() || first == '"' {
            if token.starts_with(['"', 'r', 'b']) && token.contains('"') {
                strings.push((line_of(text, text.len() - rest.len()), token.to_owned()));
            }
            code.push_str(&blank(token));
        } else {
            code.push(first);
        }
        rest = &rest[len..];
    }
    (code, strings)
}

/// The length of a comment, string or character literal at the start of
/// `rest`; of one character where there is none of these.
fn token_len(rest: &str, before: &str) -> usize {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |at| at + 2);
    }
    if let Some(body) = rest.strip_prefix('"') {
        return 1 + quoted_len(body, '"');
    }
    if before.ends_with(is_word) {
        return one;
    }
    if let Some(hashes) = raw_string_hashes(rest) {
        let close = format!("\"{}", "#".repeat(hashes));
        let open = rest.find('"').expect("a raw string has a quote") + 1;
        return rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
    }
    if let Some(body) = rest.strip_prefix("b\"") {
        return 2 + quoted_len(body, '"');
    }
    if let Some(body) = rest.strip_prefix('\'') {
        let mut letters = body.chars();
        match (letters.next(), letters.next()) {
            (Some('\\'), _) => return 1 + quoted_len(body, '\''),
            (Some(letter), Some('\'')) => return 2 + letter.len_utf8(),
            _ => {}
        }
    }
    one
}

/// `r"`, `r#"`, `br"`: the number of hashes.
fn raw_string_hashes(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    body[hashes..].starts_with('"').then_some(hashes)
}

/// Bytes up to and with the closing quote, escapes passed over.
fn quoted_len(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in body.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

/// Byte ranges of items under `#[cfg(test)]`, in code without strings.
fn test_modules(code: &str) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(code, start + "#[cfg(test)]".len());
        ranges.push((start, end));
        from = end;
    }
    ranges
}

/// The end of the item that begins at `from`: its `;` or matching brace.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, letter) in code[from..].char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth <= 1 => return from + at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return from + at + 1,
            _ => {}
        }
    }
    code.len()
}
