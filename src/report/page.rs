//! One document of text, style, script and sums.
//!
//! Nothing in it comes from anywhere else, and its own policy (CSP) forbids that
//! anything does: only the one style and the one script whose hashes it names are
//! used. Names from the tree are data, never markup: they are JSON in which no
//! `<` stands, and the script makes text nodes of them.

use aws_lc_rs::digest;
use base64::Engine as _;
use serde_json::Value;

const PAGE: &str = include_str!("page/page.html");
const STYLE: &str = concat!(
    include_str!("page/colours.css"),
    include_str!("page/layout.css"),
    include_str!("page/parts.css")
);
/// In this order in one function of their own.
const SCRIPTS: [&str; 8] = [
    include_str!("page/elements.js"),
    include_str!("page/numbers.js"),
    include_str!("page/choice.js"),
    include_str!("page/cost.js"),
    include_str!("page/toml.js"),
    include_str!("page/heat.js"),
    include_str!("page/lists.js"),
    include_str!("page/main.js"),
];

/// The document.
pub fn page(data: &Value) -> String {
    let script = format!("\"use strict\";\n(() => {{\n{}}})();\n", SCRIPTS.join("\n"));
    let made = data["made"].as_str().unwrap_or_default();
    let parts = [
        ("{{policy}}", policy(STYLE, &script)),
        ("{{made}}", made.to_owned()),
        ("{{style}}", STYLE.to_owned()),
        ("{{data}}", embedded(data)),
        ("{{script}}", script),
    ];
    let mut page = String::new();
    let mut rest = PAGE;
    // Each is put in where it stands, so that no part is looked through for another.
    for (mark, text) in parts {
        let (before, after) = rest.split_once(mark).expect("the page has its marks in order");
        page.push_str(before);
        page.push_str(&text);
        rest = after;
    }
    page + rest
}

/// Nothing is fetched, and only this style and this script are used (CSP Level 3).
fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| {
        let sum = digest::digest(&digest::SHA256, text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(sum)
    };
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; \
         form-action 'none'",
        hash(style),
        hash(script)
    )
}

/// JSON that ends no script element and begins no comment, whatever is in it (HTML
/// 13.2.5.17 ff.: only `<` leads out of script data).
fn embedded(data: &Value) -> String {
    data.to_string().replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_name_ends_the_script_or_fills_another_mark() {
        let hostile = "</script><!--<script>{{script}}{{style}}";
        let page = page(&json!({ "made": "now", "name": hostile }));
        assert_eq!(page.matches("</script").count(), 2);
        assert!(!page.contains("<!--"));
        let data = page.split_once("id=\"data\">").expect("data").1;
        let data = data.split_once("</script>").expect("its end").0;
        let read: Value = serde_json::from_str(data).expect("JSON");
        assert_eq!(read["name"], hostile);
    }

    #[test]
    fn nothing_refers_to_anything_outside() {
        let page = page(&json!({ "made": "now" })).to_lowercase();
        for word in [
            "http:",
            "https:",
            "//www",
            "src=",
            "href=",
            "url(",
            "@import",
            "import(",
            "fetch(",
            "xmlhttprequest",
            "websocket",
            "innerhtml",
            "outerhtml",
            "insertadjacenthtml",
            "document.write",
            "eval(",
            "style=",
        ] {
            assert_eq!(page.matches(word).count(), 0, "{word}");
        }
        assert!(page.contains("default-src 'none'"));
    }
}
