//! docs/SECURITY.md names a test for each of its claims: each is there.

use std::fs;
use std::path::Path;

#[test]
fn each_claim_of_the_page_has_its_test() {
    let house = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(house.join("docs/SECURITY.md")).expect("the page");
    let mut code = String::new();
    for dir in ["src", "tests"] {
        for entry in walkdir::WalkDir::new(house.join(dir)) {
            let entry = entry.expect("readable");
            if entry.path().extension().is_some_and(|extension| extension == "rs") {
                code.push_str(&fs::read_to_string(entry.path()).expect("text"));
            }
        }
    }
    let quoted = page.split('`').skip(1).step_by(2);
    let plain = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || "_:".contains(c));
    let named: Vec<&str> = quoted.filter(plain).filter(|name| name.contains("::")).collect();
    assert!(named.len() >= 60, "only {} tests are named", named.len());
    for name in named {
        let test = name.rsplit("::").next().expect("a last part");
        let there = ["(", "<"].iter().any(|next| code.contains(&format!("fn {test}{next}")));
        assert!(there, "docs/SECURITY.md names {name}, which is no test");
    }
}
