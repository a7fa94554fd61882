//! That the page can be read: wide and narrow, by day and by night, without a mouse.
//!
//! `HSM_TEST_PICTURES=DIR` keeps what was seen.

use super::counts::{NOW_S, idle};
use crate::browser::{self, Browser};
use crate::support::{Sandbox, skip};
use std::path::Path;
use std::time::Duration;

/// Text whose contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3), as
/// `ratio: text`.
const FAINT: &str = r#"
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const read = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = read(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const text = texts.currentNode.textContent.trim();
    if (text === "" || !element.checkVisibility() || element.closest("script, noscript, option")) continue;
    if (parseFloat(getComputedStyle(element).fontSize) === 0) continue;
    const [one, other] = [light(read(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (ratio < 4.5) faint.push(ratio.toFixed(2) + ": " + text);
  }
  return faint;
})()"#;

fn sample() -> Sandbox {
    let mut sandbox = Sandbox::new();
    sandbox.set_env("HSM_TEST_NOW", &format!("{NOW_S}000000000"));
    sandbox.policy(
        "[defaults]\nmin_stub_size = \"0\"\nquiet = \"0s\"\n[watermark]\nhigh = \"85%\"\nlow = \"75%\"\n[class.film]\ninclude = \"*.mkv\"\n\
         [[rule]]\nname = \"film\"\nclass = \"film\"\nidle = \"90d\"\naction = \"tier\"\n",
    );
    for number in 0..160_u32 {
        let end = ["mkv", "txt", "a-rather-long-e", "jpg"][number as usize % 4];
        let name = format!("f{number}.{end}");
        sandbox.write(&name, &vec![1; 1 << (number % 22)]);
        idle(&sandbox, &name, Duration::from_secs(3600 * u64::from(number * number)));
    }
    sandbox.hsm(["scan"]).succeeds();
    sandbox
}

#[test]
fn the_page_is_readable_wide_and_narrow_by_day_and_by_night() {
    let test = "the_page_is_readable_wide_and_narrow_by_day_and_by_night";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let sandbox = sample();
    let page = sandbox.path("home/report.html");
    sandbox.hsm(["report".as_ref(), "--html".as_ref(), page.as_os_str()]).succeeds();
    let mut browser = Browser::start(&program);
    for (name, width, height, dark) in [
        ("light", 1280, 2600, false),
        ("dark", 1280, 2600, true),
        ("narrow", 360, 3600, false),
        ("narrow-dark", 360, 3600, true),
    ] {
        browser.wear(width, height, dark);
        browser.open(&page);
        assert!(browser.number("go-files") > 5, "there is something to see");
        let wide = browser.value("document.scrollingElement.scrollWidth - innerWidth");
        assert!(wide.as_i64().expect("a number") <= 0, "{name}: {wide} pixels too wide");
        let faint = browser.value(FAINT);
        assert_eq!(faint.as_array().expect("a list").len(), 0, "{name}: {faint:#}");
        keep(name, &browser.picture());
        assert_eq!(browser.complaints(), [""; 0], "{name}");
        assert_eq!(browser.requests().len(), 1, "{name}: the page itself and nothing else");
    }
    // Every control has a name, and the heat map's cells are where sliders get as well.
    let nameless = "[...document.querySelectorAll('input, select, button')].filter((control) => \
        !control.labels?.length && !control.ariaLabel && !control.textContent.trim()).length";
    assert_eq!(browser.value(nameless), 0);
    browser.value("document.querySelector('#heat tr:nth-child(9) td:nth-child(7)').click()");
    let toml = browser.text("toml");
    assert!(toml.contains("min_size = \"1MiB\"\nidle = \"30d\""), "{toml}");
    // What the lists show, the heat map shows.
    browser.value("document.querySelector('.bar[data-view=\"extension:0\"]').click()");
    let caption = browser.text("heat-caption");
    assert!(caption.contains("extension "), "{caption}");
    assert_eq!(browser.value("document.querySelectorAll('.bar[aria-pressed=\"true\"]').length"), 1);
}

#[test]
fn the_policy_is_copied_by_a_press_of_its_button() {
    let test = "the_policy_is_copied_by_a_press_of_its_button";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let sandbox = sample();
    let page = sandbox.path("home/report.html");
    sandbox.hsm(["report".as_ref(), "--html".as_ref(), page.as_os_str()]).succeeds();
    let mut browser = Browser::start(&program);
    browser.open(&page);
    browser.value("document.getElementById('copy').focus()");
    browser.key("Enter", 13);
    let said = browser.value(
        "new Promise((done) => { const look = () => { const said = \
         document.getElementById('copied').textContent; said ? done(said) : setTimeout(look, 20); }; \
         look(); })",
    );
    let said = said.as_str().expect("text");
    assert!(said == "Copied" || said.starts_with("Selected"), "{said}");
    if said != "Copied" {
        let chosen = browser.value("getSelection().toString().trim()");
        let toml = browser.text("toml");
        assert_eq!(
            chosen.as_str().expect("text").replace("\n\n", "\n"),
            toml.trim().replace("\n\n", "\n")
        );
    }
}

fn keep(name: &str, picture: &[u8]) {
    assert!(picture.starts_with(b"\x89PNG"), "a picture");
    if let Some(dir) = std::env::var_os("HSM_TEST_PICTURES") {
        std::fs::write(Path::new(&dir).join(format!("report-{name}.png")), picture).expect("kept");
    }
}
