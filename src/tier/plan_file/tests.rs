//! What a person may do to a plan, and what is told of everything else.

use super::*;
use crate::os::relpath::RelPath;
use crate::tier::Error;
use std::io::Write;

fn header() -> Header {
    let root = PlannedRoot { path: Name::from_bytes(b"/srv"), identity: "ext4:x:2:0".into() };
    let made = "2026-01-31T14:00:00Z".to_owned();
    Header::new(StoreId([1; 16]), NodeId([2; 16]), made, "00".into(), vec![root])
}

fn row(path: &[u8], action: Planned) -> Row {
    Row {
        root: Name::from_bytes(b"/srv"),
        path: RelPath::new(path).expect("a path"),
        action,
        size_bytes: 4096,
        mtime_ns: 1_769_868_000_123_456_789,
        ctime_ns: -5,
        ino: u64::MAX,
        generation: Some(7),
        rule: Some("cold".into()),
        reason: "no copy yet, idle 90 days".into(),
    }
}

fn open(lines: &[&[u8]]) -> Result<PlanFile, Error> {
    let mut file = tempfile::tempfile().expect("a file");
    for line in lines {
        file.write_all(line).and_then(|()| file.write_all(b"\n")).expect("written");
    }
    PlanFile::open(file)
}

fn mistakes(lines: &[&[u8]]) -> String {
    match open(lines) {
        Err(Error::PlanMistakes(mistakes)) => mistakes.to_string(),
        other => panic!("{other:?}"),
    }
}

fn edited(row: &Row, from: &str, to: &str) -> Vec<u8> {
    let line = String::from_utf8(row.line(&header())).expect("JSON is UTF-8");
    assert!(line.contains(from), "{from} is not in {line}");
    line.replace(from, to).into_bytes()
}

#[test]
fn any_row_survives_its_line() {
    let rows = [row(b"a\n\xff", Planned::Tier), row("b/ü".as_bytes(), Planned::Upload)];
    let lines = rows.each_ref().map(|row| row.line(&header()));
    let plan = open(&[&header().line(), &lines[0], b"", &lines[1]]).expect("no mistake");
    assert_eq!((plan.rows(), plan.header()), (2, &header()));
    let read: Vec<_> = plan.rows_of(Path::new("/srv")).map(|row| row.expect("a row")).collect();
    assert_eq!(read, [(2, rows[0].clone()), (4, rows[1].clone())]);
    assert_eq!(plan.rows_of(Path::new("/other")).count(), 0);
}

#[test]
fn a_person_may_make_less_of_a_row_and_nothing_else() {
    let tier = row(b"a", Planned::Tier);
    let less = edited(&tier, r#""action":"tier""#, r#""action":"upload""#);
    let plan = open(&[&header().line(), &less]).expect("allowed");
    let (_, read) = plan.rows_of(Path::new("/srv")).next().expect("a row").expect("read");
    assert_eq!(read.action, Planned::Upload);

    let upload = row(b"a", Planned::Upload);
    for wrong in [
        edited(&upload, r#""action":"upload""#, r#""action":"tier""#),
        edited(&tier, r#"{"text":"a"}"#, r#"{"text":"b"}"#),
        edited(&tier, r#""size_bytes":4096"#, r#""size_bytes":4097"#),
        edited(&tier, "123456789", "123456788"),
        edited(&tier, r#""generation":7"#, r#""generation":null"#),
        edited(&tier, "90 days", "1 day"),
    ] {
        let text = mistakes(&[&header().line(), &wrong]);
        assert!(text.contains("line 2: it is not what hsm plan wrote; only"), "{text}");
    }
}

#[test]
fn a_tool_may_turn_text_into_the_same_number() {
    let line = edited(&row(b"a", Planned::Tier), r#""1769868000123456789""#, "1769868000123456789");
    assert_eq!(open(&[&header().line(), &line]).expect("the same row").rows(), 1);
    let rounded = edited(&row(b"a", Planned::Tier), "1769868000123456789", "1769868000123456800");
    assert!(mistakes(&[&header().line(), &rounded]).contains("not what hsm plan wrote"));
}

#[test]
fn every_mistake_is_named_with_its_line_and_mend() {
    let whole = row(b"a", Planned::Tier);
    let cut = &whole.line(&header())[..60];
    let unknown = edited(&whole, r#""action":"tier""#, r#""action":"delete""#);
    let outside = edited(&whole, r#"{"text":"a"}"#, r#"{"text":"../a"}"#);
    let elsewhere = edited(&whole, r#"{"text":"/srv"}"#, r#"{"text":"/etc"}"#);
    let more = edited(&whole, r#""action""#, r#""note":1,"action""#);
    let no_number = edited(&whole, r#""1769868000123456789""#, "true");
    let text =
        mistakes(&[&header().line(), cut, &unknown, &outside, &elsewhere, &more, &no_number]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "the plan has 6 mistake(s)");
    assert_eq!(
        lines[1],
        "  line 2: it is cut off; remove the line, or write the plan again: hsm plan -o"
    );
    assert!(
        lines[2].starts_with("  line 3: unknown variant `delete`, expected `upload` or `tier`")
    );
    assert!(lines[3].starts_with("  line 4: not a path inside a root: ../a"), "{}", lines[3]);
    assert_eq!(lines[4], "  line 5: the plan is not for the root /etc; remove the line");
    assert!(lines[5].starts_with("  line 6: unknown field `note`"), "{}", lines[5]);
    assert!(lines[6].contains("a number in quotes"), "{}", lines[6]);
}

#[test]
fn many_mistakes_are_counted_and_not_all_named() {
    let lines = vec![&b"?"[..]; 30];
    let header = header().line();
    let text = mistakes(&[&[&header[..]], &lines[..]].concat());
    assert!(text.starts_with("the plan has 30 mistake(s)") && text.ends_with("and 10 more"));
}

#[test]
fn what_is_no_plan_is_not_applied() {
    let row = row(b"a", Planned::Tier).line(&header());
    assert!(mistakes(&[]).contains("the file is empty"));
    assert!(mistakes(&[&row]).contains("line 1: this is no plan of hsm: missing field `format`"));
    assert!(mistakes(&[br#"{"format":"x","version":1}"#]).contains("this is no plan of hsm"));
    let later = String::from_utf8(header().line()).expect("UTF-8").replace(":1,", ":2,");
    let text = mistakes(&[later.as_bytes()]);
    assert!(text.contains("has format 2, this hsm reads 1; write the plan again"), "{text}");
    let long = vec![b'x'; 2 << 20];
    assert!(mistakes(&[&header().line(), &long]).contains("line 2: the line is too long"));
    // A row under another store's header has another sum.
    let mut other = header();
    other.store = StoreId([9; 16]);
    assert!(mistakes(&[&other.line(), &row]).contains("line 2: it is not what hsm plan wrote"));
}
