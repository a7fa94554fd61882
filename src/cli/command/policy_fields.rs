//! What a policy can say, one example each, for `hsm policy fields`.
//!
//! Every example is loaded as a policy by a test, so that this list cannot
//! promise what the language does not have.

/// One key of the policy language.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// The table it stands in.
    pub place: &'static str,
    pub example: &'static str,
    pub about: &'static str,
}

const TOP: &str = "top of the file";
const ASK: &str = "rule and class, what must hold";
const SET: &str = "[[rule]], what is done";
const KEEP: &str = "[[retention]], what the store keeps of versions";
const WATERMARK: &str = "[watermark], free space first";
const LIMITS: &str = "[limits], per run";
const DEFAULTS: &str = "[defaults]";

const fn field(place: &'static str, example: &'static str, about: &'static str) -> Field {
    Field { place, example, about }
}

pub const FIELDS: &[Field] = &[
    field(TOP, "unguarded = false", "true: stubs may exist without a guard and then read as zeros"),
    field(TOP, "pin = [\"current/**\"]", "paths that are never stubbed"),
    field(TOP, "exclude = [\"scratch/**\"]", "paths that are left alone altogether"),
    field(SET, "name = \"cold video\"", "shown by plan and explain; required"),
    field(SET, "action = \"tier\"", "ignore, upload (keep local) or tier; required"),
    field(SET, "storage_class = \"STANDARD_IA\"", "S3 storage class of the packs"),
    field(SET, "chunking = \"fastcdc\"", "for versioned dumps; fixed is the default"),
    field(SET, "copies = 2", "in both stores before a file may be a stub; 1 is the default"),
    field(SET, "compression = 3", "zstd level, or \"none\""),
    field(ASK, "class = \"video\"", "one of the classes named, [class.video]"),
    field(ASK, "root = \"/srv/*\"", "the root's path"),
    field(ASK, "include = [\"**/*.{mkv,mp4}\"]", "globs over the path below the root"),
    field(ASK, "exclude = [\"**/.snapshots/**\"]", "but not these"),
    field(ASK, "file_name = \"*.iso\"", "globs over the last component"),
    field(ASK, "case_insensitive = true", "for the globs beside it"),
    field(ASK, "min_size = \"64MiB\"", "at least this large"),
    field(ASK, "max_size = \"10GiB\"", "at most this large"),
    field(ASK, "owner = [\"root\", 1001]", "users by name or number"),
    field(ASK, "group = 100", "groups by name or number"),
    field(ASK, "mode_any = \"executable\"", "one of these mode bits"),
    field(ASK, "mode_all = \"0660\"", "all of these mode bits"),
    field(ASK, "mode_none = [\"setuid\", \"setgid\"]", "none of these mode bits"),
    field(ASK, "nlink_max = \"any\"", "names of the inode; 1 is the default"),
    field(
        ASK,
        "xattr = { \"user.project\" = \"cold*\" }",
        "an attribute's value, or true or false",
    ),
    field(ASK, "idle = \"90d\"", "since access, change and recall, the latest of them"),
    field(ASK, "atime_older = \"90d\"", "since the last access"),
    field(ASK, "mtime_older = \"90d\"", "since the last change"),
    field(ASK, "ctime_older = \"90d\"", "since the last change of metadata"),
    field(ASK, "first_seen_older = \"30d\"", "since a scan first saw it"),
    field(ASK, "recall_older = \"7d\"", "since the last recall"),
    field(ASK, "state = [\"resident\", \"dirty\"]", "states, as in hsm ls"),
    field(ASK, "all = [{ min_size = \"1MiB\" }, { idle = \"7d\" }]", "each of these"),
    field(ASK, "any = [{ min_size = \"1GiB\" }, { idle = \"1y\" }]", "at least one of these"),
    field(ASK, "not = { file_name = \"*.db\" }", "the opposite"),
    field(KEEP, "name = \"documents\"", "told with what is kept; required"),
    field(KEEP, "keep_versions = 10", "the last versions of a file that still exists"),
    field(
        KEEP,
        "keep_for = \"90d\"",
        "all versions, for so long after they were replaced or deleted",
    ),
    field(KEEP, "include = \"*.docx\"", "and class, root, exclude, file_name, min_size, max_size"),
    field(WATERMARK, "high = \"85%\"", "start freeing above this"),
    field(WATERMARK, "low = \"75%\"", "and stop below this"),
    field(WATERMARK, "order = \"coldest\"", "coldest, largest or a weight expression"),
    field(LIMITS, "max_bytes = \"2TiB\"", "upload and free at most this much"),
    field(LIMITS, "max_files = 100000", "and this many files"),
    field(LIMITS, "max_duration = \"6h\"", "stop between files after this long"),
    field(LIMITS, "stop_after_errors = \"5% of at least 50\"", "give up when this much fails"),
    field(DEFAULTS, "min_stub_size = \"64KiB\"", "smaller files are never stubbed"),
    field(DEFAULTS, "quiet = \"2m\"", "unchanged for this long before an upload"),
    field(DEFAULTS, "min_age_after_recall = \"1d\"", "no stub again so soon"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Names, PolicySet};

    /// A policy that holds the example where it belongs.
    fn policy_with(field: &Field) -> String {
        let example = field.example;
        let rule = match example.split(' ').next() {
            Some("name") => "action = \"ignore\"",
            Some("action") => "name = \"x\"",
            _ => "name = \"x\"\naction = \"ignore\"",
        };
        match field.place {
            TOP => example.to_owned(),
            SET => format!("[[rule]]\n{rule}\n{example}\n"),
            ASK if example.starts_with("class") => {
                format!("[class.video]\ninclude = \"**\"\n[[rule]]\n{rule}\n{example}\n")
            }
            ASK if example.starts_with("case_") => {
                format!("[[rule]]\n{rule}\ninclude = \"*.RAW\"\n{example}\n")
            }
            ASK => format!("[[rule]]\n{rule}\n{example}\n"),
            KEEP if example.starts_with("name") => {
                format!("[[retention]]\nkeep_for = \"1d\"\n{example}\n")
            }
            KEEP if example.starts_with("include") => {
                format!("[[retention]]\nname = \"x\"\nkeep_for = \"1d\"\n{example}\n")
            }
            KEEP => format!("[[retention]]\nname = \"x\"\n{example}\n"),
            WATERMARK if example.starts_with("high") => {
                format!("[watermark]\nlow = \"1%\"\n{example}\n")
            }
            WATERMARK if example.starts_with("low") => {
                format!("[watermark]\nhigh = \"99%\"\n{example}\n")
            }
            WATERMARK => format!("[watermark]\nhigh = \"9%\"\nlow = \"8%\"\n{example}\n"),
            LIMITS => format!("[limits]\n{example}\n"),
            DEFAULTS => format!("[defaults]\n{example}\n"),
            other => panic!("a field in {other}"),
        }
    }

    #[test]
    fn every_example_is_a_policy() {
        let names = Names { uid: &|name| (name == "root").then_some(0), gid: &|_| None };
        for field in FIELDS {
            let text = policy_with(field);
            let loaded = PolicySet::load(&[("example.toml", &text)], &names);
            assert!(loaded.is_ok(), "{text}\n{loaded:?}");
        }
    }
}
