//! Every key of the language against files it matches and files it does not.

use super::*;
use std::cell::Cell;

fn load(text: &str) -> PolicySet {
    let names = Names {
        uid: &|name| (name == "alice").then_some(1000),
        gid: &|name| (name == "users").then_some(100),
    };
    PolicySet::load(&[("p.toml", text)], &names)
        .unwrap_or_else(|problems| panic!("{text}\n{problems:#?}"))
}

/// Whether one ignore rule with these predicates matches.
fn matches(predicates: &str, facts: &Facts<'_>) -> bool {
    let set = load(&format!("[[rule]]\nname = \"r\"\naction = \"ignore\"\n{predicates}\n"));
    set.decide(facts, NOW).rule.is_some()
}

type Change = fn(&mut Facts<'_>);

#[test]
fn each_predicate_matches_what_it_says() {
    let table: &[(&str, Change, bool)] = &[
        ("", |_| {}, true),
        ("root = \"/srv/*\"", |_| {}, true),
        ("root = [\"/home\", \"/data\"]", |_| {}, false),
        ("include = \"**/*.mkv\"", |_| {}, true),
        ("include = \"*.mp4\"", |_| {}, false),
        ("include = \"/srv/data/films/**\"", |_| {}, true),
        ("include = \"/films/**\"", |_| {}, false),
        ("include = \"*.MKV\"\ncase_insensitive = true", |_| {}, true),
        ("exclude = \"films\"", |_| {}, false),
        ("exclude = [\"*.tmp\"]", |_| {}, true),
        ("file_name = [\"a?.mkv\", \"b*\"]", |_| {}, true),
        ("file_name = \"films\"", |_| {}, false),
        ("min_size = \"1MiB\"", |_| {}, true),
        ("min_size = \"1MiB\"", |f| f.size_bytes -= 1, false),
        ("max_size = 1048576", |_| {}, true),
        ("max_size = \"1MiB\"", |f| f.size_bytes += 1, false),
        ("owner = \"alice\"", |_| {}, true),
        ("owner = [\"alice\", 1]", |f| f.uid = 1, true),
        ("owner = 1", |_| {}, false),
        ("group = [\"users\"]", |_| {}, true),
        ("group = \"0\"", |_| {}, false),
        ("mode_any = \"executable\"", |f| f.mode = 0o601, true),
        ("mode_any = \"executable\"", |f| f.mode = 0o600, false),
        ("mode_all = [\"suid\", \"0100\"]", |f| f.mode = 0o4700, true),
        ("mode_all = [\"suid\", \"0100\"]", |f| f.mode = 0o4600, false),
        ("mode_none = 0o4000", |f| f.mode = 0o4700, false),
        ("nlink_max = 2", |f| f.nlink = 2, true),
        ("nlink_max = 2", |f| f.nlink = 3, false),
        ("nlink_max = \"any\"", |f| f.nlink = 3, true),
        (
            "xattr = { \"user.project\" = \"cold*\" }",
            |f| f.xattr = &|_| Some(b"cold/1".into()),
            true,
        ),
        (
            "xattr = { \"user.project\" = \"cold*\" }",
            |f| f.xattr = &|_| Some(b"warm".into()),
            false,
        ),
        ("xattr = { \"user.project\" = \"*\" }", |_| {}, false),
        ("xattr = { \"user.keep\" = true }", |f| f.xattr = &|_| Some(b"".into()), true),
        ("xattr = { \"user.keep\" = true }", |_| {}, false),
        ("xattr = { \"user.keep\" = false }", |_| {}, true),
        ("state = [\"resident\", \"dirty\"]", |_| {}, true),
        ("state = \"stub\"", |_| {}, false),
        ("any = [{ min_size = \"1TiB\" }, { owner = \"alice\" }]", |_| {}, true),
        ("any = [{ min_size = \"1TiB\" }, { owner = 0 }]", |_| {}, false),
        ("all = [{ min_size = 1 }, { owner = 0 }]", |_| {}, false),
        ("not = { owner = 0 }", |_| {}, true),
        ("not = { owner = \"alice\", min_size = 1 }", |_| {}, false),
    ];
    for (predicates, change, want) in table {
        let mut facts = facts("films/a1.mkv");
        change(&mut facts);
        assert_eq!(matches(predicates, &facts), *want, "{predicates}");
    }
}

#[test]
fn ages_are_counted_from_the_right_moment() {
    let table: &[(&str, Change, bool)] = &[
        ("idle = \"90d\"", |f| f.atime_ns = NOW - 90 * DAY, true),
        ("idle = \"90d\"", |f| f.atime_ns = NOW - 90 * DAY + 1, false),
        ("idle = \"90d\"", |f| f.mtime_ns = NOW - DAY, false),
        ("idle = \"90d\"", |f| f.last_recall_ns = Some(NOW - DAY), false),
        ("idle = \"90d\"", |f| f.ctime_ns = NOW - DAY, true),
        ("idle = \"90d\"", |f| f.atime_ns = NOW + 1_000 * DAY, false),
        ("idle = \"0s\"", |f| f.atime_ns = NOW + 1_000 * DAY, true),
        ("atime_older = \"30d\"", |f| f.mtime_ns = NOW, true),
        ("atime_older = \"30d\"", |f| f.atime_ns = i64::MAX, false),
        ("mtime_older = \"30d\"", |f| f.mtime_ns = NOW - 29 * DAY, false),
        ("mtime_older = \"30d\"", |f| f.mtime_ns = i64::MIN, true),
        ("ctime_older = \"30d\"", |f| f.ctime_ns = NOW - 31 * DAY, true),
        ("ctime_older = \"30d\"", |f| f.ctime_ns = NOW - 2 * DAY, false),
        ("first_seen_older = \"7d\"", |f| f.first_seen_ns = NOW - 6 * DAY, false),
        ("recall_older = \"7d\"", |_| {}, true),
        ("recall_older = \"7d\"", |f| f.last_recall_ns = Some(NOW - 6 * DAY), false),
        ("recall_older = \"7d\"", |f| f.last_recall_ns = Some(NOW - 7 * DAY), true),
    ];
    for (predicates, change, want) in table {
        let mut facts = facts("a");
        change(&mut facts);
        assert_eq!(matches(predicates, &facts), *want, "{predicates}");
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let set = load(
        r#"
        [class.scratch]
        include = ["*.tmp", "~$*"]
        [class.video]
        include = "*.mkv"
        [class.media]
        class = ["video"]
        min_size = "64KiB"

        [[rule]]
        name = "never"
        class = "scratch"
        action = "ignore"
        [[rule]]
        name = "media"
        class = "media"
        idle = "90d"
        action = "tier"
        storage_class = "STANDARD_IA"
        chunking = "fixed:8MiB"
        compression = "none"
        dedup = false
        [[rule]]
        name = "pictures"
        include = "*.jpg"
        action = "upload"
        compression = 3
        "#,
    );
    let table = [
        ("a/b.tmp", Some("never"), Action::Ignore),
        ("a/~$x.mkv", Some("never"), Action::Ignore),
        ("a/b.mkv", Some("media"), Action::Tier),
        ("a/b.jpg", Some("pictures"), Action::Upload),
        ("a/b.doc", None, Action::Ignore),
    ];
    for (path, rule, action) in table {
        let facts = facts(path);
        let verdict = set.decide(&facts, NOW);
        let found = verdict.rule.map(|rule| rule.name.as_str());
        assert_eq!((found, verdict.action), (rule, action), "{path}");
    }
    let media = &set.rules()[1];
    assert_eq!(media.storage_class.as_deref(), Some("STANDARD_IA"));
    assert_eq!(media.chunking, Some(Chunking::Fixed { size_bytes: Some(8 << 20) }));
    assert_eq!((media.compression_level, media.dedup), (Some(0), Some(false)));
    assert_eq!(media.place.to_string(), "p.toml:14:9");
    assert_eq!(set.rules()[2].compression_level, Some(3));
    assert_eq!(set.classes_of(&facts("x.mkv"), NOW), ["video", "media"]);
}

#[test]
fn the_defaults_come_with_each_rule_and_let_a_later_one_match() {
    let set = load(
        r#"
        [[rule]]
        name = "tier"
        action = "tier"
        [[rule]]
        name = "links"
        nlink_max = 10
        action = "upload"
        "#,
    );
    let table: &[(Change, Option<&str>)] = &[
        (|_| {}, Some("tier")),
        (|f| f.size_bytes = (64 << 10) - 1, Some("links")),
        (|f| f.nlink = 2, Some("links")),
        (|f| f.nlink = 11, None),
        (|f| f.last_recall_ns = Some(NOW - DAY + 1), Some("links")),
        (|f| f.last_recall_ns = Some(NOW - DAY), Some("tier")),
        (|f| f.mtime_ns = NOW - 119_999_999_999, None),
        (|f| f.ctime_ns = NOW - 119_999_999_999, None),
        (|f| f.ctime_ns = NOW - 120_000_000_000, Some("tier")),
        (|f| f.kind = 'd', None),
        (|f| f.kind = 'l', None),
    ];
    for (number, (change, want)) in table.iter().enumerate() {
        let mut facts = facts("a");
        change(&mut facts);
        let rule = set.decide(&facts, NOW).rule.map(|rule| rule.name.as_str());
        assert_eq!(rule, *want, "row {number}");
    }
}

#[test]
fn defaults_limits_and_watermark_are_read() {
    let set = load("[[rule]]\nname = \"r\"\naction = \"tier\"\n");
    assert_eq!(set.defaults(), &Defaults::default());
    assert_eq!((set.limits(), set.watermark(), set.unguarded()), (&Limits::default(), None, false));
    let set = load(
        r#"
        unguarded = true
        [defaults]
        min_stub_size = "1MiB"
        quiet = "1h"
        min_age_after_recall = "0s"
        [limits]
        max_bytes = "2TiB"
        max_files = 100000
        max_duration = "4h"
        stop_after_errors = "5% of at least 50"
        [watermark]
        high = "85%"
        low = "75.5%"
        order = "size_mib * idle_days"
        [[rule]]
        name = "r"
        action = "tier"
        "#,
    );
    assert!(set.unguarded());
    assert_eq!(set.defaults().min_stub_size_bytes, 1 << 20);
    assert_eq!(set.limits().max_bytes, Some(2 << 40));
    assert_eq!(set.limits().max_files, Some(100_000));
    assert_eq!(set.limits().max_duration.map(|span| span.as_secs()), Some(14_400));
    let budget = ErrorBudget::Share { percent: 5.0, of_at_least: 50 };
    assert_eq!(set.limits().stop_after_errors, Some(budget));
    let watermark = set.watermark().expect("it is set");
    assert!((watermark.high_pct - 85.0).abs() < f64::EPSILON);
    assert!((watermark.low_pct - 75.5).abs() < f64::EPSILON);
    assert!(
        matches!(&watermark.order, Order::Weight(weight) if weight.as_str() == "size_mib * idle_days")
    );
    let mut facts = facts("a");
    facts.last_recall_ns = Some(NOW);
    assert_eq!(set.decide(&facts, NOW).action, Action::Tier, "no age after a recall is asked");
    facts.ctime_ns = NOW - DAY / 48;
    assert_eq!(set.decide(&facts, NOW).action, Action::Ignore, "half an hour of quiet");
}

#[test]
fn pins_and_excludes_come_before_rules() {
    let set = load(
        "pin = [\"current/\", \"*.key\"]\nexclude = [\"private\"]\n\
         [[rule]]\nname = \"all\"\naction = \"tier\"\n",
    );
    let table = [
        ("a", Pin::None, Action::Tier),
        ("current/a/b", Pin::Pinned, Action::Upload),
        ("x/a.key", Pin::Pinned, Action::Upload),
        ("x/private/y", Pin::Excluded, Action::Ignore),
        ("private/a.key", Pin::Excluded, Action::Ignore),
    ];
    for (path, pin, action) in table {
        let facts = facts(path);
        let verdict = set.decide(&facts, NOW);
        assert_eq!((verdict.pin, verdict.action), (pin, action), "{path}");
        assert_eq!(set.pin_of(&facts), pin, "{path}");
        let decides = set.explain(&facts, NOW).iter().any(|outcome| outcome.decides);
        assert_eq!(decides, pin != Pin::Excluded, "{path}");
    }
}

#[test]
fn above_the_watermark_age_yields_but_nothing_else() {
    let set = load(
        r#"
        [[rule]]
        name = "fresh logs"
        include = "*.log"
        not = { mtime_older = "30d" }
        action = "ignore"
        [[rule]]
        name = "cold"
        idle = "90d"
        any = [{ mtime_older = "1y" }, { owner = 0 }]
        not = { not = { atime_older = "5d" } }
        action = "tier"
        [[rule]]
        name = "old uploads"
        mtime_older = "30d"
        action = "upload"
        "#,
    );
    let table: &[(&str, Change, Option<&str>)] = &[
        ("a", |f| f.mtime_ns = NOW - 10 * DAY, Some("cold")),
        ("a", |f| f.atime_ns = NOW - 4 * DAY, Some("old uploads")),
        ("a.log", |f| f.mtime_ns = NOW - 10 * DAY, Some("fresh logs")),
        ("a", |f| f.size_bytes = 10, Some("old uploads")),
        ("a", |f| f.last_recall_ns = Some(NOW), Some("old uploads")),
        ("a", |f| (f.mtime_ns, f.nlink) = (NOW - 10 * DAY, 2), None),
    ];
    for (path, change, want) in table {
        let mut facts = facts(path);
        change(&mut facts);
        let verdict = set.decide_for_space(&facts, NOW);
        assert_eq!(verdict.rule.map(|rule| rule.name.as_str()), *want, "{facts:?}");
    }
    let mut warm = facts("a");
    warm.mtime_ns = NOW - 10 * DAY;
    assert_eq!(set.decide(&warm, NOW).rule.map(|rule| rule.name.as_str()), None);
}

#[test]
fn an_attribute_is_read_only_when_all_else_has_matched() {
    let set = load(
        r#"
        [class.marked]
        xattr = { "user.project" = "cold" }
        [[rule]]
        name = "r"
        class = "marked"
        any = [{ xattr = { "user.a" = true } }, { min_size = 1 }]
        include = "*.mkv"
        idle = "90d"
        action = "tier"
        "#,
    );
    let reads = Cell::new(0);
    let xattr = |name: &str| {
        reads.set(reads.get() + 1);
        (name == "user.project").then(|| b"cold".to_vec())
    };
    let mut facts = facts("a.mp4");
    facts.xattr = &xattr;
    assert_eq!(set.decide(&facts, NOW).action, Action::Ignore);
    assert_eq!(reads.get(), 0, "the name does not match");
    (facts.path, facts.name, facts.nlink) = (b"a.mkv", b"a.mkv", 2);
    assert_eq!(set.decide(&facts, NOW).action, Action::Ignore);
    assert_eq!(reads.get(), 0, "a hard link");
    facts.nlink = 1;
    assert_eq!(set.decide(&facts, NOW).action, Action::Tier);
    assert_eq!(reads.get(), 1, "the class's attribute, not that of the alternative");
}

#[test]
fn explanations_say_what_is_and_what_is_wanted() {
    let set = load(
        r#"
        [class.video]
        include = ["**/*.mkv", "*.mp4"]
        min_size = "64MiB"
        [[rule]]
        name = "cold video"
        class = "video"
        idle = "90d"
        action = "tier"
        [[rule]]
        name = "by owner"
        owner = [0, "alice"]
        mode_all = "suid"
        not = { class = "video" }
        state = ["uploaded", "stub"]
        xattr = { "user.a" = "b" }
        action = "upload"
        [[rule]]
        name = "either"
        any = [{ max_size = 1048575, root = "/home" }, { recall_older = "2d" }]
        exclude = "films/"
        action = "tier"
        [[rule]]
        name = "rest"
        not = { min_size = "1GiB" }
        action = "ignore"
        [[rule]]
        name = "too late"
        action = "upload"
        "#,
    );
    let mut facts = facts("films/a\n.mkv");
    facts.atime_ns = NOW - 12 * DAY - 5;
    facts.last_recall_ns = Some(NOW - DAY / 24);
    facts.nlink = 3;
    let shown: String = set
        .explain(&facts, NOW)
        .iter()
        .map(|outcome| {
            let verdict = if outcome.decides {
                "decides"
            } else if outcome.matched() {
                "matches"
            } else {
                "no"
            };
            let misses: String = outcome.misses.iter().map(|miss| format!("  {miss}\n")).collect();
            format!("{}: {verdict}\n{misses}", outcome.rule.name)
        })
        .collect();
    insta::assert_snapshot!(shown, @r#"
cold video: no
  idle 1 hour, wants 90 days
  class "video": size 1 MiB, wants at least 64 MiB
  3 hard links, wants at most 1 (the default; nlink_max in the rule changes it)
  recalled 1 hour ago, wants 1 day (defaults.min_age_after_recall)
by owner: no
  mode 0644, wants all of 4000
  state resident, wants uploaded or stub
  user.a is absent, wants b
  3 hard links, wants at most 1 (the default; nlink_max in the rule changes it)
either: no
  none of 2 alternatives holds: (recalled 1 hour ago, wants 2 days) (size 1048576 bytes, wants at most 1048575 bytes; root /srv/data, wants /home), wants one of them
  path films/a\n.mkv, wants not films/
  3 hard links, wants at most 1 (the default; nlink_max in the rule changes it)
  recalled 1 hour ago, wants 1 day (defaults.min_age_after_recall)
rest: decides
too late: no
  3 hard links, wants at most 1 (the default; nlink_max in the rule changes it)
"#);
}

#[test]
fn two_values_that_read_alike_are_told_exactly() {
    let set =
        load("[[rule]]\nname = \"r\"\naction = \"ignore\"\nmin_size = \"64KiB\"\nidle = \"90d\"\n");
    let mut facts = facts("a");
    facts.size_bytes = 65_535;
    facts.atime_ns = NOW - 90 * DAY + 60_000_000_000;
    let outcomes = set.explain(&facts, NOW);
    let texts: Vec<String> = outcomes[0].misses.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        ["size 65535 bytes, wants at least 65536 bytes", "idle 89 days, wants 90 days",]
    );
}
