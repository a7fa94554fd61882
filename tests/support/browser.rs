//! A headless Chromium, spoken to over a pipe (Chrome DevTools Protocol): no port is
//! opened, and what the page asks of the network or complains of is heard.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    last_id: u64,
    session: String,
    /// What was heard beside answers.
    events: Vec<Value>,
    _dir: tempfile::TempDir,
}

/// Debian's, or what else there is.
pub fn program() -> Option<PathBuf> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(PathBuf::from)
        .find(|program| program.exists())
}

impl Browser {
    /// With an empty page.
    pub fn start(program: &Path) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (commands, answers) = (dir.path().join("commands"), dir.path().join("answers"));
        for fifo in [&commands, &answers] {
            assert!(Command::new("mkfifo").arg(fifo).status().expect("mkfifo").success());
        }
        // The shell gives it the descriptors 3 and 4 that --remote-debugging-pipe wants.
        let script = r#"commands=$1 answers=$2; shift 2; exec "$@" 3<"$commands" 4>"$answers""#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "sh"]).args([&commands, &answers]).arg(program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--remote-debugging-pipe",
        ]);
        command.arg(format!("--user-data-dir={}", dir.path().join("profile").display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("sh starts");
        let to = File::options().write(true).open(&commands).expect("it reads commands");
        let answers = File::open(&answers).expect("it writes answers");
        let (sender, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(answers).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("the protocol is JSON");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let session = String::new();
        let mut browser = Self { child, to, from, last_id: 0, session, events: vec![], _dir: dir };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", attach);
        browser.session = attached["sessionId"].as_str().expect("a session").to_owned();
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    #[track_caller]
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last_id += 1;
        let mut message = json!({ "id": self.last_id, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        self.to.write_all(format!("{message}\0").as_bytes()).expect("it listens");
        loop {
            let mut answer = self.from.recv_timeout(PATIENCE).expect("it answers in time");
            if answer["id"] == self.last_id {
                assert!(answer["error"].is_null(), "{method}: {answer}");
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    /// Loads a file and waits until its script has run.
    pub fn open(&mut self, page: &Path) {
        self.events.clear();
        self.call("Page.navigate", json!({ "url": format!("file://{}", page.display()) }));
        while !self.events.iter().any(|event| event["method"] == "Page.loadEventFired") {
            let event = self.from.recv_timeout(PATIENCE).expect("it loads in time");
            self.events.push(event);
        }
    }

    /// The value of an expression in the page; a promise is waited for.
    #[track_caller]
    pub fn value(&mut self, expression: &str) -> Value {
        let params =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let mut found = self.call("Runtime.evaluate", params);
        assert!(found["exceptionDetails"].is_null(), "{expression}: {found}");
        found["result"]["value"].take()
    }

    pub fn text(&mut self, id: &str) -> String {
        let found = self.value(&format!("document.getElementById({id:?}).textContent"));
        found.as_str().expect("text").to_owned()
    }

    /// A number as the page writes it.
    pub fn number(&mut self, id: &str) -> u64 {
        self.text(id).replace(',', "").parse().expect("a number")
    }

    /// Presses a key as a person does who has no mouse.
    pub fn key(&mut self, key: &str, code: u32) {
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({ "type": kind, "key": key, "code": key,
                "windowsVirtualKeyCode": code, "nativeVirtualKeyCode": code });
            if key == "Enter" && kind == "keyDown" {
                params["text"] = "\r".into();
            }
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// How wide the window is, and whether its person likes it dark.
    pub fn wear(&mut self, width: u32, height: u32, dark: bool) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1,
            "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", metrics);
        let value = if dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", media);
    }

    /// PNG of what the window shows.
    pub fn picture(&mut self) -> Vec<u8> {
        use base64::Engine as _;
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" }));
        let text = shot["data"].as_str().expect("a picture");
        base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
    }

    /// Everything that was asked of the network since the page was opened.
    pub fn requests(&mut self) -> Vec<String> {
        self.settle();
        let sent = self.events.iter().filter(|e| e["method"] == "Network.requestWillBeSent");
        let url = |event: &Value| event["params"]["request"]["url"].as_str().map(str::to_owned);
        sent.filter_map(url).collect()
    }

    /// Errors and warnings of the page and of the browser about it.
    pub fn complaints(&mut self) -> Vec<String> {
        self.settle();
        let told = self.events.iter().filter(|event| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] != "log",
            Some("Log.entryAdded") => event["params"]["entry"]["level"] != "info",
            _ => false,
        });
        told.map(|event| event["params"].to_string()).collect()
    }

    /// Events that were on their way come before this answer.
    fn settle(&mut self) {
        self.value("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
