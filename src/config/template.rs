//! The commented config that `hsm init` writes.
//!
//! Every key is in it, those without a value as a comment, so that nobody needs
//! the manual to find a name.

/// What `hsm init` knows. Paths are UTF-8, as TOML is.
#[derive(Debug, Clone, Default)]
pub struct TemplateValues<'v> {
    pub roots: &'v [String],
    pub state_dir: &'v str,
    pub policy_dir: &'v str,
    pub store_url: &'v str,
    pub endpoint: Option<&'v str>,
    pub region: Option<&'v str>,
    pub path_style: bool,
    pub storage_class: Option<&'v str>,
    /// Encrypts the store; without it chunks are stored as they are.
    pub key_file: Option<&'v str>,
}

/// `text` as a TOML string.
pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `key = "value"`, or the example as a comment.
fn line(key: &str, value: Option<&str>, example: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quote(value)),
        None => format!("# {key} = {}", quote(example)),
    }
}

/// `hsm gc`.
const GC: &str = r#"# What `hsm gc` keeps and when it stops. How many versions of which file are kept
# longer, [[retention]] in the policies says: docs/POLICY.md.
# [gc]
# What was replaced or deleted stays in the store for so long, whatever a policy
# says; and at least as long as backups of the roots are kept, since a stub that
# comes back from a backup must find its content.
# grace = "30d"
# backup_retention = "0d"
# Between planning what goes and deleting it.
# settle = "24h"
# Objects that no log names are left alone while they are younger, at least "1h".
# min_age = "24h"
# A run that would delete more of the store than this asks first.
# max_share = "30%"
# Packs with a smaller share in use are rewritten, and of the others the emptiest
# until a tenth of all is dead at most; "0%" rewrites none. Those in
# storage classes with a minimum duration are rewritten only on request: their old
# bytes are paid for to its end.
# repack_below = "40%"
# repack_cold = false
# Where a store cannot refuse to replace an object (hsm doctor tells), two collectors
# could not be told apart: say that this is the only server which runs hsm gc.
# only_here = false

"#;

/// Archive classes. docs/COLD.md explains them.
const COLD: &str = r#"# What an archive is asked for when a file whose copy is in GLACIER or DEEP_ARCHIVE
# is wanted: how soon (Expedited, Standard, Bulk), and for how many days the copy that
# can be read is kept. errno is what a program is told that opens such a file under a
# guard: EAGAIN, EBUSY, EIO, EPERM.
# [cold]
# tier = "Standard"
# days = 3
# errno = "EAGAIN"

# What storage costs here, for the estimates of hsm plan; by class, in dollars. The
# list prices of Amazon S3 hold where nothing is said.
# [prices.GLACIER]
# put_per_1000 = 0.03
# gib_month = 0.0036
# retrieval_gib = 0.01

"#;

/// `hsm recall-guard`. docs/GUARD.md says what each preset does to its program.
const GUARD: &str = r#"# What `hsm recall-guard` goes by. docs/GUARD.md explains it.
# [guard]
# The directory of its socket; never inside a root.
# run_dir = "/run/hsm"
# How long a program waits for the first byte of its file, and for the next.
# first_byte = "30s"
# idle = "60s"
# Recalls at the same time.
# workers = 4
# Where Prometheus finds the guard's metrics: a Unix socket or a port of the
# loopback. Nowhere unless it is said.
# metrics = "unix:/run/hsm/metrics.sock"

# Who may have files recalled: the first rule that matches decides, who matches
# none may. Each rule has one or more of exe (globs over the program's path),
# cgroup (globs over the control group's path, or a unit's name) and user (names,
# numbers, or "*"); all that are given must match.
# Errors that a denied program can be told: EPERM, EIO, EAGAIN, EBUSY.
# [[guard.rule]]
# name = "moves by hand"
# exe = "/usr/bin/rsync"
# user = "root"
# action = "recall"

# A preset stands for a program that is known: restic, borg, rsync, updatedb,
# tracker, clamd. hsm doctor shows what each stands for.
# [[guard.rule]]
# name = "indexers and scanners"
# preset = ["updatedb", "tracker", "clamd"]
# action = "deny"

# [[guard.rule]]
# name = "backups"
# preset = ["restic", "borg", "rsync"]
# action = "deny"

# [[guard.rule]]
# name = "thumbnails"
# exe = ["tumblerd", "*-thumbnailer"]
# action = "deny"
# errno = "EPERM"

# How much a user, a program or a process may have recalled within any hour.
# [guard.budget]
# per = "user"
# bytes_per_hour = "200GiB"
# files_per_hour = 20000
# errno = "EAGAIN"
# except_users = ["root"]
# except_programs = ["/usr/bin/rsync"]
"#;

/// docs/SAMBA.md says what clients make of it.
const SAMBA: &str = r#"
# Shares of Samba. Stubs are shown to Windows clients as offline, so that they do
# not read them for thumbnails: "auto" where Samba has stored DOS attributes of the
# file, "always" for every stub, at the cost of a block on ext4, or "never".
# [samba]
# offline = "auto"
"#;

pub(super) fn template(values: &TemplateValues<'_>) -> String {
    let roots: String = values.roots.iter().map(|root| format!("  {},\n", quote(root))).collect();
    let path_style = if values.path_style { "path_style = true" } else { "# path_style = true" };
    let encryption = match values.key_file {
        Some(_) => "[encryption]",
        None => "# [encryption]",
    };
    format!(
        "\
# Configuration of hsm. `hsm doctor` checks it against the system.
# What is to be done with which files is in policy_dir, not here.

# Managed trees. `hsm init PATH` adds one.
roots = [
{roots}]

# The state DB of this server; never inside a root. It can be made again with
# `hsm rebuild`.
state_dir = {state_dir}

# Policies, *.toml, read in the order of their names. See docs/POLICY.md.
policy_dir = {policy_dir}

[store]
# file:///directory, s3://bucket/prefix or swift://container/prefix; docs/STORES.md
# has the others. Credentials never stand here: they come from AWS_ACCESS_KEY_ID and
# AWS_SECRET_ACCESS_KEY, ~/.aws or the instance; for Swift from ST_USER and ST_KEY or OS_*.
url = {url}

# For S3 stores other than AWS; for Swift where to log in, instead of ST_AUTH or
# OS_AUTH_URL.
{endpoint}
{region}
{path_style}

# For objects of rules that name no class of their own.
{storage_class}

# Server-side encryption: AES256, aws:kms or aws:kms:<key id>.
# sse = \"AES256\"

# A checksum with every request (always), or only where S3 demands one
# (when-required), for servers that refuse it.
# checksums = \"always\"

# Bytes per second for all transfers together, and requests in flight.
# bandwidth = \"50MiB/s\"
# concurrency = 8

# What another node of this store has put already is used, not put again.
# dedup_across_nodes = true

# A profile of ~/.aws in place of the default one.
# profile = \"hsm\"

# A second store for the files of rules that say `copies = 2`: with the keys of the
# first and its encryption. `hsm init --second-store URL` makes it. Credentials of
# its own: HSM_SECOND_AWS_ACCESS_KEY_ID and HSM_SECOND_AWS_SECRET_ACCESS_KEY, or
# a profile of ~/.aws. docs/SECOND-STORE.md
# [second_store]
# url = \"s3://bucket/prefix\"
# profile = \"second\"

# Encryption before upload. The key file is made by `hsm init --encrypt`; without
# a second copy of it at another place, losing it is losing every file.
{encryption}
{key_file}

# [chunking]
# size = \"4MiB\"

# [upload]
# threads = 4
# memory = \"256MiB\"

{gc}{cold}{guard}{samba}",
        gc = GC,
        cold = COLD,
        guard = GUARD,
        samba = SAMBA,
        state_dir = quote(values.state_dir),
        policy_dir = quote(values.policy_dir),
        url = quote(values.store_url),
        endpoint = line("endpoint", values.endpoint, "https://minio.example.org:9000"),
        region = line("region", values.region, "eu-central-1"),
        storage_class = line("storage_class", values.storage_class, "STANDARD_IA"),
        key_file = line("key_file", values.key_file, "/etc/hsm/store.key"),
    )
}
