//! Several servers on one store: chunks are stored once, nobody waits for anybody,
//! and each finds its own files.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use support::Sandbox;
use support::snapshot::{assert_same, digest, snapshot};
use support::trees::{noise, ordinary};

/// Another server on the store of `first`.
fn neighbour(first: &Sandbox) -> Sandbox {
    let other = Sandbox::empty();
    other.init_with(&["--store", &first.store_url()]);
    other
}

fn sent(sandbox: &Sandbox) -> u64 {
    let summary = sandbox.hsm(["tier", "--json"]).succeeds().summary();
    summary["sent_bytes"].as_u64().expect("a number")
}

fn pack_files(store: &Path) -> BTreeSet<PathBuf> {
    let entries = walkdir::WalkDir::new(store.join("packs")).into_iter();
    let entries = entries.map(|entry| entry.expect("a readable store"));
    entries.filter(|entry| entry.file_type().is_file()).map(|entry| entry.into_path()).collect()
}

/// Bytes of all packs.
fn packs(store: &Path) -> u64 {
    fn walk(dir: &Path) -> u64 {
        let entries = std::fs::read_dir(dir).expect("readable");
        let size = |entry: std::fs::DirEntry| match entry.metadata().expect("metadata") {
            meta if meta.is_dir() => walk(&entry.path()),
            meta => meta.len(),
        };
        entries.map(|entry| size(entry.expect("an entry"))).sum()
    }
    walk(&store.join("packs"))
}

#[test]
fn what_another_node_has_sent_is_not_sent_again() {
    let first = Sandbox::new();
    let bytes = noise(1, 5 << 20);
    first.write("a/large", &bytes);
    first.write("small", &noise(2, 100_000));
    assert!(sent(&first) > 5 << 20);
    let stored = packs(&first.store());

    let second = neighbour(&first);
    second.write("elsewhere", &bytes);
    second.write("own", &noise(3, 200_000));
    let more = sent(&second);
    assert!((200_000..300_000).contains(&more), "only its own file: {more}");
    assert_eq!(packs(&first.store()), stored + more);
    second.on("recall", &[], &["elsewhere", "own"]).succeeds();
    assert_eq!(digest(&second.tree().join("elsewhere")), digest_of(&first, "a/large"));
    second.hsm(["verify", "--data"]).succeeds();
}

/// Recalls a file and says what is in it.
fn digest_of(sandbox: &Sandbox, name: &str) -> Vec<u8> {
    sandbox.on("recall", &[], &[name]).succeeds();
    digest(&sandbox.tree().join(name))
}

/// A neighbour's pack that is lost is noticed before anything relies on it.
#[test]
fn a_neighbours_lost_pack_is_not_relied_on() {
    let first = Sandbox::new();
    let bytes = noise(4, 3 << 20);
    first.write("f", &bytes);
    sent(&first);
    std::fs::remove_dir_all(first.store().join("packs")).expect("the packs are lost");
    std::fs::create_dir(first.store().join("packs")).expect("an empty directory");

    let second = neighbour(&first);
    second.write("f", &bytes);
    // The first run finds out; the next one sends the bytes.
    let told = second.hsm(["tier", "--json"]);
    assert!(matches!(told.code(), 0 | 3), "{}", told.stderr());
    second.hsm(["tier"]).succeeds();
    second.on("recall", &[], &["f"]).succeeds();
    assert_eq!(second.read("f"), bytes);
}

/// A log that cannot be read costs room and no upload.
#[test]
fn a_neighbours_broken_log_keeps_nobody_from_uploading() {
    let first = Sandbox::new();
    first.write("f", &noise(5, 300_000));
    sent(&first);
    let nodes = first.store().join("nodes");
    let node = std::fs::read_dir(nodes).expect("nodes").next().expect("one").expect("readable");
    let segment = node.path().join("log/0000000000000002");
    let half = std::fs::read(&segment).expect("a segment").len() / 2;
    std::fs::OpenOptions::new()
        .write(true)
        .open(&segment)
        .and_then(|file| file.set_len(half as u64))
        .expect("truncated");

    let second = neighbour(&first);
    second.write("f", &noise(6, 300_000));
    let ran = second.hsm(["tier"]).succeeds();
    ran.complains(&["is sent again", "log/0000000000000002"]);
    second.on("recall", &[], &["f"]).succeeds();
    assert_eq!(second.read("f"), noise(6, 300_000));
}

#[test]
fn three_nodes_upload_at_the_same_time() {
    let first = Sandbox::new();
    let others = [neighbour(&first), neighbour(&first)];
    let all: Vec<&Sandbox> = std::iter::once(&first).chain(&others).collect();
    let shared = noise(7, 2 << 20);
    let before: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(number, sandbox)| {
            ordinary(&sandbox.tree());
            sandbox.write("shared", &shared);
            sandbox.write("own", &noise(100 + number as u64, 1 << 20));
            snapshot(&sandbox.tree())
        })
        .collect();
    for _ in 0..3 {
        let running: Vec<_> = all
            .iter()
            .map(|sandbox| sandbox.command(["tier", "--quiet"]).spawn().expect("it starts"))
            .collect();
        for mut child in running {
            assert!(child.wait().expect("it ends").success());
        }
    }
    for (sandbox, before) in all.iter().zip(&before) {
        sandbox.hsm(["verify", "--data"]).succeeds();
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        assert_same(before, &snapshot(&sandbox.tree()));
    }
    let url = first.store_url();
    first.hsm(["verify", "--data", "--store", &url]).succeeds();
}

/// The mirror's own tree as paths below the pulled root.
fn mirror(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.tree().join("mirror")
}

fn pull(second: &Sandbox, first: &Sandbox, more: &[&str]) -> support::Ran {
    let (node, to) = (node_of(first), mirror(second));
    let to = to.to_str().expect("text");
    let mut args = vec!["pull", &node, "--strip-root", "--to", to, "--json"];
    args.extend(more);
    second.hsm(args)
}

fn node_of(sandbox: &Sandbox) -> String {
    let db = rusqlite_node(&sandbox.state_db());
    let hex: String = db.iter().map(|byte| format!("{byte:02x}")).collect();
    // The beginning of the id in its text form.
    hex[..8].to_owned()
}

fn rusqlite_node(path: &Path) -> Vec<u8> {
    let db = rusqlite::Connection::open(path).expect("the state DB");
    db.query_row("SELECT node_id FROM meta", [], |row| row.get(0)).expect("a node")
}

#[test]
fn a_pulled_tree_follows_its_origin_and_spares_what_was_changed_here() {
    let first = Sandbox::new();
    ordinary(&first.tree());
    first.write("docs/report", &noise(1, 300_000));
    first.write("docs/old", &noise(2, 200_000));
    first.write("docs/edited-here", &noise(3, 200_000));
    first.write("gone/only", &noise(4, 150_000));
    let origin = snapshot(&first.tree());
    first.hsm(["tier"]).succeeds();

    let second = neighbour(&first);
    let stats = pull(&second, &first, &[]).succeeds().summary();
    assert!(stats["stubs"].as_u64() > Some(3), "{stats}");
    assert_eq!(stats["restored_bytes"], 0, "{stats}");
    assert!(support::snapshot::is_stub(&mirror(&second).join("docs/report")));
    second.on("recall", &["-r"], &["mirror"]).succeeds();
    assert_same(&origin, &snapshot(&mirror(&second)));

    // The origin goes on: a save by a new file, an edit, a deletion, a rename, a link.
    std::fs::write(first.tree().join("docs/.tmp"), noise(5, 310_000)).expect("a new version");
    std::fs::rename(first.tree().join("docs/.tmp"), first.tree().join("docs/report"))
        .expect("saved");
    std::fs::remove_dir_all(first.tree().join("gone")).expect("deleted");
    first.on("recall", &[], &["docs/edited-here"]).succeeds();
    std::fs::write(first.tree().join("docs/edited-here"), noise(6, 1000)).expect("edited");
    std::fs::rename(first.tree().join("docs/old"), first.tree().join("moved")).expect("renamed");
    first.write("docs/new", &noise(7, 100_000));
    first.hsm(["tier"]).succeeds();

    let edited = mirror(&second).join("docs/edited-here");
    std::fs::write(&edited, "mine").expect("edited here, too");
    let told = pull(&second, &first, &[]).exits(3);
    told.complains(&["edited-here", "exists and differs"]);
    assert_eq!(std::fs::read(&edited).expect("it stays"), b"mine");
    assert!(!mirror(&second).join("gone").exists());
    assert!(!mirror(&second).join("docs/old").exists());

    std::fs::remove_file(&edited).expect("let go");
    let dry = pull(&second, &first, &["--dry-run"]).succeeds().summary();
    assert_eq!(dry["stubs"], 1, "{dry}");
    assert!(!edited.exists(), "a dry run makes nothing");
    pull(&second, &first, &[]).succeeds();
    let again = pull(&second, &first, &[]).succeeds().summary();
    assert_eq!((&again["stubs"], &again["directories"]), (&0.into(), &0.into()), "{again}");
    second.on("recall", &["-r"], &["mirror"]).succeeds();
    first.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&snapshot(&first.tree()), &snapshot(&mirror(&second)));
    second.hsm(["verify", "--data"]).succeeds();
}

#[test]
fn a_pull_with_data_is_a_whole_mirror() {
    let first = Sandbox::new();
    ordinary(&first.tree());
    let origin = snapshot(&first.tree());
    first.hsm(["tier"]).succeeds();
    let second = neighbour(&first);
    pull(&second, &first, &["--data"]).succeeds();
    assert_same(&origin, &snapshot(&mirror(&second)));
}

#[test]
fn a_pull_says_what_it_cannot_do() {
    let first = Sandbox::new();
    first.write("f", &noise(1, 100_000));
    first.hsm(["tier"]).succeeds();
    let second = neighbour(&first);
    let to = mirror(&second);
    let to = to.to_str().expect("text");
    second.hsm(["pull", "nobody", "--to", to]).exits(1).complains(&["nobody", "it has:"]);
    let own = node_of(&first);
    first.hsm(["pull", &own, "--to", to]).exits(2).complains(&["is this server"]);
    let root = first.tree().join("f");
    let root = root.to_str().expect("text");
    second.hsm(["pull", &own, root, "--to", to]).exits(2).complains(&["whole roots"]);
    let nowhere = Sandbox::empty();
    nowhere.hsm(["pull", &own, "--to", to]).exits(10);
}

/// What nobody needs goes at once, and in as few runs as may be.
const IMPATIENT: &str = "[gc]\ngrace = \"0s\"\nsettle = \"0s\"\nmax_share = \"100%\"\n";

fn configure(sandbox: &Sandbox, section: &str) {
    let path = sandbox.config();
    let text = std::fs::read_to_string(&path).expect("the configuration");
    std::fs::write(&path, format!("{text}\n{section}")).expect("the configuration");
}

/// Each uploads what it has, deletes, mirrors the other and collects, all at once.
#[test]
fn two_nodes_upload_collect_and_pull_at_the_same_time() {
    const ROUNDS: u64 = 4;
    let first = Sandbox::new();
    let second = neighbour(&first);
    let both = [&first, &second];
    for sandbox in both {
        configure(sandbox, IMPATIENT);
        sandbox.write("stays", &noise(50, 500_000));
        sandbox.hsm(["tier"]).succeeds();
    }
    let one = |sandbox: &Sandbox, other: &Sandbox, number: u64| {
        for round in 0..ROUNDS {
            sandbox.write("own/changing", &noise(1000 + round * 2 + number, 400_000));
            sandbox.write(&format!("own/{round}"), &noise(2000 + round, 300_000));
            if round > 0 {
                let gone = sandbox.tree().join(format!("own/{}", round - 1));
                std::fs::remove_file(gone).expect("deleted");
            }
            sandbox.hsm(["tier"]).succeeds();
            let root = other.tree();
            // What the other node mirrors comes along, and what it deletes meanwhile.
            let told = pull(sandbox, other, &[root.to_str().expect("text")]);
            assert!(matches!(told.code(), 0 | 3), "{}", told.stderr());
            sandbox.hsm(["gc"]).succeeds();
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| one(&first, &second, 0));
        scope.spawn(|| one(&second, &first, 1));
    });
    for sandbox in both {
        sandbox.hsm(["tier"]).succeeds();
    }
    for _ in 0..3 {
        both.iter().for_each(|sandbox| drop(sandbox.hsm(["gc"]).succeeds()));
    }
    for (number, sandbox) in both.iter().enumerate() {
        sandbox.hsm(["verify", "--data"]).succeeds();
        sandbox.on("recall", &["-r"], &[""]).succeeds();
        let last = 1000 + (ROUNDS - 1) * 2 + number as u64;
        assert_eq!(sandbox.read("own/changing"), noise(last, 400_000));
        assert_eq!(sandbox.read("stays"), noise(50, 500_000));
    }
    let url = first.store_url();
    first.hsm(["verify", "--data", "--store", &url]).succeeds();
    let ends = std::fs::read_dir(first.store().join("gc")).expect("plans and ends");
    let names = ends.map(|entry| entry.expect("an entry").file_name());
    let ended = names.filter(|name| name.to_string_lossy().ends_with(".done"));
    assert!(ended.count() > 0, "nothing was ever collected");
}

#[test]
fn what_an_unfinished_pull_brought_follows_its_origin_all_the_same() {
    let first = Sandbox::new();
    first.write("changed", &noise(1, 20_000));
    first.write("gone/file", &noise(2, 20_000));
    first.write("type", &noise(3, 20_000));
    first.hsm(["tier"]).succeeds();
    let before = pack_files(&first.store());
    first.write("lost", &noise(4, 20_000));
    first.hsm(["tier"]).succeeds();
    let lost: Vec<_> = pack_files(&first.store()).difference(&before).cloned().collect();
    let [lost] = lost.as_slice() else { panic!("{lost:?}") };
    let away = first.path("away");
    std::fs::rename(lost, &away).expect("lost");

    let second = neighbour(&first);
    let told = pull(&second, &first, &["--data"]).exits(3).summary();
    assert_eq!(told["restored_files"], 3, "{told}");
    first.on("recall", &[], &["changed", "type"]).succeeds();
    first.write("changed", b"another");
    std::fs::remove_dir_all(first.tree().join("gone")).expect("deleted");
    std::fs::remove_file(first.tree().join("type")).expect("deleted");
    first.write("type/now", b"a directory");
    first.hsm(["tier"]).succeeds();
    let mut killed = second.command(["pull", &node_of(&first), "--strip-root", "--data"]);
    killed.arg("--to").arg(mirror(&second));
    killed.env("HSM_FAULT_ABORT", "restore.directories-described");
    assert!(!killed.output().expect("it runs").status.success());
    assert!(!mirror(&second).join("gone").exists());
    assert_eq!(std::fs::read(mirror(&second).join("changed")).expect("brought"), b"another");

    // What the killed one brought goes on, too, and so does what it left out.
    first.write("changed", b"once more");
    std::fs::remove_dir_all(first.tree().join("type")).expect("deleted");
    first.hsm(["tier"]).succeeds();
    std::fs::rename(&away, lost).expect("found");
    pull(&second, &first, &["--data"]).succeeds();
    first.on("recall", &["-r"], &[""]).succeeds();
    assert_same(&snapshot(&first.tree()), &snapshot(&mirror(&second)));
}
