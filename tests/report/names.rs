//! Names that would be markup, were they not text.

use super::counts::NOW_S;
use crate::browser::{self, Browser};
use crate::support::{Sandbox, skip};
use hsm::ids::FileIdent;
use hsm::state::{RecallRow, StateDb};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

const CLASS: &str = r#"</script><script>document.title='owned'</script>"#;

#[test]
fn no_name_of_root_class_extension_or_program_becomes_markup() {
    let test = "no_name_of_root_class_extension_or_program_becomes_markup";
    let Some(program) = browser::program() else { return skip(test, "needs chromium") };
    let mut sandbox = Sandbox::empty();
    sandbox.set_env("HSM_TEST_NOW", &format!("{NOW_S}000000000"));
    let name = b"</root\"'&<img src=x onerror=document.title='owned'>\xff\xe2\x80\xae";
    let name: Vec<u8> = name.iter().copied().filter(|byte| *byte != b'/').collect();
    let root = sandbox.path("").join(OsStr::from_bytes(&name));
    fs::create_dir(&root).expect("any bytes are a name");
    let (state, url) = (sandbox.state_dir(), sandbox.store_url());
    let init: [&OsStr; 6] = [
        "init".as_ref(),
        "--state-dir".as_ref(),
        state.as_ref(),
        "--store".as_ref(),
        url.as_ref(),
        root.as_ref(),
    ];
    let ran = sandbox.hsm(init);
    // A configuration is UTF-8: such a root may be refused, and then it is no root.
    let root = if ran.code() == 0 {
        root
    } else {
        let root = sandbox.path("<img src=x onerror=document.title='owned'>");
        fs::create_dir(&root).expect("a name");
        let mut init = init;
        init[5] = root.as_ref();
        sandbox.hsm(init).succeeds();
        root
    };
    let quoted = toml::Value::String(CLASS.to_owned());
    sandbox.policy(&format!(
        "[defaults]\nmin_stub_size = \"0\"\nquiet = \"0s\"\n[class.{quoted}]\nmin_size = 1\n\
         [[rule]]\nname = {quoted}\nclass = {quoted}\naction = \"upload\"\n"
    ));
    for name in ["a.<b>bold</b>".replace('/', "-"), "b.<i>&amp;".to_owned(), "c.\u{202e}x".into()] {
        fs::write(root.join(name), "text").expect("a file");
    }
    sandbox.hsm(["scan"]).succeeds();
    let mut db = StateDb::open(&sandbox.state_db()).expect("it opens");
    let recall = RecallRow {
        at_ns: (NOW_S as i64 - 5000) * 1_000_000_000,
        ident: FileIdent { ino: 1, generation: 1 },
        roots: vec![],
        ctime_ns: None,
        mtime_ns: None,
        bytes: 5,
        latency_ms: 1,
        pid: 1,
        uid: 4711,
        exe: format!("/tmp/{CLASS}"),
        cgroup: String::new(),
        outcome: "recalled".to_owned(),
    };
    db.record_recalls(&[recall]).expect("recorded");
    drop(db);
    let page = sandbox.path("home/report.html");
    sandbox.hsm(["report".as_ref(), "--html".as_ref(), page.as_os_str()]).succeeds();

    let mut browser = Browser::start(&program);
    browser.open(&page);
    let title = browser.value("document.title");
    assert!(title.as_str().expect("text").starts_with("hsm report, 2026-01-31"), "{title}");
    assert_eq!(browser.value("document.querySelectorAll('img, main b > b, main i > i').length"), 0);
    assert_eq!(browser.value("document.scripts.length"), 2);
    let body = browser.value("document.body.innerText");
    let body = body.as_str().expect("text");
    assert!(body.contains(&format!("/tmp/{CLASS}")) && body.contains("onerror="), "{body}");
    assert!(body.contains("<b>bold<-b>") && body.contains("\\u{202e}x"), "{body}");
    // Chosen, the class is in the policy as it is in the present one.
    browser.value("document.querySelector('[data-class]').click()");
    let made = sandbox.path("home/made.toml");
    fs::write(&made, browser.text("toml")).expect("written");
    sandbox.hsm(["policy".as_ref(), "check".as_ref(), made.as_os_str()]).succeeds();
    let plan =
        sandbox.hsm(["plan".as_ref(), "--json".as_ref(), "--policy".as_ref(), made.as_os_str()]);
    assert_eq!(plan.succeeds().summary()["unmatched_files"], 0, "the rule that uploads is kept");
    assert_eq!(browser.complaints(), [""; 0]);
    assert_eq!(browser.requests().len(), 1, "the page itself and nothing else");
}
