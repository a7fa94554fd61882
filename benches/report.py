#!/usr/bin/env python3
"""Times `hsm report` over a state DB of many rows, and makes the one that the picture in docs is of.

    cargo build --release
    benches/report.py [--files N] [--rounds N] [--root DIR] [--keep DIR] [--hsm PROGRAM]

The tree has one file; N rows (100,000 unless said) are written into the state DB as a scan
of a media company's server would have: names, owners, sizes and ages by fixed chance, a
third of them stubs, and a year of recalls. Beside the report: `hsm plan` over the same rows
with the same policy. Medians of wall seconds, and the peak memory. --keep leaves page and
state DB in DIR. Nothing here is a test: no figure fails.
"""
import argparse
import multiprocessing
import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time

DAY = 86_400 * 10**9
NOW = 1_790_000_000 * 10**9  # 2026-09-21

POLICY = """
exclude = [".snapshots"]
[defaults]
quiet = "5m"
[watermark]
high = "85%"
low = "75%"
[limits]
max_bytes = "2TiB"
[class.footage]
include = "*.{mov,mxf,mkv}"
[class.stills]
include = "*.{tif,dng,jpg}"
[class.sound]
include = "*.{wav,flac}"
[class.documents]
include = "*.{pdf,docx,xlsx}"
[[rule]]
name = "programs"
mode_any = "executable"
action = "ignore"
[[rule]]
name = "cold footage"
class = "footage"
min_size = "1GiB"
idle = "1y"
action = "tier"
[[rule]]
name = "everything else"
action = "upload"
"""

# Extension, share, median size, and how old such files are in the median, in days.
KINDS = [
    ("mov", 14, 300 << 20, 260), ("mxf", 9, 700 << 20, 420), ("mkv", 5, 400 << 20, 90),
    ("tif", 12, 60 << 20, 400), ("dng", 10, 28 << 20, 220), ("jpg", 16, 4 << 20, 120),
    ("wav", 8, 55 << 20, 200), ("flac", 3, 30 << 20, 400), ("pdf", 8, 900 << 10, 60),
    ("docx", 6, 80 << 10, 30), ("xlsx", 4, 60 << 10, 20), ("py", 3, 6 << 10, 15), ("", 2, 3 << 10, 45),
]
OWNERS = [(33, 4), (34, 2), (1001, 30), (1002, 24), (1003, 17), (1004, 9), (1005, 6), (0, 3)]
PROGRAMS = [("/usr/bin/rsync", 1002, 8), ("/usr/sbin/smbd", 1001, 40), ("/usr/bin/ffmpeg", 1003, 20),
            ("/usr/bin/restic", 34, 2), ("/opt/resolve/bin/resolve", 1001, 25)]


def run(argv, env):
    start = time.monotonic()
    child = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    err = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{argv}: status {status}\n{err.decode(errors='replace')}")
    return time.monotonic() - start, usage.ru_maxrss / 1024


def fill(db, files):
    """Rows as a scan writes them: docs/FORMATS.md does not promise them to anybody."""
    dice = random.Random(7)
    con = sqlite3.connect(db)
    con.execute("PRAGMA foreign_keys = off")
    root, scan = 1, con.execute("SELECT max(id) FROM scan").fetchone()[0]
    kinds, weights = [k for k in KINDS], [k[1] for k in KINDS]
    entries, managed = [], []
    first = con.execute("SELECT max(id) FROM dir").fetchone()[0] + 1
    for number in range(files):
        if number % 100 == 0:
            path = f"projects/{number // 5000:04}/reel {number // 100 % 50:02}".encode()
            con.execute("INSERT INTO dir (id, root_id, path, mode, uid, gid, mtime_ns, ctime_ns)"
                        " VALUES (?, ?, ?, 16877, 0, 0, 0, 0)", (first + number // 100, root, path))
        ext, _, median, age = dice.choices(kinds, weights)[0]
        size = max(1, int(median * dice.lognormvariate(0, 1.5)))
        idle = int(min(age * dice.lognormvariate(0, 1.1), 2400) * DAY)
        ino, where = 10**9 + number, first + number // 100
        name = f"take {number % 100:02}{'.' + ext if ext else ''}".encode()
        uid = dice.choices([o for o, _ in OWNERS], [w for _, w in OWNERS])[0]
        stub = size > 256 << 20 and idle > 400 * DAY and dice.random() < 0.75
        uploaded = stub or (idle > 2 * DAY and dice.random() < 0.8)
        then, btime = NOW - idle, NOW - idle - DAY
        allocated = 0 if stub else (size + 4095) // 4096 * 4096
        entries.append((where, name, ino, 0o100644, 1, uid, 100, size, allocated, then, btime, btime, btime, scan))
        if uploaded:
            managed.append((root, ino, 1, btime, where, name, "stub" if stub else "uploaded", size, btime, btime, NOW - 40 * DAY))
    con.executemany("INSERT INTO entry VALUES (" + ",".join("?" * 14) + ")", entries)
    con.executemany("INSERT INTO file (root_id, ino, generation, btime_ns, dir_id, name, state, size_bytes,"
                    " mtime_ns, ctime_ns, uploaded_ns) VALUES (" + ",".join("?" * 11) + ")", managed)
    stored = sum(row[7] for row in managed)
    for number in range(max(1, stored // (32 << 20))):
        con.execute("INSERT INTO pack (pack_id, kind, class, size_bytes, status, made_ns)"
                    " VALUES (?, 'large', 'STANDARD_IA', ?, 'durable', 0)",
                    (number.to_bytes(16, "big"), stored * 9 // 10 // max(1, stored // (32 << 20))))
    for number in range(1400):
        exe, uid, weight = dice.choices(PROGRAMS, [p[2] for p in PROGRAMS])[0]
        at = NOW - int(dice.random() ** 1.3 * 88 * DAY)
        if (at // DAY + 3) % 7 >= 5 and dice.random() < 0.85:
            continue
        denied = dice.random() < 0.015
        con.execute("INSERT INTO recall (at_ns, root_id, path, ino, generation, bytes, latency_ms, pid, uid, exe,"
                    " cgroup, outcome) VALUES (?, 1, x'61', 1, 1, ?, 300, 1, ?, ?, '', ?)",
                    (at, int((600 << 20) * dice.lognormvariate(0, 1)), uid, exe,
                     "EIO: the store is unreachable" if denied else "recalled"))
    con.execute("UPDATE scan SET started_ns = ?", (NOW - 2 * DAY,))
    con.execute("UPDATE root SET entries = ?, last_complete_scan_ns = ?", (files, NOW - DAY // 8))
    con.commit()
    con.close()


def main():
    ask = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ask.add_argument("--files", type=int, default=100_000)
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--root", help="an empty directory to be the root, for its name")
    ask.add_argument("--keep")
    ask.add_argument("--hsm", default="target/release/hsm")
    args = ask.parse_args()
    work = args.keep or tempfile.mkdtemp(prefix="hsm-report-")
    root = args.root or os.path.join(work, "tree")
    for part in (root, os.path.join(work, "store"), os.path.join(work, "config/policies.d")):
        os.makedirs(part, exist_ok=True)
    hsm, config = os.path.abspath(args.hsm), os.path.join(work, "config/config.toml")
    env = {"PATH": os.environ["PATH"], "HOME": work, "HSM_CONFIG": config, "HSM_TEST_NOW": str(NOW)}
    with open(os.path.join(root, "README"), "w") as out:
        out.write("This root is made of rows.\n")
    run([hsm, "init", "--state-dir", os.path.join(work, "state"), "--store",
         "file://" + os.path.join(work, "store"), root], env)
    for name in os.listdir(os.path.join(work, "config/policies.d")):
        os.unlink(os.path.join(work, "config/policies.d", name))
    with open(os.path.join(work, "config/policies.d/media.toml"), "w") as out:
        out.write(POLICY)
    run([hsm, "scan"], env)
    # In a process of its own: a child's peak begins with what its parent had in memory.
    filling = multiprocessing.Process(target=fill, args=(os.path.join(work, "state/state.db"), args.files))
    filling.start()
    filling.join()
    page = os.path.join(work, "report.html")
    commands = {"report": [hsm, "report", "--html", page], "plan": [hsm, "plan"]}
    taken = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, argv in commands.items():
            taken[name].append(run(argv, env))
    for name, rounds in taken.items():
        wall = statistics.median(seconds for seconds, _ in rounds)
        print(f"{name:8} {wall:6.2f} s  {args.files / wall:10,.0f} files/s  {max(peak for _, peak in rounds):5.0f} MiB")
    print(f"page     {os.path.getsize(page) / 1024:6.0f} KiB")
    if not args.keep:
        shutil.rmtree(work)


main()
