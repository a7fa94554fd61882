#!/usr/bin/env python3
"""Times hsm against the tools people know, interleaved, and prints ratios.

    cargo build --release
    benches/ratios.py scan|upload|recall|stub|small|all [--rounds N] [--scale F] [--dir DIR]

Every comparison runs A B A B ... in one go and quotes the median of the
per-round ratios: absolute times of a shared machine mean little. Peers that are
not installed (restic, rclone, rustic) are left out and said so. `stub` needs
root (it makes a journaled ext4 image). Nothing here is a test: no figure fails.
"""
import argparse
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HSM = os.path.join(os.path.dirname(__file__), "..", "target", "release", "hsm")
POLICY = """unguarded = true
[defaults]
min_stub_size = "0"
quiet = "0s"
min_age_after_recall = "0s"
[[rule]]
name = "everything"
action = "{action}"
"""


class Run:
    """One finished process: wall seconds, CPU seconds, peak memory."""

    def __init__(self, argv, env=None, cwd=None):
        start = time.monotonic()
        child = subprocess.Popen(argv, env=env, cwd=cwd, stdout=subprocess.DEVNULL,
                                 stderr=subprocess.PIPE)
        err = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
        self.wall = time.monotonic() - start
        self.cpu = usage.ru_utime + usage.ru_stime
        self.rss_mib = usage.ru_maxrss / 1024
        if status != 0:
            sys.exit(f"{argv}: status {status}\n{err.decode(errors='replace')}")


def table(title, runs, ours):
    """Prints medians and, per peer, the median of the per-round ratios."""
    print(f"\n{title}")
    print(f"  {'command':<34}{'wall s':>9}{'CPU s':>9}{'MiB':>7}   peer/hsm wall")
    for name, rounds in runs.items():
        ratios = [peer.wall / mine.wall for peer, mine in zip(rounds, runs[ours])]
        print(f"  {name:<34}{statistics.median(r.wall for r in rounds):>9.3f}"
              f"{statistics.median(r.cpu for r in rounds):>9.2f}"
              f"{max(r.rss_mib for r in rounds):>7.0f}   {statistics.median(ratios):.2f}x")


class Place:
    """A directory with a tree, a store, and one hsm of its own."""

    def __init__(self, base, name, action="tier"):
        self.base = os.path.join(base, name)
        self.tree = os.path.join(self.base, "tree")
        self.action = action
        os.makedirs(self.tree, exist_ok=True)
        self.env = dict(os.environ, HSM_CONFIG=os.path.join(self.base, "conf/config.toml"),
                        HSM_STATE_DIR=os.path.join(self.base, "state"))

    def fresh(self):
        for part in ("conf", "state", "store"):
            shutil.rmtree(os.path.join(self.base, part), ignore_errors=True)
        os.makedirs(os.path.join(self.base, "store"))
        self.hsm("init", "--store", f"file://{self.base}/store", self.tree)
        policies = os.path.join(self.base, "conf/policies.d")
        shutil.rmtree(policies, ignore_errors=True)
        os.makedirs(policies)
        with open(os.path.join(policies, "bench.toml"), "w") as out:
            out.write(POLICY.format(action=self.action))

    def hsm(self, *args):
        return Run([HSM, "--quiet", *args], env=self.env)


def noise(rng, size):
    return rng.randbytes(size)


def text(rng, size):
    words = [rng.randbytes(rng.randint(2, 9)).hex() for _ in range(2000)]
    out, length = [], 0
    while length < size:
        word = words[int(rng.paretovariate(0.6)) % 2000]
        out.append(word)
        length += len(word) + 1
    return " ".join(out).encode()[:size]


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.write(data)


def have(*names):
    found = {}
    for name in names:
        path = shutil.which(name) or shutil.which(os.path.expanduser(f"~/.cargo/bin/{name}"))
        if path:
            found[name] = path
        else:
            print(f"  ({name} is not installed: left out)")
    return found


def scan(base, rounds, scale):
    place = Place(base, "scan")
    files = int(1_000_000 * scale)
    print(f"making {files} files in {files // 100} directories ...")
    for d in range(files // 100):
        path = f"{place.tree}/d{d // 100:03}/d{d % 100:02}"
        os.makedirs(path)
        for f in range(100):
            fd = os.open(f"{path}/file{f:03}.dat", os.O_CREAT | os.O_WRONLY)
            if f % 10 == 0:
                os.write(fd, b"x" * 100)
            os.close(fd)
    find = ["find", place.tree, "-printf", "%s %T@ %p\\n"]
    runs = {"hsm scan, fresh state DB": [], "find -printf": [], "hsm scan, unchanged": []}
    Run(find)
    for _ in range(rounds):
        place.fresh()
        runs["hsm scan, fresh state DB"].append(place.hsm("scan"))
        runs["find -printf"].append(Run(find))
        runs["hsm scan, unchanged"].append(place.hsm("scan"))
    table(f"scan of {files} files: fresh", runs, "hsm scan, fresh state DB")
    table("the same, seen from the unchanged rescan", runs, "hsm scan, unchanged")
    shutil.rmtree(place.base)


def mixed(tree, scale):
    rng = random.Random(7)
    for i in range(int(2000 * scale)):
        kind = i % 8
        path = f"{tree}/small/d{i // 100}/f{i}"
        if kind == 7:
            shutil.copy(f"{tree}/small/d{(i - 5) // 100}/f{i - 5}", path)
        else:
            write(path, noise(rng, 1 << 20) if kind % 2 else text(rng, 1 << 20))
    for i in range(int(20 * scale) or 1):
        path = f"{tree}/large/f{i}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        block = text(rng, 4 << 20)
        with open(path, "wb") as out:
            for part in range(50):
                if i % 3 == 0 and part % 2:
                    block = text(rng, 4 << 20) if part % 10 == 1 else block[::-1]
                    out.write(block)
                elif i % 5 == 4 and i:
                    with open(f"{tree}/large/f{i - 1}", "rb") as other:
                        other.seek(part * (4 << 20))
                        out.write(other.read(4 << 20))
                else:
                    out.write(noise(rng, 4 << 20))


def peers(base, tree, tools):
    """Name -> (prepare, argv, env) of uploads of `tree` by the peers."""
    env = dict(os.environ, RESTIC_PASSWORD="x", RUSTIC_PASSWORD="x", XDG_CACHE_HOME=f"{base}/cache")
    env.pop("AWS_CA_BUNDLE", None)
    found = {}
    if "restic" in tools:
        repo = f"{base}/restic"
        found["restic backup"] = (
            lambda: Run([tools["restic"], "-r", repo, "init"], env=env), repo,
            [tools["restic"], "-r", repo, "backup", "--quiet", tree], env)
    if "rustic" in tools:
        rustic = f"{base}/rustic"
        found["rustic backup, zstd 1"] = (
            lambda: Run([tools["rustic"], "-r", rustic, "init", "--set-compression", "1"], env=env),
            rustic, [tools["rustic"], "-r", rustic, "--no-progress", "backup", tree], env)
    if "rclone" in tools:
        copy = f"{base}/rclone"
        found["rclone copy"] = (lambda: None, copy,
                                [tools["rclone"], "copy", "--config", "/dev/null", tree, copy], env)
    return found


def upload_against(base, place, title, rounds, with_cp):
    tools = have("restic", "rustic", "rclone")
    others = peers(base, place.tree, tools)
    if with_cp:
        others["cp -a"] = (lambda: None, f"{base}/cp", ["cp", "-a", place.tree, f"{base}/cp"], None)
    runs = {"hsm upload": [], **{name: [] for name in others}}
    for _ in range(rounds):
        place.fresh()
        place.hsm("scan")
        Run(["sh", "-c", f"find {place.tree} -type f -print0 | xargs -0 cat > /dev/null"])
        runs["hsm upload"].append(place.hsm("upload"))
        for name, (prepare, target, argv, env) in others.items():
            shutil.rmtree(target, ignore_errors=True)
            prepare()
            runs[name].append(Run(argv, env=env))
            shutil.rmtree(target, ignore_errors=True)
    table(title, runs, "hsm upload")


def upload(base, rounds, scale):
    place = Place(base, "upload", action="upload")
    print("making the mixed tree ...")
    mixed(place.tree, scale)
    upload_against(base, place, f"upload of a mixed tree ({scale} x 6 GiB)", rounds, False)
    shutil.rmtree(place.base)


def small(base, rounds, scale):
    place = Place(base, "small", action="upload")
    rng = random.Random(3)
    for i in range(int(50_000 * scale)):
        write(f"{place.tree}/d{i // 500}/f{i}", noise(rng, 4096) + text(rng, 4096))
    upload_against(base, place, f"upload of {int(50_000 * scale)} files of 8 KiB", rounds, True)
    shutil.rmtree(place.base)


def recall(base, rounds, scale):
    place = Place(base, "recall")
    rng = random.Random(5)
    path = f"{place.tree}/file"
    block = text(rng, 8 << 20)
    with open(path, "wb") as out:
        for part in range(int(128 * scale)):
            out.write(block[part * 999:] + block[:part * 999] if part % 12 < 7
                      else noise(rng, 8 << 20))
    size = os.path.getsize(path)
    tools = have("restic", "rustic", "rclone")
    plain = f"{base}/plain"
    shutil.copy(path, plain)
    others = peers(base, place.tree, tools)
    for prepare, target, argv, env in others.values():
        prepare()
        Run(argv, env=env)
    place.fresh()
    place.hsm("tier")
    back = f"{base}/back"
    restores = {"cp (cached)": ["cp", plain, back]}
    if "rclone" in tools:
        restores["rclone copy"] = [tools["rclone"], "copy", "--config", "/dev/null",
                                   f"{base}/rclone/file", back]
    if "restic" in tools:
        restores["restic restore"] = [tools["restic"], "-r", f"{base}/restic", "restore", "latest",
                                      "--target", back]
    if "rustic" in tools:
        restores["rustic restore"] = [tools["rustic"], "-r", f"{base}/rustic", "--no-progress",
                                      "restore", "latest", back]
    env = dict(os.environ, RESTIC_PASSWORD="x", RUSTIC_PASSWORD="x", XDG_CACHE_HOME=f"{base}/cache")
    runs = {"hsm recall": [], **{name: [] for name in restores}}
    for _ in range(rounds):
        runs["hsm recall"].append(place.hsm("recall", path))
        for name, argv in restores.items():
            shutil.rmtree(back, ignore_errors=True)
            if os.path.exists(back):
                os.unlink(back)
            runs[name].append(Run(argv, env=env))
        place.hsm("tier")
    table(f"recall of one file of {size >> 20} MiB (durable on return; the peers are not)", runs,
          "hsm recall")


def stub(base, rounds, scale):
    files = int(20_000 * scale)
    image, mount = f"{base}/image", f"{base}/mount"
    Run(["truncate", "-s", "4G", image])
    Run(["mkfs.ext4", "-q", "-F", image])
    os.makedirs(mount)
    Run(["mount", "-o", "loop", image, mount])
    try:
        place = Place(mount, "stub")
        place.env["HSM_STATE_DIR"] = f"{base}/stub-state"
        rng = random.Random(9)
        for i in range(files):
            write(f"{place.tree}/d{i // 500}/f{i}", noise(rng, 64 << 10))
        place.fresh()
        shutil.rmtree(f"{base}/stub-state", ignore_errors=True)
        place.fresh()
        place.hsm("scan")
        place.hsm("upload")
        rates = []
        for _ in range(rounds):
            run = place.hsm("stub")
            rates.append(files / run.wall)
            place.hsm("recall", "-r", place.tree)
        print(f"\nstub of {files} files of 64 KiB on journaled ext4, every check and the state DB:")
        print(f"  {statistics.median(rates):.0f} files/s (rounds: "
              + ", ".join(f"{rate:.0f}" for rate in rates) + ")")
    finally:
        subprocess.run(["umount", mount], check=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["scan", "upload", "recall", "stub", "small", "all"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--dir", help="where to work (default: the temporary directory)")
    args = parser.parse_args()
    chosen = [scan, small, recall, stub, upload] if args.what == "all" else [globals()[args.what]]
    for bench in chosen:
        with tempfile.TemporaryDirectory(dir=args.dir, prefix="hsm-bench-") as base:
            bench(base, args.rounds, args.scale)


main()
