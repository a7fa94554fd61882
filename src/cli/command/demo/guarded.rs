//! A file system of the demo's own, and a guard that watches it.
//!
//! An image in the demo's directory, formatted as ext4 and mounted over a loop
//! device. Whatever ends the demo, the guard is stopped and the file system
//! unmounted: first those who wait are let go, then the mount goes.

use crate::cli::error::Error;
use crate::guard::client::Client;
use crate::os::process;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Room for the sample tree, or for twice what is copied.
const LEAST_BYTES: u64 = 512 << 20;
/// A guard is ready within a fraction of this.
const PATIENCE: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// The mounted image and, once started, its guard.
pub struct Stage {
    mount_point: PathBuf,
    guard: Option<Child>,
    config: Option<PathBuf>,
}

impl Stage {
    /// Or a phrase that says why there is none.
    pub fn build(base: &Path, from: Option<&Path>) -> Result<Self, String> {
        if !process::can_use_trusted_xattrs() {
            return Err("only root can hold other programs back".to_owned());
        }
        let image = base.join("image");
        let bytes = from.map_or(0, |from| super::allocated(from).unwrap_or(0) * 2);
        File::create(&image)
            .and_then(|file| file.set_len(bytes.saturating_add(LEAST_BYTES)))
            .map_err(|error| format!("no image can be made ({error})"))?;
        run(foreign("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let mount_point = base.join("volume");
        std::fs::create_dir(&mount_point).map_err(|error| error.to_string())?;
        run(foreign("mount").args(["-o", "loop"]).arg(&image).arg(&mount_point))?;
        Ok(Self { mount_point, guard: None, config: None })
    }

    pub fn tree(&self) -> PathBuf {
        self.mount_point.join("tree")
    }

    /// Starts the guard and waits until it is ready.
    pub fn start_guard(&mut self, config: &Path) -> Result<(), Error> {
        let program = std::env::current_exe().map_err(Error::io("find", Path::new("hsm")))?;
        let guard = Command::new(&program)
            .args(["--quiet", "recall-guard"])
            .env("HSM_CONFIG", config)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("run", &program))?;
        self.config = Some(config.to_owned());
        let guard = self.guard.insert(guard);
        let run_dir = config.with_file_name("state").join("run");
        for _ in 0..PATIENCE {
            if Client::is_ready(&run_dir) {
                return Ok(());
            }
            if guard.try_wait().map_err(Error::io("watch", &program))?.is_some() {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        Err(Error::refused("the guard did not start", "hsm doctor"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let (Some(mut guard), Some(config)) = (self.guard.take(), &self.config) {
            let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("hsm"));
            let stopped = Command::new(program)
                .args(["--quiet", "recall-guard", "--stop", "--force"])
                .env("HSM_CONFIG", config)
                .stdin(Stdio::null())
                .status();
            if !stopped.is_ok_and(|status| status.success()) {
                let _ = guard.kill();
            }
            let _ = guard.wait();
        }
        if let Err(why) = run(foreign("umount").arg(&self.mount_point)) {
            tracing::warn!("{why}");
        }
    }
}

/// Another's program. It has no use for our environment, in which there may be secrets.
pub fn foreign(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_string_lossy().into_owned();
    match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{program} ended with {status}")),
        Err(error) => Err(format!("{program} cannot be run ({error})")),
    }
}
