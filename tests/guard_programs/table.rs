//! The programs, each as a shell script that makes a file, and one that uses it
//! when it is a stub and checks what came of it.
//!
//! The scripts see `$F`, the stub, named `file`; `$WANT`, a plain copy of it
//! elsewhere; `$DIR`, an empty directory on the same file system; and `$AWAY`,
//! one on another.

use crate::loopfs::FsKind;

pub struct Program {
    pub name: &'static str,
    /// What must be installed beside a shell and the core utilities.
    pub needs: &'static [&'static str],
    pub kinds: &'static [FsKind],
    /// Makes `$F`; empty for 2 MB of noise.
    pub make: &'static str,
    pub script: &'static str,
}

const ALL: &[FsKind] = &[FsKind::Ext4, FsKind::Xfs, FsKind::Btrfs];
const CLONING: &[FsKind] = &[FsKind::Xfs, FsKind::Btrfs];

const fn noise(name: &'static str, script: &'static str) -> Program {
    Program { name, needs: &[], kinds: ALL, make: "", script }
}

const fn numbers(name: &'static str, script: &'static str) -> Program {
    Program { name, needs: &[], kinds: ALL, make: "seq 1 60000 >$F", script }
}

impl Program {
    const fn needing(self, needs: &'static [&'static str]) -> Self {
        Self { needs, ..self }
    }

    const fn made_by(self, make: &'static str) -> Self {
        Self { make, ..self }
    }

    const fn on(self, kinds: &'static [FsKind]) -> Self {
        Self { kinds, ..self }
    }
}

/// Archives `$F` and unpacks it into a directory.
macro_rules! tar {
    ($options:literal, $into:literal) => {
        concat!(
            "tar -C $(dirname $F) ",
            $options,
            " -cf $AWAY/a.tar file || test $? = 1
             mkdir ",
            $into,
            "/out
             tar -C ",
            $into,
            "/out ",
            $options,
            " -xf $AWAY/a.tar
             cmp ",
            $into,
            "/out/file $WANT"
        )
    };
}

pub const PROGRAMS: &[Program] = &[
    noise("cat", "cat $F | cmp - $WANT"),
    noise("cmp", "cmp $F $WANT"),
    noise("sha256sum", "test \"$(sha256sum <$F)\" = \"$(sha256sum <$WANT)\""),
    noise("tail", "tail -c 5000 $F >$AWAY/a; tail -c 5000 $WANT | cmp - $AWAY/a"),
    noise("dd", "dd if=$F iflag=direct bs=1M of=$AWAY/copy status=none; cmp $AWAY/copy $WANT"),
    noise(
        "dd into it",
        "cp $WANT $AWAY/want
         for to in $F $AWAY/want; do
             printf changed | dd of=$to conv=notrunc bs=1 seek=1000001 status=none
         done
         cmp $F $AWAY/want",
    ),
    numbers("grep", "test \"$(grep -c '^59999$' $F)\" = 1"),
    numbers("sort", "sort -n -r $F | sort -n | cmp - $WANT"),
    numbers("sed -i", "sed -i 's/^777$/changed/' $F; sed 's/^777$/changed/' $WANT | cmp - $F"),
    numbers("append", "echo more >>$F; (cat $WANT; echo more) | cmp - $F"),
    noise("gzip", "gzip -c $F | gzip -dc | cmp - $WANT").needing(&["gzip"]),
    noise("gzip in place", "gzip $F; gzip -dc $F.gz | cmp - $WANT").needing(&["gzip"]),
    noise("zip", "zip -q $AWAY/a.zip -j $F; unzip -p $AWAY/a.zip file | cmp - $WANT")
        .needing(&["zip", "unzip"]),
    noise("cp", "cp $F $DIR/copy; cmp $DIR/copy $WANT"),
    noise("cp to another file system", "cp $F $AWAY/copy; cmp $AWAY/copy $WANT"),
    noise(
        "cp -a",
        "cp -a $F $DIR/copy
         if getfattr -n trusted.hsm $DIR/copy 2>/dev/null; then echo the copy is marked; exit 1; fi
         cmp $DIR/copy $WANT",
    )
    .needing(&["getfattr"]),
    noise(
        "cp --sparse=never",
        "cp --sparse=never --reflink=never $F $DIR/copy; cmp $DIR/copy $WANT",
    ),
    noise("cp --sparse=always", "cp --sparse=always $F $DIR/copy; cmp $DIR/copy $WANT"),
    noise("cp --reflink=always", "cp --reflink=always $F $DIR/copy; cmp $DIR/copy $WANT")
        .on(CLONING),
    noise("cp over it", "seq 1 5000 >$AWAY/new; cp $AWAY/new $F; cmp $AWAY/new $F"),
    noise("mv", "mv $F $DIR/moved; cmp $DIR/moved $WANT"),
    noise("mv to another file system", "mv $F $AWAY/moved; cmp $AWAY/moved $WANT; test ! -e $F"),
    noise("install", "install -m 600 $F $DIR/installed; cmp $DIR/installed $WANT"),
    noise("truncate", "truncate -s 1000001 $F; head -c 1000001 $WANT | cmp - $F"),
    noise("split", "split -b 300000 $F $DIR/part-; cat $DIR/part-* | cmp - $WANT"),
    noise("tar", tar!("", "$AWAY")),
    noise("tar --sparse", tar!("--sparse", "$AWAY")),
    noise("tar --xattrs", tar!("--xattrs --xattrs-include='*'", "$DIR")),
    noise("tar --xattrs to another file system", tar!("--xattrs --xattrs-include='*'", "$AWAY")),
    noise("rsync", "rsync -a $F $DIR/copy; cmp $DIR/copy $WANT").needing(&["rsync"]),
    noise("rsync --sparse", "rsync -aS $F $AWAY/copy; cmp $AWAY/copy $WANT").needing(&["rsync"]),
    noise(
        "rsync -X",
        "rsync -aX $F $DIR/copy || test $? = 23
         cmp $DIR/copy $WANT",
    )
    .needing(&["rsync"]),
    noise(
        "rsync --inplace onto it",
        "(head -c 1000000 $WANT; echo changed; tail -c 1000000 $WANT) >$AWAY/new
         rsync --inplace --no-whole-file --ignore-times $AWAY/new $F
         cmp $AWAY/new $F",
    )
    .needing(&["rsync"]),
    noise(
        "git",
        "cd $(dirname $F); git init -q .; git add file
         git -c user.name=x -c user.email=x@y -c gc.auto=0 commit -qm it
         git cat-file blob HEAD:file | cmp - $WANT
         git status --porcelain | cmp - /dev/null",
    )
    .needing(&["git"]),
    noise(
        "sqlite3",
        "sqlite3 $F \"insert into t values (0, 'new')\"
         test \"$(sqlite3 $F 'pragma integrity_check')\" = ok
         test \"$(sqlite3 $F 'select count(*), min(a), max(a) from t')\" = '30001|0|30000'
         sqlite3 $F '.dump' | grep -v \"(0,'new')\" >$AWAY/dump
         sqlite3 $WANT '.dump' | cmp - $AWAY/dump",
    )
    .needing(&["sqlite3"])
    .made_by(
        "sqlite3 $F \"create table t(a integer primary key, b);
         with recursive n(i) as (select 1 union all select i + 1 from n where i < 30000)
         insert into t select i, hex(randomblob(20)) from n\"",
    ),
    noise(
        "gcc with it as a header",
        "echo 'int main(void) { return NUMBER_3000 - 3000 + answer(); }' >$AWAY/main.c
         gcc -include $F $AWAY/main.c -o $AWAY/main
         status=0; $AWAY/main || status=$?; test $status = 42",
    )
    .needing(&["gcc"])
    .made_by(
        "for n in $(seq 1 3000); do echo \"#define NUMBER_$n $n\"; done >$F
         echo 'static int answer(void) { return 42; }' >>$F",
    ),
    noise(
        "gcc with it as an object",
        "echo 'int answer(void); int main(void) { return answer(); }' >$AWAY/main.c
         gcc $AWAY/main.c $F -o $AWAY/main
         status=0; $AWAY/main || status=$?; test $status = 42",
    )
    .needing(&["gcc"])
    .made_by(OBJECT),
    noise("ld", "ld -r $F -o $DIR/again; ld -r $WANT -o $AWAY/again; cmp $DIR/again $AWAY/again")
        .needing(&["gcc", "ld"])
        .made_by(OBJECT),
    noise(
        "python mmap",
        "python3 -c '
import mmap, sys
with open(sys.argv[1], \"rb\") as stub, open(sys.argv[2], \"rb\") as want:
    with mmap.mmap(stub.fileno(), 0, prot=mmap.PROT_READ) as seen:
        sys.exit(seen[:] != want.read())
' $F $WANT",
    )
    .needing(&["python3"]),
];

/// Some kilobytes of data beside the function.
const OBJECT: &str = "
    (for n in $(seq 1 2000); do echo \"int number_$n = $n;\"; done
     echo 'int answer(void) { return 42; }') >$AWAY/object.c
    gcc -c $AWAY/object.c -o $F";
