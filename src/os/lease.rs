//! Write leases (stand-in).

use std::fs::File;
use std::io;

pub struct WriteLease<'f>(#[allow(dead_code)] &'f File);

impl<'f> WriteLease<'f> {
    pub fn acquire(_file: &'f File) -> io::Result<Option<Self>> {
        todo!("another room")
    }
}

pub fn ignore_break_signal() {
    todo!("another room")
}
