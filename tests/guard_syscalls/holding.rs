//! What keeps a file from becoming a stub: everything through which its bytes
//! could be seen later without the guard being asked. And the one thing that
//! does not, because it is asked about again.

use super::mapping::{Map, still_right};
use super::mounting::{LoopDevice, bind, overlay};
use super::scene::{Done, Scene, rest};
use rustix::fs::{Mode, OFlags};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

/// What is done with the thing held, once the test says so.
pub type Later = Box<dyn FnOnce(&Scene) -> Done>;
pub type Held = Result<Later, Box<dyn Error>>;

fn read_later(file: File) -> Held {
    Ok(Box::new(move |scene| {
        let mut found = vec![0; scene.len()];
        file.read_exact_at(&mut found, 0)?;
        scene.expect(&found)
    }))
}

pub fn read_descriptor(scene: &Scene) -> Held {
    read_later(scene.open()?)
}

pub fn read_write_descriptor(scene: &Scene) -> Held {
    read_later(scene.open_rw()?)
}

pub fn write_descriptor(scene: &Scene) -> Held {
    let file = File::options().write(true).open(&scene.path)?;
    Ok(Box::new(move |scene| {
        drop(file);
        scene.expect_at_path(&scene.path)
    }))
}

fn look_later(map: Map) -> Held {
    Ok(Box::new(move |scene| still_right(scene, &map)))
}

pub fn shared_mapping(scene: &Scene) -> Held {
    look_later(Map::shared(&scene.open()?, scene.len())?)
}

pub fn private_mapping(scene: &Scene) -> Held {
    look_later(Map::new(&scene.open()?, scene.len(), libc::PROT_READ, libc::MAP_PRIVATE)?)
}

pub fn descriptor_through_a_bind_mount(scene: &Scene) -> Held {
    read_later(File::open(bind(scene, libc::MS_RDONLY)?)?)
}

pub fn descriptor_through_an_overlay(scene: &Scene) -> Held {
    read_later(File::open(overlay(scene)?)?)
}

pub fn mapping_through_an_overlay(scene: &Scene) -> Held {
    look_later(Map::shared(&File::open(overlay(scene)?)?, scene.len())?)
}

pub fn loop_device(scene: &Scene) -> Held {
    let device = LoopDevice::over(&scene.open()?)?;
    Ok(Box::new(move |scene| device.expect(scene)))
}

/// The file is `cat`, and runs.
pub fn running_program(scene: &Scene) -> Held {
    let mut command = Command::new(&scene.path);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    Ok(Box::new(move |_| {
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"through it")?;
        drop(stdin);
        let said = rest(child.stdout.take().expect("a pipe"))?;
        match child.wait()?.success() && said == b"through it" {
            true => Ok(()),
            false => Err(format!("it said {said:?}").into()),
        }
    }))
}

/// Only names the file: opening it through `/proc` asks the guard.
pub fn path_descriptor(scene: &Scene) -> Held {
    let path = rustix::fs::open(&scene.path, OFlags::PATH, Mode::empty())?;
    Ok(Box::new(move |scene| {
        let file = File::open(format!("/proc/self/fd/{}", path.as_raw_fd()))?;
        scene.expect(&rest(file)?)
    }))
}
