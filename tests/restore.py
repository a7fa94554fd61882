#!/usr/bin/env python3
"""Restores every tree of an hsm store from a copy of the bucket alone.

    restore.py STORE_DIR OUT_DIR

Needs Python 3.8 and either a zstd module (`zstandard`, or Python 3.14's own) or
the `zstd` program; no hsm, no state DB. Each node's trees appear beneath
OUT_DIR/<node id>/<root path>. Every chunk's SHA-256 is checked. The formats are
described byte by byte in docs/FORMATS.md. Unencrypted stores only.
"""
import base64, hashlib, json, os, re, struct, subprocess, sys, zlib


class Bad(Exception):
    pass


def zstd_decompress(data):
    try:
        import zstandard
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except ImportError:
        pass
    try:
        from compression import zstd
        return zstd.decompress(data)
    except ImportError:
        pass
    run = subprocess.run(["zstd", "-dcq"], input=data, stdout=subprocess.PIPE)
    if run.returncode != 0:
        raise Bad("zstd refuses the data")
    return run.stdout


def check(condition, why):
    if not condition:
        raise Bad(why)


def name(value):
    return value["text"].encode() if "text" in value else base64.b64decode(value["bytes"])


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def listing(*path):
    directory = os.path.join(*path)
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def pack_index(path):
    """The chunks of a pack from its footer: id -> (path, offset, stored, plain, codec)."""
    with open(path, "rb") as pack:
        magic, version, cipher = struct.unpack("<8sBB", pack.read(64)[:10])
        check(magic == b"HSMPACK\n" and version == 1 and cipher == 0, "not a plain pack, version 1")
        length = pack.seek(0, os.SEEK_END)
        pack.seek(length - 40)
        trailer = pack.read(40)
        magic, version, start, count, index_crc, pack_len, crc = struct.unpack("<8sB3xQIIQI", trailer)
        check(magic == b"HSMPEND\n" and version == 1, "no pack trailer, version 1")
        check(zlib.crc32(trailer[:36]) == crc and pack_len == length, "damaged pack trailer")
        pack.seek(start)
        index = pack.read(count * 52)
        check(zlib.crc32(index) == index_crc, "damaged pack index")
    entries = struct.iter_unpack("<32sQIIB3x", index)
    return {chunk.hex(): (path, offset, stored, plain, codec) for chunk, offset, stored, plain, codec in entries}


def chunk_bytes(chunks, chunk):
    check(chunk in chunks, f"chunk {chunk} is in no pack")
    path, offset, stored, plain, codec = chunks[chunk]
    with open(path, "rb") as pack:
        pack.seek(offset)
        data = pack.read(stored)
    check(codec in (0, 1), f"chunk {chunk} has the unknown codec {codec}")
    data = zstd_decompress(data) if codec == 1 else data
    check(len(data) == plain and hashlib.sha256(data).hexdigest() == chunk, f"chunk {chunk} is damaged in {path}")
    return data


def catalog_lines(data, magic):
    check(data[:8] == magic, "not a catalog object of version 1")
    check(data[8] == 0, "encrypted, or written by a newer hsm")
    lines = [json.loads(line) for line in zstd_decompress(data[9:]).split(b"\n") if line]
    check(lines and lines[0]["v"] == 1, "unknown catalog version")
    return lines[0], lines[1:]


def newest_checkpoint(node_dir):
    """(last segment, its hash, records) of the newest complete checkpoint."""
    parts = {}
    for file in listing(node_dir, "checkpoint"):
        parts.setdefault(file.split("-")[0], []).append(file)
    for upto in sorted(parts, reverse=True):
        objects = [catalog_lines(read(node_dir, "checkpoint", file), b"HSMCKP1\n") for file in parts[upto]]
        head = objects[0][0]
        if [h["part"] for h, _ in objects] == list(range(head["parts"])):
            return head["upto"], head["upto_hash"], [record for _, records in objects for record in records]
    return None, None, []


def tree_of(node, node_dir, store_id):
    """(root, path) -> record; later records win."""
    last, prev, records = newest_checkpoint(node_dir)
    for file in listing(node_dir, "log"):
        seq = int(file, 16)
        if last is not None and prev is not None and seq <= last:
            continue
        data = read(node_dir, "log", file)
        head, more = catalog_lines(data, b"HSMSEG1\n")
        check(head["store"] == store_id and head["node"] == node and head["seq"] == seq, f"segment {file} is foreign")
        check(last is None or seq == last + 1, f"segment {last} is followed by {seq}")
        check(head["prev"] == prev, f"segment {file} does not follow the one before it")
        last, prev = seq, hashlib.sha256(data).hexdigest()
        records += more
    tree = {}
    for record in records:
        check(record["t"] in ("open", "close", "pack", "file", "gone"), f"unknown record {record['t']}")
        if record["t"] in ("file", "gone"):
            place = (name(record["root"]), name(record["path"]))
            parts = [part for part in b"/".join(place).split(b"/") if part]
            check(b".." not in parts and b"." not in parts, f"{place} leaves its root")
            tree.pop(place, None)
            if record["t"] == "file":
                tree[place] = record
    return tree


def write_file(path, record, chunks):
    with open(path, "xb") as file:
        try:
            for chunk, length in record.get("pieces", []):
                if chunk is None:
                    file.seek(length, os.SEEK_CUR)
                else:
                    data = chunk_bytes(chunks, chunk)
                    check(len(data) == length, f"chunk {chunk} has another length than its piece")
                    file.write(data)
            file.truncate(record["size"])
        except Exception:
            os.unlink(path)  # half a file is no file
            raise


def describe(path, record, notes):
    """Owner, mode, attributes, times: in this order, each undoes a part of the one before."""
    def attempt(what, *arguments, **options):
        try:
            what(*arguments, **options)
        except OSError as error:
            notes.append(f"{os.fsdecode(path)}: {what.__name__}: {error}")
    if os.geteuid() == 0:
        attempt(os.chown, path, record["uid"], record["gid"], follow_symlinks=False)
    if record["type"] != "l":
        attempt(os.chmod, path, record["mode"])
    for key, value in record.get("xattrs", []):
        key = key.encode() if isinstance(key, str) else base64.b64decode(key["bytes"])
        attempt(os.setxattr, path, key, base64.b64decode(value), follow_symlinks=False)
    attempt(os.utime, path, ns=(record["mtime_ns"], record["mtime_ns"]), follow_symlinks=False)


def make(path, record, chunks, links):
    kind = record["type"]
    os.makedirs(path if kind == "d" else os.path.dirname(path), mode=0o700, exist_ok=True)
    group = (record["root"]["text"] if "text" in record["root"] else record["root"]["bytes"],
             record.get("link"), record["gen"], record.get("content"))
    if kind == "f" and record.get("link") is not None and group in links:
        os.link(links[group], path)
    elif kind == "f":
        write_file(path, record, chunks)
        links[group] = path
    elif kind == "l":
        os.symlink(name(record["target"]), path)
    elif kind == "p":
        os.mkfifo(path)
    elif kind in "cb":
        os.mknod(path, {"c": 0o020000, "b": 0o060000}[kind], record["rdev"])
    elif kind == "s":
        raise Bad("a socket comes back when its program makes it")


def main(store, out):
    check(not listing(out), f"{out} is not empty")
    descriptor = json.loads(read(store, "hsm-store.json"))
    check(descriptor["magic"] == "hsm-store" and descriptor["format"] == 1, "not an hsm store of format 1")
    check(descriptor["cipher"] == "none", "this store is encrypted; restore it with hsm and its key file")
    chunks, problems, notes = {}, [], []
    for fan in listing(store, "packs"):
        for pack in filter(re.compile("[0-9a-f-]{36}$").match, listing(store, "packs", fan)):
            try:
                chunks.update(pack_index(os.path.join(store, "packs", fan, pack)))
            except (Bad, OSError, struct.error) as error:
                problems.append(f"pack {pack}: {error}")
    for node in listing(store, "nodes"):
        tree = tree_of(node, os.path.join(store, "nodes", node), descriptor["store_id"])
        base, links, made = os.fsencode(os.path.join(out, node)), {}, []
        # Directories first and symlinks last: nothing is written through a link.
        for (root, path), record in sorted(tree.items(), key=lambda item: ("dfpscbl".index(item[1]["type"]), item[0])):
            target = os.path.join(base, *[part for part in (root + b"/" + path).split(b"/") if part])
            try:
                make(target, record, chunks, links)
                made.append((target, record))
            except (Bad, OSError) as error:
                problems.append(f"{os.fsdecode(target)}: {error}")
        for target, record in reversed(made):
            if os.path.lexists(target):
                describe(target, record, notes)
        print(f"{node}: {len(made)} of {len(tree)} restored")
    for text in notes + problems:
        print(text, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv[1], sys.argv[2]))
    except (Bad, OSError, KeyError, ValueError) as error:
        sys.exit(f"restore.py: {error}")
