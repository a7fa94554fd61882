#!/usr/bin/env python3
"""Times what a burnt server waits for: a tree from the store alone, as stubs and as data.

    cargo build --release
    benches/restore.py [--files N] [--rounds N] [--dir DIR] [--hsm PROGRAM]

N small files (100,000 unless said), a hundred in a directory, are uploaded; then they are
restored to a journaled ext4 image of its own (needs root), each time into an empty
directory, with the catalog read from the store and at the end everything durable. Beside
it: GNU tar unpacking the same names as holes of the same sizes, which is all that a stub
is to the file system, and a sync. Rounds alternate; medians are printed with the rate.
"again" is the same command over what is there. Nothing here is a test: no figure fails.
"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

POLICY = '[defaults]\nquiet = "0s"\n[[rule]]\nname = "everything"\naction = "upload"\n'


def timed(argv, env=None):
    """Wall seconds, CPU seconds and peak MiB of one command and the sync after it."""
    os.sync()
    start = time.monotonic()
    child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    os.sync()
    wall = time.monotonic() - start
    if status != 0:
        sys.exit(f"{argv}: status {status}\n{err.decode(errors='replace')}")
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def plant(tree, files):
    """Small files with names and times as people have them."""
    for number in range(files):
        group = number // 100
        where = os.path.join(tree, f"project {group // 50:03}", f"part {group % 50:02}")
        if number % 100 == 0:
            os.makedirs(where)
        path = os.path.join(where, f"document {number % 100:02}.odt")
        with open(path, "wb") as out:
            out.write(b"%d " % number * (20 + number % 300))
        os.utime(path, ns=(10**18 + number, 10**18 + number * 1000))


def hollow(tree, copy):
    """The same names, sizes and times without data."""
    for where, _, names in os.walk(tree):
        there = os.path.join(copy, os.path.relpath(where, tree))
        os.makedirs(there, exist_ok=True)
        for name in names:
            stat = os.stat(os.path.join(where, name))
            with open(os.path.join(there, name), "wb") as out:
                out.truncate(stat.st_size)
            os.utime(os.path.join(there, name), ns=(stat.st_atime_ns, stat.st_mtime_ns))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dir", default=None)
    built = os.path.join(os.path.dirname(__file__), "..", "target", "release", "hsm")
    parser.add_argument("--hsm", default=built)
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("stubs outside a root are root's, and so is the image")
    base = tempfile.mkdtemp(prefix="hsm-bench-", dir=args.dir)
    mount = os.path.join(base, "image")
    mounted = False
    try:
        image = mount + ".ext4"
        with open(image, "wb") as out:
            out.truncate(max(4 << 30, args.files * 40_000))
        subprocess.run(["mkfs.ext4", "-q", "-i", "4096", image], check=True)
        os.mkdir(mount)
        subprocess.run(["mount", "-o", "loop", image, mount], check=True)
        mounted = True
        measure(args, base, mount)
    finally:
        if mounted:
            subprocess.run(["umount", mount], check=False)
        shutil.rmtree(base, ignore_errors=True)


def measure(args, base, mount):
    tree, store = os.path.join(base, "tree"), os.path.join(base, "store")
    os.mkdir(store)
    plant(tree, args.files)
    env = dict(os.environ, HSM_CONFIG=os.path.join(base, "conf/config.toml"))
    url = f"file://{store}"
    state = os.path.join(base, "state")
    timed([args.hsm, "-q", "init", "--store", url, "--state-dir", state, tree], env)
    os.makedirs(os.path.join(base, "conf/policies.d"), exist_ok=True)
    with open(os.path.join(base, "conf/policies.d/bench.toml"), "w") as out:
        out.write(POLICY)
    timed([args.hsm, "-q", "tier"], env)
    holes, archive = os.path.join(base, "holes"), os.path.join(base, "holes.tar")
    hollow(tree, holes)
    subprocess.run(["tar", "-cSf", archive, "-C", holes, "."], check=True)
    shutil.rmtree(holes)
    shutil.rmtree(tree)

    away = dict(os.environ, HSM_CONFIG=os.path.join(base, "nowhere"))
    restore = [args.hsm, "-q", "restore", "--store", url, "--strip-root", "--to"]
    rows = {"hsm restore --stubs": [], "the same again": [], "hsm restore": [], "tar -x": []}
    for number in range(args.rounds):
        to = [os.path.join(mount, f"{name}{number}") for name in ("stubs", "data", "tar")]
        rows["hsm restore --stubs"].append(timed([*restore, to[0], "--stubs"], away))
        rows["the same again"].append(timed([*restore, to[0], "--stubs"], away))
        rows["hsm restore"].append(timed([*restore, to[1]], away))
        os.mkdir(to[2])
        rows["tar -x"].append(timed(["tar", "-xpf", archive, "-C", to[2]]))
        for place in to:
            shutil.rmtree(place)
    print(f"{args.files} files, {args.rounds} rounds")
    print(f"  {'command':<22}{'wall s':>9}{'CPU s':>9}{'MiB':>7}{'files/s':>10}")
    for name, rounds in rows.items():
        wall, cpu = (statistics.median(r[at] for r in rounds) for at in (0, 1))
        most = max(r[2] for r in rounds)
        print(f"  {name:<22}{wall:>9.2f}{cpu:>9.2f}{most:>7.0f}{args.files / wall:>10.0f}")


if __name__ == "__main__":
    main()
