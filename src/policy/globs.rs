//! Sets of globs over paths as bytes, compiled once.
//!
//! `*` and `?` stay within one path component, `**` crosses them. How a glob is
//! anchored follows what people know from `.gitignore`, and is decided here
//! once for include, exclude, pin and every other list of paths:
//!
//! * without a slash (`*.tmp`): the last component, at any depth;
//! * with a slash (`projects/**`): the path from the root, as with a leading
//!   `./`, which is how a single component is tied to the root (`./lost+found`);
//! * with a slash at its end (`projects/`): everything below;
//! * with a slash at its start (`/srv/media/**`): the absolute path.
//!
//! A set that takes files away ([`Reach::Below`]) also covers all that lies
//! below a directory it names; a set that adds files does not.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// Whether a glob also covers what lies below a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    Exact,
    Below,
}

/// How the globs of one list are read.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub reach: Reach,
    pub ignore_case: bool,
}

/// A glob that `globset` refuses, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad glob {glob:?}: {why}")]
pub struct BadGlob {
    pub glob: String,
    pub why: String,
}

/// Path globs of one list.
#[derive(Debug, Clone, Default)]
pub struct PathGlobs {
    /// As they were written, for people.
    written: Vec<String>,
    /// Globs without a slash, tried on the last component alone: it is much
    /// shorter than the path, and every file of a scan comes by here.
    names: GlobSet,
    from_root: GlobSet,
    absolute: GlobSet,
}

/// Collects globs, so that each bad one can be reported where it stands.
pub struct PathGlobsBuilder {
    style: Style,
    globs: PathGlobs,
    names: GlobSetBuilder,
    from_root: GlobSetBuilder,
    absolute: GlobSetBuilder,
}

impl PathGlobsBuilder {
    pub fn new(style: Style) -> Self {
        let globs = PathGlobs::default();
        let new = GlobSet::builder;
        Self { style, globs, names: new(), from_root: new(), absolute: new() }
    }

    pub fn add(&mut self, glob: &str) -> Result<(), BadGlob> {
        let bad = |why: &str| BadGlob { glob: glob.to_owned(), why: why.to_owned() };
        if glob.is_empty() {
            return Err(bad("empty"));
        }
        if glob.split('/').any(|component| component == "..") {
            return Err(bad("a path never contains \"..\""));
        }
        let below = glob.ends_with('/');
        let trimmed = glob.trim_end_matches('/');
        let name_only = !glob.contains('/');
        let compile = |pattern: &str| {
            let compiled = compile(pattern, self.style.ignore_case);
            compiled.map_err(|error| bad(&error.kind().to_string()))
        };
        let (set, pattern) = if glob.starts_with('/') {
            (&mut self.absolute, trimmed.to_owned())
        } else if name_only {
            self.names.add(compile(trimmed)?);
            (&mut self.from_root, format!("**/{trimmed}"))
        } else {
            (&mut self.from_root, trimmed.strip_prefix("./").unwrap_or(trimmed).to_owned())
        };
        if !below && !name_only {
            set.add(compile(&pattern)?);
        }
        if below || self.style.reach == Reach::Below {
            set.add(compile(&format!("{pattern}/**"))?);
        }
        self.globs.written.push(glob.to_owned());
        Ok(())
    }

    pub fn build(mut self) -> Result<PathGlobs, BadGlob> {
        let error = |error: globset::Error| BadGlob {
            glob: error.glob().unwrap_or("").to_owned(),
            why: error.kind().to_string(),
        };
        self.globs.names = self.names.build().map_err(error)?;
        self.globs.from_root = self.from_root.build().map_err(error)?;
        self.globs.absolute = self.absolute.build().map_err(error)?;
        Ok(self.globs)
    }
}

fn compile(pattern: &str, ignore_case: bool) -> Result<globset::Glob, globset::Error> {
    GlobBuilder::new(pattern)
        .literal_separator(true)
        .backslash_escape(true)
        .empty_alternates(true)
        .case_insensitive(ignore_case)
        .build()
}

impl PathGlobs {
    /// Whether one of them matches; `name` is the last component of `path`, and
    /// `absolute` is asked only if a glob is written as an absolute path.
    pub fn matches<'c>(
        &self,
        name: &Candidate<'_>,
        path: &Candidate<'_>,
        absolute: impl FnOnce() -> &'c [u8],
    ) -> bool {
        let matches =
            |set: &GlobSet, candidate| !set.is_empty() && set.is_match_candidate(candidate);
        matches(&self.names, name)
            || matches(&self.from_root, path)
            || (!self.absolute.is_empty()
                && self.absolute.is_match_candidate(&Candidate::from_bytes(absolute())))
    }

    pub fn written(&self) -> &[String] {
        &self.written
    }

    pub fn is_empty(&self) -> bool {
        self.written.is_empty()
    }
}

/// Globs over one text: a file's name, a root's path, an attribute's value.
/// `*` matches any characters, including a slash.
#[derive(Debug, Clone, Default)]
pub struct TextGlobs {
    written: Vec<String>,
    set: GlobSet,
}

impl TextGlobs {
    pub fn new<'g>(
        globs: impl IntoIterator<Item = &'g str>,
        ignore_case: bool,
    ) -> Result<Self, BadGlob> {
        let (mut written, mut set) = (Vec::new(), GlobSet::builder());
        for glob in globs {
            set.add(text_glob(glob, ignore_case)?);
            written.push(glob.to_owned());
        }
        let error = |error: globset::Error| BadGlob {
            glob: error.glob().unwrap_or("").to_owned(),
            why: error.kind().to_string(),
        };
        Ok(Self { written, set: set.build().map_err(error)? })
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.set.is_match_candidate(&Candidate::from_bytes(text))
    }

    pub fn written(&self) -> &[String] {
        &self.written
    }
}

/// One glob over a text, checked.
pub fn text_glob(glob: &str, ignore_case: bool) -> Result<globset::Glob, BadGlob> {
    let built = GlobBuilder::new(glob)
        .literal_separator(false)
        .backslash_escape(true)
        .empty_alternates(true)
        .case_insensitive(ignore_case)
        .build();
    built.map_err(|error| BadGlob { glob: glob.to_owned(), why: error.kind().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(glob: &str, style: Style, path: &[u8]) -> bool {
        let mut builder = PathGlobsBuilder::new(style);
        builder.add(glob).expect("a good glob");
        let globs = builder.build().expect("a good set");
        let absolute = [b"/srv/data/".as_slice(), path].concat();
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let (name, path) = (Candidate::from_bytes(name), Candidate::from_bytes(path));
        globs.matches(&name, &path, || &absolute)
    }

    const EXACT: Style = Style { reach: Reach::Exact, ignore_case: false };
    const BELOW: Style = Style { reach: Reach::Below, ignore_case: false };

    #[test]
    fn globs_are_anchored_as_people_expect() {
        let table: &[(&str, &str, bool)] = &[
            ("*.tmp", "a.tmp", true),
            ("*.tmp", "x/y/a.tmp", true),
            ("*.tmp", "a.tmp/b", false),
            ("./*.tmp", "a.tmp", true),
            ("./*.tmp", "x/a.tmp", false),
            ("projects/**", "projects/a/b", true),
            ("projects/**", "old/projects/a", false),
            ("projects/*", "projects/a/b", false),
            ("projects/", "projects/a/b", true),
            ("projects/", "old/projects/a", false),
            ("**/*.{mkv,mp4}", "a.mkv", true),
            ("**/*.{mkv,mp4}", "x/y/a.mp4", true),
            ("**/*.{mkv,mp4}", "x/y/a.MP4", false),
            ("/srv/data/x/*", "x/a", true),
            ("/srv/data/x/*", "y/a", false),
            ("/srv/other/**", "x/a", false),
            ("/srv/data/", "x/a", true),
            ("~$*", "doc/~$report.docx", true),
            ("[[]x]", "[x]", true),
            ("{a,b}/**", "b/c", true),
            ("??", "x/ab", true),
        ];
        for (glob, path, want) in table {
            assert_eq!(matches(glob, EXACT, path.as_bytes()), *want, "{glob} on {path}");
        }
    }

    #[test]
    fn a_taking_set_covers_what_lies_below() {
        for (glob, path) in
            [(".snapshots", "a/.snapshots/1/f"), ("/srv/data/keep", "keep/f"), ("a/b", "a/b/c/d")]
        {
            assert!(matches(glob, BELOW, path.as_bytes()), "{glob} on {path}");
            assert!(!matches(glob, EXACT, path.as_bytes()), "{glob} on {path}");
        }
        assert!(matches("a/b", BELOW, b"a/b"));
        assert!(!matches("a/b", BELOW, b"a/bc"));
    }

    #[test]
    fn names_that_are_no_utf8_still_match() {
        assert!(matches("*.mkv", EXACT, b"x/\xff\xfe.mkv"));
        assert!(!matches("*.mkv", EXACT, b"x/\xff\xfe.mk"));
        assert!(matches("**/bücher/*", EXACT, "x/bücher/1".as_bytes()));
    }

    #[test]
    fn case_is_ignored_on_request() {
        let style = Style { reach: Reach::Exact, ignore_case: true };
        assert!(matches("*.{jpg,cr2}", style, b"x/IMG.CR2"));
        assert!(!matches("*.{jpg,cr2}", EXACT, b"x/IMG.CR2"));
    }

    #[test]
    fn a_bad_glob_is_shown_with_its_reason() {
        for (glob, why) in [
            ("a{b", "unclosed alternate group"),
            ("[z-a]", "invalid range; 'z' > 'a'"),
            ("", "empty"),
            ("../x", "a path never contains"),
        ] {
            let error = PathGlobsBuilder::new(EXACT).add(glob).expect_err(glob);
            assert!(error.to_string().starts_with(&format!("bad glob {glob:?}: {why}")), "{error}");
        }
    }

    #[test]
    fn text_globs_do_not_stop_at_a_slash() {
        let globs = TextGlobs::new(["cold*", "/srv/*"], false).expect("good globs");
        assert!(globs.matches(b"cold/archive"));
        assert!(globs.matches(b"/srv/a/b"));
        assert!(!globs.matches(b"warm"));
        assert!(TextGlobs::new(["[a"], false).is_err());
    }
}
