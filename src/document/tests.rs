//! Lines, columns and mends of a TOML document's problems.

use super::*;

fn problems_of(text: &str, read: impl FnOnce(&Section<'_, '_>)) -> Vec<String> {
    let doc = Document::new("a.toml", text);
    if let Some(table) = doc.parse() {
        read(&Section::top(&doc, &table, &["size", "age", "name", "flag", "list", "part", "n"]));
    }
    doc.into_problems().iter().map(ToString::to_string).collect()
}

#[test]
fn a_place_counts_lines_and_characters_from_one() {
    let doc = Document::new("f", "ab\nünö = 1\n\nend");
    for (offset, line, column) in
        [(0, 1, 1), (1, 1, 2), (3, 2, 1), (8, 2, 4), (13, 3, 1), (16, 4, 3)]
    {
        let place = doc.place(offset);
        assert_eq!((place.line, place.column), (line, column), "offset {offset}");
    }
    assert_eq!(Document::new("f", "").place(0).to_string(), "f:1:1");
}

#[test]
fn broken_toml_is_told_once_for_each_line() {
    let found = problems_of("size = 1\nage = \nname = [1\n", |_| {});
    assert_eq!(
        found[0],
        "a.toml:2:7: not valid TOML: string values must be quoted, expected literal string"
    );
    assert!(found[1].starts_with("a.toml:3:"), "{found:?}");
}

#[test]
fn every_wrong_value_is_named_with_its_place_and_mend() {
    let text =
        "size = \"64KiBs\"\nage = 90\nname = 3\nflag = \"yes\"\nlist = []\nn = 900\nsiez = 1\n";
    let found = problems_of(text, |top| {
        assert_eq!(top.size("size"), None);
        assert_eq!(top.duration("age"), None);
        assert_eq!(top.text("name"), None);
        assert_eq!(top.flag("flag"), None);
        assert_eq!(top.item("list").expect("present").one_or_more().len(), 0);
        assert_eq!(top.integer("n", 1..=256), None);
        assert_eq!(top.text("part"), None);
    });
    let want = [
        "a.toml:1:8: bad size \"64KiBs\": unknown unit; write a number of bytes or a number with a unit: 123, 64KiB, 1.5GiB (1024), 10MB (1000)",
        "a.toml:2:7: bad duration \"90\": no unit; write a number with a unit: 90d, 2m, 1h30m, 2weeks, 3months, 1y",
        "a.toml:3:8: expected a text in quotes, found a whole number",
        "a.toml:4:8: expected true or false, found a text; write true or false without quotes",
        "a.toml:5:8: an empty list; write at least one value or remove the key",
        "a.toml:6:5: 900 is out of range; write a number from 1 to 256",
        "a.toml:7:1: unknown key \"siez\" in the file; did you mean \"size\"?",
    ];
    assert_eq!(found, want);
}

#[test]
fn good_values_come_back_in_their_units() {
    let text = "size = \"1.5GiB\"\nage = \"2m\"\nname = \"x\"\nflag = true\nlist = [\"a\", \"b\"]\nn = 0x10\n";
    let found = problems_of(text, |top| {
        assert_eq!(top.size("size"), Some(1_610_612_736));
        assert_eq!(top.duration("age"), Some(std::time::Duration::from_secs(120)));
        assert_eq!(top.text("name"), Some("x"));
        assert_eq!(top.flag("flag"), Some(true));
        let list = top.item("list").expect("present").one_or_more();
        let texts: Vec<_> = list.iter().filter_map(|item| item.text()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(top.integer("n", 0..=16), Some(16));
    });
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_problem_inside_a_text_points_at_its_character() {
    let found = problems_of("name = \"a + %\"\npart = \"a\\t%\"\n", |top| {
        top.item("name").expect("present").problem_inside(4, "no", "");
        top.item("part").expect("present").problem_inside(2, "no", "");
    });
    assert_eq!(found, ["a.toml:1:13: no", "a.toml:2:8: no"]);
}

#[test]
fn a_key_that_slipped_into_a_table_is_sent_back_to_the_top() {
    let found = problems_of("[part]\nn = 1\nsize = 3\n", |top| {
        top.item("part").expect("present").section("[part]", &["n"]);
    });
    let mend = "it belongs to the file itself, above the first [table]";
    assert_eq!(found, [format!("a.toml:3:1: unknown key \"size\" in [part]; {mend}")]);
}
