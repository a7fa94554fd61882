#!/usr/bin/env python3
"""Times hsm against the tools people know, interleaved, and prints ratios.

    cargo build --release
    benches/ratios.py scan|small|recall|stub|upload|all [--rounds N] [--scale F] [--dir DIR]

Every comparison runs A B A B ... in one go and quotes the median of the
per-round ratios: absolute times of a shared machine mean little. Dirty pages
are written back before each timed command, so that none pays for another's.
Peers that are not installed (restic, rclone, rustic) are left out and said so.
`stub` needs root (it makes a journaled ext4 image). Nothing here is a test: no
figure fails.
"""
import argparse
import itertools
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
        os.sync()
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


def apart(make, *args):
    """Runs `make` in a child: a process counts the memory of who started it as
    its own peak, so this one stays small."""
    child = os.fork()
    if child == 0:
        try:
            make(*args)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(child, 0)[1] != 0:
        sys.exit(f"{make.__name__} failed")


class Place:
    """A directory with a tree, a store, and one hsm of its own."""

    def __init__(self, base, action="tier", tree=None):
        self.base = os.path.join(base, "hsm")
        self.tree = tree or os.path.join(base, "tree")
        self.action = action
        os.makedirs(self.tree, exist_ok=True)
        self.env = dict(os.environ, HSM_CONFIG=os.path.join(self.base, "conf/config.toml"))

    def fresh(self):
        """An empty store and state DB."""
        shutil.rmtree(self.base, ignore_errors=True)
        os.makedirs(os.path.join(self.base, "store"))
        self.hsm("init", "--store", f"file://{self.base}/store",
                 "--state-dir", f"{self.base}/state", self.tree)
        policies = os.path.join(self.base, "conf/policies.d")
        shutil.rmtree(policies, ignore_errors=True)
        os.makedirs(policies)
        with open(os.path.join(policies, "bench.toml"), "w") as out:
            out.write(POLICY.format(action=self.action))

    def hsm(self, *args):
        return Run([HSM, "--quiet", *args], env=self.env)


def noise(rng, size):
    return rng.randbytes(size)


WORDS = [b"%x" % (n * n * 2654435761 % 2**(8 + n % 36)) for n in range(1, 30_001)]
WEIGHTS = list(itertools.accumulate(1 / n for n in range(1, 30_001)))


def text(rng, size):
    """Words by Zipf's law: zstd -1 leaves about 40 % of it, as of real text."""
    words = rng.choices(WORDS, cum_weights=WEIGHTS, k=size // 6)
    return b" ".join(words)[:size].ljust(size)


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


def empty_files(tree, files):
    for d in range(files // 100):
        path = f"{tree}/d{d // 100:03}/d{d % 100:02}"
        os.makedirs(path)
        for f in range(100):
            fd = os.open(f"{path}/file{f:03}.dat", os.O_CREAT | os.O_WRONLY)
            if f % 10 == 0:
                os.write(fd, b"x" * 100)
            os.close(fd)


def scan(base, rounds, scale):
    place = Place(base)
    files = int(1_000_000 * scale)
    print(f"making {files} files in {files // 100} directories ...")
    apart(empty_files, place.tree, files)
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


def mixed(tree, scale):
    """2,000 files of 1 MiB and 20 of 200 MiB: half noise, 3/8 text, 1/8 duplicates."""
    rng = random.Random(7)
    makers = [noise, text, noise, text, noise, text, noise]
    for i in range(int(2000 * scale)):
        path = f"{tree}/small/d{i // 100}/f{i}"
        if i % 8 == 7:
            shutil.copy(f"{tree}/small/d{(i - 5) // 100}/f{i - 5}", path)
        else:
            write(path, makers[i % 8](rng, 1 << 20))
    os.makedirs(f"{tree}/large")
    for i in range(max(int(20 * scale), 1)):
        with open(f"{tree}/large/f{i}", "wb") as out:
            blocks = [makers[part % 7](rng, 4 << 20) for part in range(44)]
            for part in range(50):
                out.write(blocks[0] if part % 8 == 7 else blocks[part - part // 8])


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
    place = Place(base, action="upload")
    print("making the mixed tree ...")
    apart(mixed, place.tree, scale)
    upload_against(base, place, f"upload of a mixed tree ({scale} x 6 GiB)", rounds, False)


def small_files(tree, count, size):
    rng = random.Random(3)
    for i in range(count):
        half = size // 2
        write(f"{tree}/d{i // 500}/f{i}", noise(rng, half) + text(rng, half))


def small(base, rounds, scale):
    place = Place(base, action="upload")
    apart(small_files, place.tree, int(50_000 * scale), 8 << 10)
    upload_against(base, place, f"upload of {int(50_000 * scale)} files of 8 KiB", rounds, True)


def large_file(path, blocks):
    """58 % text, 42 % noise."""
    rng = random.Random(5)
    with open(path, "wb") as out:
        for part in range(blocks):
            out.write((text if part % 12 < 7 else noise)(rng, 8 << 20))


def recall(base, rounds, scale):
    place = Place(base)
    path = f"{place.tree}/file"
    apart(large_file, path, int(128 * scale))
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
        place = Place(base, tree=f"{mount}/tree")
        apart(small_files, place.tree, files, 64 << 10)
        place.fresh()
        place.hsm("scan")
        place.hsm("upload")
        rates = []
        for _ in range(rounds):
            run = place.hsm("stub")
            rates.append(files / run.wall)
            place.hsm("recall", "-r", place.tree)
            # Which files have blocks again is for a scan to tell.
            place.hsm("scan")
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


if __name__ == "__main__":
    main()
