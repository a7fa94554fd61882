//! Policies: a text is refused with a place in it, or decides about any file.
#![no_main]

use hsm_fuzz::policy::{Facts, FileState, Names, PolicySet, Weight};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let names = Names { uid: &|_| Some(1000), gid: &|_| None };
    match PolicySet::load(&[("fuzz.toml", text)], &names) {
        Ok(policy) => decide(&policy),
        Err(problems) => {
            assert!(!problems.is_empty());
            problems.iter().for_each(|problem| assert!(!problem.to_string().is_empty()));
        }
    }
    let _ = Weight::parse(text);
});

fn decide(policy: &PolicySet) {
    let (path, now_ns) = (&b"projects/2024/film.mkv"[..], 1_700_000_000_000_000_000);
    for (state, times) in [(FileState::Resident, 0), (FileState::Uploaded, i64::MAX)] {
        let facts = Facts {
            root: b"/srv/data",
            path,
            name: b"film.mkv",
            kind: 'f',
            size_bytes: 5 << 30,
            allocated_bytes: 5 << 30,
            uid: 1000,
            gid: 100,
            mode: 0o644,
            nlink: 1,
            atime_ns: times,
            mtime_ns: times,
            ctime_ns: times,
            first_seen_ns: times,
            last_recall_ns: Some(times),
            state,
            xattr: &|_| Some(b"yes".to_vec()),
        };
        let verdict = policy.decide(&facts, now_ns);
        let _ = (verdict.action, policy.decide_for_space(&facts, now_ns).action);
        let _ = (policy.explain(&facts, now_ns), policy.classes_of(&facts, now_ns));
    }
}
