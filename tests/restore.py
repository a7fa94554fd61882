#!/usr/bin/env python3
"""Restores or checks the trees of an hsm store, from a copy of the bucket alone.

    restore.py [--key-file FILE] [--node ID] [--as-of TIME] STORE_DIR OUT_DIR
    restore.py [--key-file FILE] [--node ID] [--as-of TIME] --check STORE_DIR

Each node's trees appear beneath OUT_DIR/<node id>/<root path>, as they are now or were at
TIME (2026-01-31T14:00:00Z, or nanoseconds since 1970). --check reads every pack, chunk and
segment instead. What comes back is proven byte by byte.

Needs Python 3.8, the module `zstandard` or the program `zstd`, and for an encrypted store the
module `cryptography`; no hsm, no state DB. docs/FORMATS.md describes the formats byte by byte.
"""
import argparse, base64, datetime, hashlib, hmac, json, mmap, os, struct, subprocess, sys, uuid, zlib
from os.path import basename, join


class Bad(Exception):
    pass


def check(condition, why):
    if not condition:
        raise Bad(why)


def zstd_decompress(data):
    try:
        import zstandard
    except ImportError:
        run = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE)
        check(run.returncode == 0, "zstd refuses the data")
        return run.stdout
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except zstandard.ZstdError as error:
        raise Bad(f"zstd refuses the data: {error}")


def name(value):
    return value["text"].encode() if "text" in value else base64.b64decode(value["bytes"])


def mapped(*path):
    with open(join(*path), "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def listing(*path):
    return sorted(os.listdir(join(*path))) if os.path.isdir(join(*path)) else []


class Store:
    """The descriptor (section 2 of FORMATS.md) and the keys (4)."""

    def __init__(self, path, key_file):
        self.path, self.master, self.fingerprint = path, None, bytes(8)
        descriptor = json.loads(mapped(path, "hsm-store.json")[:])
        check(descriptor["magic"] == "hsm-store" and descriptor["format"] == 1, "not an hsm store of format 1")
        self.id = uuid.UUID(descriptor["store_id"]).bytes
        if descriptor["cipher"] != "none":
            check(key_file, "this store is encrypted: --key-file is missing")
            version, key = mapped(key_file)[:].decode().split()
            check((descriptor["cipher"], version) == ("aes-256-gcm", "hsm-key-v1"), "unknown cipher or key")
            self.master = bytes.fromhex(key)
            self.fingerprint = self.key(b"hsm v1 fingerprint", salt=bytes(32))[:8]
            check(self.fingerprint.hex() == descriptor["key_check"], "this is not the store's key")

    def key(self, info, salt=None):
        """HKDF-SHA-256 (RFC 5869), the first 32 bytes."""
        return hmac.digest(hmac.digest(salt or self.id, self.master, "sha256"), info + b"\1", "sha256")

    def decrypt(self, key, nonce, data, context):
        from cryptography import exceptions
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        try:
            return AESGCM(key).decrypt(nonce, data, context)
        except exceptions.InvalidTag:
            raise Bad("its seal is broken")

    def chunk(self, pack, chunk, offset, stored, plain, codec):
        """The bytes of one chunk in a pack of this path, proven by their id."""
        data, pack_id = mapped(pack)[offset - 56:offset + stored], uuid.UUID(basename(pack)).bytes
        head, data, damaged = data[:56], data[56:], f"chunk {chunk.hex()} is damaged in {pack}"
        expected = struct.pack("<4sBB2xII32s4x", b"HSMc", 1, codec, stored, plain, chunk)
        check(head == expected + struct.pack("<I", zlib.crc32(expected)), damaged)
        if self.master:
            key, nonce = self.key(b"hsm v1 pack" + pack_id), struct.pack("<QI", offset, 0)
            data = self.decrypt(key, nonce, data, self.id + pack_id + chunk)
        data = zstd_decompress(data) if codec == 1 else data
        key = self.master and self.key(b"hsm v1 chunk id")
        found = hmac.digest(key, data, "sha256") if key else hashlib.sha256(data).digest()
        check(codec < 2 and len(data) == plain and found == chunk, damaged)
        return data

    def catalog(self, node, part, file):
        """Header, records and SHA-256 of a segment (5) or a part of a checkpoint (6)."""
        data = mapped(self.path, "nodes", node, part, file)[:]
        context, body = data[:9], data[9:]
        check(data[:8] == {"log": b"HSMSEG1\n", "checkpoint": b"HSMCKP1\n"}[part], f"{file} is not of version 1")
        check(data[8] == bool(self.master), f"{file} is encrypted, or not, or of a newer hsm")
        if self.master:
            body = self.decrypt(self.key(b"hsm v1 sealed" + body[:32]), bytes(12), body[32:], context)
        head, *records = [json.loads(line) for line in zstd_decompress(body).split(b"\n") if line]
        own = head["v"] == 1 and uuid.UUID(head["store"]).bytes == self.id and head["node"] == node
        check(own and head.get("seq", head.get("upto")) == int(file[:16], 16), f"{file} is foreign")
        return head, records, hashlib.sha256(data).hexdigest()


def pack_index(store, path):
    """[(chunk id, offset, stored length, plain length, codec)] from the end of a pack (3)."""
    pack, ids = mapped(path), (uuid.UUID(basename(path)).bytes, store.id, store.fingerprint)
    expected = struct.pack("<8sBB2x16s16s8s8x", b"HSMPACK\n", 1, bool(store.master), *ids)
    check(pack[:64] == expected + struct.pack("<I", zlib.crc32(expected)), "not a pack of this store and name")
    magic, version, start, count, index_crc, length, crc = struct.unpack("<8sB3xQIIQI", pack[-40:])
    check(magic == b"HSMPEND\n" and version == 1 and length == len(pack), "no pack trailer, version 1")
    index = pack[start:-40]
    check(zlib.crc32(pack[-40:-4]) == crc and zlib.crc32(index) == index_crc, "damaged pack index")
    entries, end = list(struct.iter_unpack("<32sQIIB3x", index)), 64
    for _, offset, stored, _, _ in entries:
        check(offset == end + 56, "the chunks do not tile the pack")
        end = offset + stored
    check(end == start and len(entries) == count, "the chunks do not tile the pack")
    return entries


def all_chunks(store, prove, problems):
    """chunk id -> its place; with `prove` in packs only that are sound as a whole."""
    chunks = {}
    for fan in listing(store.path, "packs"):
        for path in (join(store.path, "packs", fan, pack) for pack in listing(store.path, "packs", fan)):
            try:
                entries = pack_index(store, path)
                for entry in entries if prove else []:
                    store.chunk(path, *entry)
                chunks.update((entry[0].hex(), (path, *entry)) for entry in entries)
            except (Bad, OSError, ValueError, struct.error) as error:
                problems.append(f"pack {path}: {error}")
    return chunks


def log_of(store, node):
    """[(when written, records)] of each segment, the first of them as the newest checkpoint has them."""
    last, prev, segments = None, None, []
    files = listing(store.path, "nodes", node, "checkpoint")
    for upto in sorted({file[:16] for file in files}, reverse=True):
        parts = [store.catalog(node, "checkpoint", file) for file in files if file[:16] == upto]
        head = parts[0][0]
        if [part["part"] for part, _, _ in parts] == list(range(head["parts"])):
            last, prev, segments = head["upto"], head["upto_hash"], [(head["written_ns"], [])]
            for record in (record for _, records, _ in parts for record in records):
                if record["t"] == "at":
                    segments.append((record["written_ns"], []))
                else:
                    segments[-1][1].append(record)
            break
    for file in listing(store.path, "nodes", node, "log"):
        seq = int(file, 16)
        if last is None or seq > last:
            head, records, digest = store.catalog(node, "log", file)
            check(last in (None, seq - 1), f"segment {last} is followed by {seq}")
            check(head["prev"] == prev, f"segment {seq} does not follow the one before it")
            last, prev = seq, digest
            segments.append((head["written_ns"], records))
    return segments


def tree_of(segments, as_of):
    """(root, path) -> record; later records win."""
    known = "open close pack file gone expired snapshot sealed unsnapshot fence".split()
    until = max((at for at, (written_ns, _) in enumerate(segments, 1) if written_ns <= as_of), default=0)
    tree = {}
    for record in (record for _, records in segments[:until] for record in records):
        check(record["t"] in known, f"unknown record {record['t']}")
        if record["t"] in ("file", "gone"):
            place = name(record["root"]), name(record["path"])
            check(not {b".", b".."} & set(b"/".join(place).split(b"/")), f"{place} leaves its root")
            tree.pop(place, None)
            if record["t"] == "file":
                tree[place] = record
        elif record["t"] == "fence" and record["forget"]:
            tree.clear()  # the node is lost, and what only it had is no longer kept
    return tree


def check_content(record, chunks):
    """That the pieces are those of the content id, and that all of them are there."""
    digest = hashlib.sha256(b"hsm content v1\0" + struct.pack("<Q", record["size"]))
    for chunk, length in record.get("pieces", []):
        digest.update(struct.pack("<QB", length, chunk is not None) + bytes.fromhex(chunk or ""))
        there = chunk is None or chunk in chunks and chunks[chunk][4] == length
        check(there, f"chunk {chunk} is in no sound pack")
    check(digest.hexdigest() == record["content"], "its pieces have another content id")
    check(sum(length for _, length in record.get("pieces", [])) == record["size"], "its pieces have another size")


def write_file(path, record, store, chunks):
    check_content(record, chunks)
    with open(path, "xb") as file:
        try:
            for chunk, length in record.get("pieces", []):
                file.seek(length, os.SEEK_CUR) if chunk is None else file.write(store.chunk(*chunks[chunk]))
            file.truncate(record["size"])
        except Exception:
            os.unlink(path)  # half a file is no file
            raise


def make(path, record, store, chunks, links):
    kind = record["type"]
    os.makedirs(path if kind == "d" else os.path.dirname(path), mode=0o700, exist_ok=True)
    group = (name(record["root"]), record.get("link"), record["gen"], record.get("content"))
    if kind == "f" and record.get("link") is not None and group in links:
        os.link(links[group], path)
    elif kind == "f":
        write_file(path, record, store, chunks)
        links[group] = path
    elif kind == "l":
        os.symlink(name(record["target"]), path)
    elif kind in "pcb":
        os.mknod(path, {"p": 0o010600, "c": 0o020600, "b": 0o060600}[kind], record.get("rdev", 0))


def describe(path, record, notes):
    """Owner, attributes, mode, times: in this order, for each undoes or hinders another that comes later."""
    def attempt(what, *arguments, **options):
        try:
            what(path, *arguments, **options)
        except OSError as error:
            notes.append(f"{os.fsdecode(path)}: {what.__name__}: {error}")
    owner = record["uid"], record["gid"]
    if os.geteuid() == 0:
        attempt(os.chown, *owner, follow_symlinks=False)
    for key, value in record.get("xattrs", []):
        key = key.encode() if isinstance(key, str) else base64.b64decode(key["bytes"])
        attempt(os.setxattr, key, base64.b64decode(value), follow_symlinks=False)
    if record["type"] != "l":
        found = os.lstat(path)  # a set-id bit is for the owner that it was given by
        attempt(os.chmod, record["mode"] & (0o7777 if (found.st_uid, found.st_gid) == owner else 0o1777))
    attempt(os.utime, ns=(record["mtime_ns"], record["mtime_ns"]), follow_symlinks=False)


def restore(base, tree, store, chunks, notes, problems):
    links, made = {}, []
    # Directories first and symlinks last: nothing is written through a link.
    for (root, path), record in sorted(tree.items(), key=lambda item: ("dfpscbl".index(item[1]["type"]), item[0])):
        target = join(base, *[part for part in (root + b"/" + path).split(b"/") if part])
        try:
            make(target, record, store, chunks, links)
            made.append((target, record))
        except (Bad, OSError) as error:
            problems.append(f"{os.fsdecode(target)}: {error}")
    for target, record in reversed(made):
        if record["type"] != "s":  # a socket comes back when its program makes it
            describe(target, record, notes)


def check_tree(tree, chunks, problems):
    for (root, path), record in tree.items():
        try:
            if record["type"] == "f":
                check_content(record, chunks)
        except Bad as error:
            problems.append(f"{os.fsdecode(root + b'/' + path)}: {error}")


def moment(text):
    """Nanoseconds since 1970."""
    when = None if text.isdigit() else datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return round(when.timestamp() * 10**6) * 1000 if when else int(text)


def main(arguments):
    store, notes, problems = Store(arguments.store, arguments.key_file), [], []
    check(arguments.check or not listing(arguments.out), f"{arguments.out} is not empty")
    nodes = [node for node in listing(store.path, "nodes") if arguments.node in (None, node)]
    check(nodes or not arguments.node, f"no node {arguments.node} wrote to this store")
    chunks = all_chunks(store, arguments.check, problems)
    for node in nodes:
        before, tree = len(problems), {}
        try:
            tree = tree_of(log_of(store, node), arguments.as_of)
            if arguments.check:
                check_tree(tree, chunks, problems)
            else:
                restore(os.fsencode(join(arguments.out, node)), tree, store, chunks, notes, problems)
        except (Bad, KeyError, ValueError) as error:
            problems.append(f"node {node}: {error}")
        print(f"{node}: {len(tree)} entries, {len(problems) - before} problems")
    for text in notes + problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(usage=__doc__)
    for option in "--key-file", "--node":
        parser.add_argument(option)
    parser.add_argument("--as-of", type=moment, default=float("inf"))
    parser.add_argument("--check", action="store_true")
    parser.add_argument("store")
    parser.add_argument("out", nargs="?")
    parsed = parser.parse_args()
    if parsed.check == bool(parsed.out):
        parser.error("either --check or OUT_DIR")
    try:
        sys.exit(main(parsed))
    except (Bad, OSError, KeyError, ValueError) as error:
        sys.exit(f"restore.py: {error}")
