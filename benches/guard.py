#!/usr/bin/env python3
"""Times what `hsm recall-guard` costs those who open files, and prints ratios.

    cargo build --release
    benches/guard.py open|read|recall|all [--fs ext4,xfs,btrfs] [--rounds N] [--scale F] [--dir DIR]

* open: open, read and close of 20,000 resident files of 4 KiB, under a guard
  that has just been started (first pass: one event per file) and later (its
  marks are set), against no guard.
* read: 1 GiB read in order, in pieces of 128 KiB and of 4 KiB, likewise.
* recall: `cat` of a stub of 1 GiB from a directory store, durable on return,
  against `cp` of a plain file and `sync` of the copy.

Needs root, gcc and the mkfs programs; works on loop images of its own. Rounds
are interleaved and each is compared with the runs right before and after it.
Like benches/ratios.py this is a measurement, never a test: no figure fails.
"""
import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading

from ratios import HSM, Run, apart, large_file

POLICY = """[defaults]
min_stub_size = "64KiB"
quiet = "0s"
min_age_after_recall = "0s"
[[rule]]
name = "big files"
min_size = "64KiB"
action = "tier"
"""

MKFS = {
    "ext4": ["mkfs.ext4", "-q", "-F", "-I", "256"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}

# Interpreters are slower than what is measured.
READER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 20];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void all_of(const char *path, size_t piece) {
    int fd = open(path, O_RDONLY);
    ssize_t n;
    if (fd < 0) { perror(path); exit(1); }
    while ((n = read(fd, buffer, piece)) > 0) {}
    if (n < 0) { perror(path); exit(1); }
    close(fd);
}

/* many DIR COUNT: files DIR/<hundred>/<n>.  one FILE PIECE. */
int main(int argc, char **argv) {
    char path[4096];
    double start = now();
    if (argc == 4 && !strcmp(argv[1], "many")) {
        for (int i = 0; i < atoi(argv[3]); i++) {
            snprintf(path, sizeof path, "%s/%d/%d", argv[2], i / 100, i);
            all_of(path, 4096);
        }
    } else if (argc == 4 && !strcmp(argv[1], "one")) {
        all_of(argv[2], atoi(argv[3]));
    } else return 2;
    printf("%.9f\n", now() - start);
    return 0;
}
"""


class Image:
    """A mounted loop image with an hsm whose state and store are elsewhere."""

    def __init__(self, base, kind, size):
        self.base, self.kind = base, kind
        self.mount = os.path.join(base, "mount")
        image = os.path.join(base, "image")
        os.makedirs(self.mount)
        Run(["truncate", "-s", str(size), image])
        Run([*MKFS[kind], image])
        Run(["mount", "-o", "loop", image, self.mount])
        self.tree = os.path.join(self.mount, "tree")
        os.makedirs(self.tree)
        self.env = dict(os.environ, HSM_CONFIG=os.path.join(base, "conf/config.toml"))
        os.makedirs(os.path.join(base, "store"))
        self.hsm("init", "--store", f"file://{base}/store", "--state-dir", f"{base}/state",
                 self.tree)
        policies = os.path.join(base, "conf/policies.d")
        shutil.rmtree(policies, ignore_errors=True)
        os.makedirs(policies)
        with open(os.path.join(policies, "bench.toml"), "w") as out:
            out.write(POLICY)
        self.keeper = None

    def hsm(self, *args):
        return Run([HSM, "--quiet", *args], env=self.env)

    def guard(self):
        """Starts the guard and returns when it is ready."""
        path = os.path.join(self.base, "notify")
        if os.path.exists(path):
            os.unlink(path)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(path)
        self.keeper = subprocess.Popen([HSM, "--quiet", "recall-guard"],
                                       env=dict(self.env, NOTIFY_SOCKET=path),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ready = threading.Event()
        threading.Thread(target=listen, args=(self.notify, ready), daemon=True).start()
        if not ready.wait(60):
            self.kill()
            sys.exit("the guard is not ready after a minute")

    def peak_mib(self):
        """Peak memory of keeper and guard."""
        pids = [self.keeper.pid]
        children = f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children"
        pids += [int(pid) for pid in open(children).read().split()]
        lines = [line for pid in pids for line in open(f"/proc/{pid}/status")]
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def end_guard(self):
        if self.keeper is None:
            return
        subprocess.run([HSM, "--quiet", "recall-guard", "--stop", "--force"], env=self.env,
                       timeout=60, check=False)
        try:
            self.keeper.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        self.keeper = None
        self.notify.close()

    def kill(self):
        children = f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children"
        pids = [int(pid) for pid in open(children).read().split()] + [self.keeper.pid]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        self.keeper.wait()

    def close(self):
        self.end_guard()
        subprocess.run(["umount", self.mount], check=False)


def listen(notify, ready):
    """Takes what the guard tells its service manager, which else makes it wait."""
    try:
        while True:
            if b"READY=1" in notify.recv(4096):
                ready.set()
    except OSError:
        pass


def say(title, target, values):
    """Median and range of the per-round ratios."""
    middle = statistics.median(values)
    aim = "" if target is None else f"   (target {target:.2f}x: {'met' if middle <= target else 'MISSED'})"
    print(f"  {title:<44}{middle:>6.2f}x   [{min(values):.2f} .. {max(values):.2f}]{aim}")


class Bench:
    def __init__(self, args, base):
        self.args, self.base = args, base
        self.reader = os.path.join(base, "reader")
        source = self.reader + ".c"
        with open(source, "w") as out:
            out.write(READER)
        Run(["gcc", "-O2", "-o", self.reader, source])

    def seconds(self, *args):
        """What the reader measured of itself."""
        done = subprocess.run([self.reader, *map(str, args)], stdout=subprocess.PIPE, check=True)
        return float(done.stdout)

    def images(self, size):
        for kind in self.args.fs.split(","):
            with tempfile.TemporaryDirectory(dir=self.base, prefix=kind) as base:
                image = Image(base, kind, size)
                try:
                    yield image
                finally:
                    image.close()

    def rounds(self, image, args, later):
        """Per round the first pass and the median of the later ones, each against
        passes without a guard before and after."""
        first, rest, plain, peak = [], [], [], 0
        self.seconds(*args)
        before = self.seconds(*args)
        for _ in range(self.args.rounds):
            image.guard()
            passes = [self.seconds(*args) for _ in range(1 + later)]
            peak = max(peak, image.peak_mib())
            image.end_guard()
            after = self.seconds(*args)
            base = (before + after) / 2
            first.append(passes[0] / base)
            rest.append(statistics.median(passes[1:]) / base)
            plain.append(base)
            before = after
        return first, rest, statistics.median(plain), peak

    def open(self):
        count = int(20_000 * self.args.scale)
        for image in self.images(2 << 30):
            apart(make_small, image.tree, count)
            first, rest, plain, peak = self.rounds(image, ("many", image.tree, count), 5)
            print(f"\n{image.kind}: open, read, close of {count} files of 4 KiB "
                  f"({plain / count * 1e6:.2f} us each without a guard; guard {peak:.0f} MiB)")
            ext4 = image.kind == "ext4"
            say("first pass", 4 if ext4 else None, first)
            say("later passes", 1.15 if ext4 else None, rest)

    def read(self):
        size = int((1 << 30) * self.args.scale)
        for image in self.images(3 << 30):
            path = os.path.join(image.tree, "file")
            Run(["dd", "if=/dev/urandom", f"of={path}", "bs=1M", f"count={size >> 20}", "status=none"])
            for piece in (128 << 10, 4 << 10):
                first, rest, plain, _ = self.rounds(image, ("one", path, piece), 3)
                print(f"\n{image.kind}: {size >> 20} MiB in pieces of {piece >> 10} KiB, cached "
                      f"({plain:.3f} s without a guard)")
                say("first pass", None, first)
                say("later passes", None, rest)

    def recall(self):
        blocks = int(128 * self.args.scale)
        for image in self.images(5 << 30):
            path = os.path.join(image.tree, "file")
            plain, copy = os.path.join(self.base, "plain"), os.path.join(image.mount, "copy")
            apart(large_file, path, blocks)
            shutil.copy(path, plain)
            image.guard()
            image.hsm("tier")
            cats, cps = [], []
            for _ in range(self.args.rounds):
                cats.append(Run(["cat", path]).wall)
                image.hsm("tier")
                cps.append(Run(["sh", "-c", f"cp {plain} {copy} && sync {copy}"]).wall)
                os.unlink(copy)
            print(f"\n{image.kind}: cat of a stub of {os.path.getsize(plain) >> 20} MiB, medians "
                  f"{statistics.median(cats):.2f} s; cp and sync {statistics.median(cps):.2f} s; "
                  f"guard {image.peak_mib():.0f} MiB")
            say("cat of the stub", 2, [cat / cp for cat, cp in zip(cats, cps)])


def make_small(tree, count):
    for i in range(count):
        os.makedirs(f"{tree}/{i // 100}", exist_ok=True)
        with open(f"{tree}/{i // 100}/{i}", "wb") as out:
            out.write(b"%04d" % (i % 10_000) * 1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["open", "read", "recall", "all"])
    parser.add_argument("--fs", default="ext4,xfs,btrfs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--dir", help="where to work (default: the temporary directory)")
    args = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root: it mounts images and starts a guard")
    with tempfile.TemporaryDirectory(dir=args.dir, prefix="hsm-bench-") as base:
        bench = Bench(args, base)
        for what in ["open", "read", "recall"] if args.what == "all" else [args.what]:
            getattr(bench, what)()


if __name__ == "__main__":
    main()
