//! The program dies at each arrow, each effect fails in turn, the power goes:
//! afterwards the bytes of the file are here, or its marker names their copy.
//!
//! The process that dies is this test binary, started again with one test
//! selected ([`child`]) and told by its environment what to do.

use super::testing::{MTIME_NS, STORE_TAG, Sample, on_each};
use super::*;
use crate::config::OfflineBit;
use crate::os::loopfs::{FsKind, LoopFs, root_or_skip};
use crate::os::stat::statx_fd;
use crate::os::{RelPath, RootDir, owner_write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

const TASK: &str = "HSM_STUB_TEST_TASK";
const DIR: &str = "HSM_STUB_TEST_DIR";
const NOBODY: u32 = 65_534;

const FREE_POINTS: [&str; 5] = [
    "stub.marker-set",
    "stub.before-punch",
    "stub.after-punch",
    "stub.after-times",
    "stub.offline-shown",
];
const FILL_POINTS: [&str; 5] = [
    "stub.fill-flag-set",
    "stub.fill-allocated",
    "stub.fill-data-written",
    "stub.fill-data-durable",
    "stub.fill-marker-removed",
];

/// Does nothing unless the other tests start it.
#[test]
fn child() {
    let (Some(task), Some(dir)) = (std::env::var_os(TASK), std::env::var_os(DIR)) else { return };
    let dir = Path::new(&dir);
    match task.to_str().expect("a task's name") {
        "free" => drop(Sample::existing(dir, false).free().expect("free")),
        "free sparse" => drop(Sample::existing(dir, true).free().expect("free")),
        "fill" => drop(Sample::existing(dir, false).fill().expect("fill")),
        "read-only" => go_out_and_back_read_only(dir),
        other => panic!("no such task: {other}"),
    }
}

fn start(task: &str, dir: &Path, fault: Option<(&str, &str)>, as_nobody: bool) -> ExitStatus {
    let mut child = Command::new(std::env::current_exe().expect("this binary"));
    child.args(["--exact", "stub::crash_tests::child", "--test-threads=1"]);
    child.env(TASK, task).env(DIR, dir).stdout(Stdio::null()).stderr(Stdio::null());
    child.envs(fault);
    if as_nobody {
        child.uid(NOBODY).gid(NOBODY);
    }
    child.status().expect("start this binary")
}

fn abort_at(task: &str, dir: &Path, point: &str) {
    let status = start(task, dir, Some(("HSM_FAULT_ABORT", point)), false);
    assert_eq!(status.code(), None, "{task} does not reach {point}");
}

#[test]
fn a_death_at_any_arrow_of_freeing_loses_nothing() {
    on_each("a_death_at_any_arrow_of_freeing", |dir, kind| {
        for (task, make) in
            [("free", Sample::whole as fn(&Path) -> _), ("free sparse", Sample::sparse)]
        {
            for point in FREE_POINTS {
                let sample = make(dir).with_dos_attributes();
                abort_at(task, dir, point);
                let context = format!("{kind:?} {task} {point}");
                let placement = sample.recover_and_assert_nothing_lost(&context);
                let freed =
                    ["stub.after-punch", "stub.after-times", "stub.offline-shown"].contains(&point);
                assert_eq!(
                    matches!(placement, Placement::Stub(_)),
                    freed,
                    "{context}: {placement:?}"
                );
                if point != "stub.after-punch" {
                    assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
                }
                match placement {
                    Placement::Stub(_) => drop(sample.fill().expect(&context)),
                    _ => drop_marker(&sample.open(), MarkerSpace::for_this_process())
                        .expect(&context),
                }
                sample.assert_whole(&context);
                std::fs::remove_file(&sample.path).expect("remove");
            }
        }
    });
}

#[test]
fn a_death_at_any_arrow_of_filling_loses_nothing() {
    on_each("a_death_at_any_arrow_of_filling", |dir, kind| {
        let sample = Sample::whole(dir).with_dos_attributes();
        for point in FILL_POINTS {
            drop(sample.free().expect("free"));
            abort_at("fill", dir, point);
            let context = format!("{kind:?} {point}");
            let placement = sample.recover_and_assert_nothing_lost(&context);
            let back = point == "stub.fill-marker-removed";
            assert_eq!(placement == Placement::Resident, back, "{context}: {placement:?}");
            assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
            if !back {
                sample.fill().expect(&context);
            }
            sample.assert_whole(&context);
        }
    });
}

/// The one instant in which a whole file is not known for one: it is reported,
/// and can be compared with its copy and freed, or kept.
#[test]
fn a_death_before_the_punch_of_a_sparse_file_leaves_it_to_be_compared() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::sparse(dir.path());
    let space = MarkerSpace::for_this_process();
    abort_at("free sparse", dir.path(), "stub.holes-declared");
    let found = recover(&sample.open(), space).expect("recover");
    assert!(matches!(found, Placement::Changed { .. }), "{found:?}");
    sample.assert_whole("nothing was punched");
    discard_residue(&sample.open(), space, sample.copy()).expect("discard");
    assert_eq!(sample.mtime_ns(), MTIME_NS);
    sample.fill().expect("fill");
    sample.assert_whole("recalled");
}

/// A recall that finds the traces of one that died goes on by itself.
#[test]
fn a_recall_clears_away_what_a_dead_one_left() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::whole(dir.path());
    drop(sample.free().expect("free"));
    abort_at("fill", dir.path(), "stub.fill-data-written");
    let half = inspect(&sample.open(), MarkerSpace::for_this_process()).expect("inspect");
    assert!(matches!(half, Placement::Filling(_)), "{half:?}");
    sample.fill().expect("fill");
    sample.assert_whole("recalled");
    assert_eq!(sample.mtime_ns(), MTIME_NS);
}

#[test]
fn each_effect_of_freeing_and_filling_may_fail() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::whole(dir.path());
    for (task, at_least) in [("free", 3), ("fill", 15)] {
        let mut failures = 0;
        loop {
            let nth = (failures + 1).to_string();
            if start(task, dir.path(), Some(("HSM_FAULT_FAIL", &nth)), false).success() {
                break;
            }
            failures += 1;
            let context = format!("{task}, effect {nth} failed");
            match sample.recover_and_assert_nothing_lost(&context) {
                // The next attempt begins where this one did.
                Placement::Stub(_) if task == "free" => drop(sample.fill().expect(&context)),
                Placement::Resident if task == "fill" => drop(sample.free().expect(&context)),
                Placement::Marked(_) => {
                    drop_marker(&sample.open(), MarkerSpace::for_this_process()).expect(&context);
                }
                _ => {}
            }
            if task == "fill" {
                assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
            }
            crate::os::blocks::set_times(&sample.open(), None, Some(MTIME_NS)).expect("times");
        }
        assert!(failures >= at_least, "{task} has only {failures} effects");
    }
    sample.assert_whole("at last");
}

#[test]
fn set_id_bits_outlive_a_death_after_the_punch() {
    if !root_or_skip("set_id_bits_outlive_a_death_after_the_punch") {
        return;
    }
    let capability = hex::decode("0100000200200000000000000000000000000000").expect("hex");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::whole(dir.path());
    owner_write::set_mode(&sample.open(), 0o4755).expect("chmod");
    crate::os::xattrs::set(&sample.open(), "security.capability", &capability).expect("set");
    for (task, point) in [("free", "stub.after-punch"), ("fill", "stub.fill-data-written")] {
        abort_at(task, dir.path(), point);
        let found = crate::os::xattrs::get(&sample.open(), "security.capability").expect("get");
        assert_eq!(found, None, "the kernel strips it: else this test shows nothing");
        sample.recover_and_assert_nothing_lost(point);
        let found = crate::os::xattrs::get(&sample.open(), "security.capability").expect("get");
        assert_eq!(found.as_deref(), Some(&*capability), "{point}");
        let stat = statx_fd(sample.open()).expect("stat");
        assert_eq!((stat.mode, stat.mtime_ns), (0o4755, MTIME_NS), "{point}");
    }
}

/// The journal replays what it has; whatever that is, nothing may be missing.
#[test]
fn a_power_failure_loses_nothing() {
    for kind in [FsKind::Ext4, FsKind::Xfs] {
        for log_flushed in [false, true] {
            let Some(mut fs) = LoopFs::new("a_power_failure_loses_nothing", kind) else { return };
            let context = format!("{kind:?}, log flushed: {log_flushed}");
            let sample = Sample::whole(fs.path()).with_dos_attributes();
            let armed = sample.arm().expect("arm");
            crate::os::blocks::syncfs(armed.file()).expect("syncfs");
            drop(armed.punch().expect("punch"));
            fs.crash(log_flushed);
            let placement = sample.recover_and_assert_nothing_lost(&context);
            if let Placement::Marked(_) = placement {
                drop_marker(&sample.open(), MarkerSpace::Trusted).expect("drop the marker");
                sample.free().expect("free");
            }
            sample.fill().expect("fill");
            fs.crash(log_flushed);
            let placement = sample.recover_and_assert_nothing_lost(&context);
            assert_eq!(placement, Placement::Resident, "{context}: finish is durable");
            assert_eq!(sample.mtime_ns(), MTIME_NS, "{context}");
        }
    }
}

#[test]
fn a_read_only_file_of_an_ordinary_user_goes_out_and_back() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let sample = Sample::whole(dir.path());
    std::fs::set_permissions(&sample.path, PermissionsExt::from_mode(0o444)).expect("chmod");
    if !rustix::process::geteuid().is_root() {
        return go_out_and_back_read_only(dir.path());
    }
    for path in [dir.path(), &sample.path] {
        chown(path, Some(NOBODY), Some(NOBODY)).expect("chown");
    }
    let status = start("read-only", dir.path(), None, true);
    assert!(status.success(), "{status}");
    sample.assert_whole("recalled");
    let stat = statx_fd(sample.open()).expect("stat");
    assert_eq!((stat.mode, stat.mtime_ns, stat.uid), (0o444, MTIME_NS, NOBODY));
}

/// As its owner, who may not write to it.
fn go_out_and_back_read_only(dir: &Path) {
    let sample = Sample::existing(dir, false);
    File::options().write(true).open(&sample.path).expect_err("read-only");
    let root = RootDir::open(dir).expect("open");
    let path = RelPath::new("sample").expect("a good path");
    let mode = || root.stat(&path).expect("stat").mode;
    let file = root.open_free(&path).expect("open");
    let expected = Expected::of(&file).expect("stat");
    let armed = arm(file, MarkerSpace::User, &expected, sample.copy(), STORE_TAG, OfflineBit::Auto)
        .expect("arm");
    assert_eq!(mode(), 0o444);
    armed.punch().expect("punch");
    assert_eq!(mode(), 0o444);
    let file = root.open_write(&path).expect("open");
    let found = inspect(&file, MarkerSpace::User).expect("inspect");
    let Placement::Stub(marker) = found else { panic!("{found:?}") };
    let filler = begin_fill(file, MarkerSpace::User, &marker, &sample.data).expect("begin");
    sample.write_into(&filler).expect("write");
    let stat = filler.finish(sample.content()).expect("finish");
    assert_eq!((stat.mode, stat.mtime_ns), (0o444, MTIME_NS));
}
