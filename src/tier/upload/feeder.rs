//! Turns requests into jobs: many small files together, a large file chunk by
//! chunk.
//!
//! The feeder opens only large files (workers open small ones, in parallel) and
//! reads only where content decides the cut (FastCDC). It takes the bytes of a
//! job from the budget before it hands the job out, in order.

use super::files::{Done, FileError, LargeFile, Part, Request, Stamp, Ticket, check_pieces};
use super::{Shared, worker::Job};
use crate::chunk::{CdcCutter, Chunking, fixed_cuts};
use crate::monitor::Stop;
use crate::os::blocks;
use crate::tier::Error;
use crossbeam_channel::Sender;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A file up to this size is read by one job; several share a job.
const SMALL_FILE_BYTES: u64 = 1 << 20;
/// A job of small files is handed out when it holds this much...
const BATCH_BYTES: u64 = 2 << 20;
/// ...or this many.
const BATCH_FILES: usize = 64;
/// A small file costs at least this much of the budget (path, stat, buffers).
const FILE_OVERHEAD_BYTES: u64 = 2 << 10;

pub(super) fn feed<I>(
    shared: &Shared<'_>,
    requests: I,
    jobs: &Sender<(u64, u64, Job)>,
    done: &Sender<Done>,
    stop: &Stop,
) where
    I: Iterator<Item = Result<Request, Error>>,
{
    let mut feeder =
        Feeder { shared, jobs, done, seq: 0, ticket: 0, batch: vec![], batch_bytes: 0 };
    for request in requests {
        if stop.requested() || shared.abandon.load(Ordering::Relaxed) {
            break;
        }
        match request {
            Err(error) => feeder.report(vec![Part::Broken(error)]),
            Ok(request) if is_small(&request) => feeder.add_small(request),
            Ok(request) => feeder.large(request, stop),
        }
    }
    feeder.flush();
}

fn is_small(request: &Request) -> bool {
    let one_chunk = match request.how.chunking {
        Chunking::Fixed { size_bytes } => u64::from(size_bytes),
        Chunking::FastCdc { min_bytes, .. } => u64::from(min_bytes),
    };
    request.size_bytes <= SMALL_FILE_BYTES.min(one_chunk)
}

struct Feeder<'a> {
    shared: &'a Shared<'a>,
    jobs: &'a Sender<(u64, u64, Job)>,
    done: &'a Sender<Done>,
    seq: u64,
    ticket: Ticket,
    batch: Vec<Request>,
    batch_bytes: u64,
}

impl Feeder<'_> {
    fn add_small(&mut self, request: Request) {
        self.batch_bytes += request.size_bytes + FILE_OVERHEAD_BYTES;
        self.batch.push(request);
        if self.batch_bytes >= BATCH_BYTES || self.batch.len() >= BATCH_FILES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        let bytes = std::mem::take(&mut self.batch_bytes);
        if !batch.is_empty() {
            self.hand_out(bytes, Job::Small(batch));
        }
    }

    fn large(&mut self, request: Request, stop: &Stop) {
        // Small files that were asked for earlier keep their place in the packs.
        self.flush();
        let path = request.path.clone();
        match self.open_large(request) {
            Err(error) => self.report(vec![Part::Failed(path, error)]),
            Ok((large, extents)) => self.cut(&Arc::new(large), &extents, stop),
        }
    }

    fn open_large(&self, request: Request) -> Result<(LargeFile, Vec<Range<u64>>), FileError> {
        let file = self.shared.root.open_read(&request.path).map_err(FileError::open)?;
        let stamp = Stamp::take(&file, &request)?;
        let extents = extents_of(&file, &stamp)?;
        check_pieces(least_pieces(&extents, request.how.chunking), stamp.stat.nlink)?;
        Ok((LargeFile::new(request, stamp, file), extents))
    }

    fn cut(&mut self, large: &Arc<LargeFile>, extents: &[Range<u64>], stop: &Stop) {
        self.ticket += 1;
        let ticket = self.ticket;
        self.report(vec![Part::Begin(ticket, Arc::clone(large))]);
        let mut at = 0;
        for extent in extents {
            self.hole(ticket, extent.start - at);
            self.extent(ticket, large, extent.clone(), stop);
            at = extent.end;
        }
        self.hole(ticket, large.stamp.stat.size_bytes - at);
        self.report(vec![Part::End(ticket)]);
    }

    fn hole(&mut self, ticket: Ticket, len: u64) {
        if len > 0 {
            self.report(vec![Part::Hole(ticket, len)]);
        }
    }

    fn extent(&mut self, ticket: Ticket, large: &Arc<LargeFile>, extent: Range<u64>, stop: &Stop) {
        match large.request.how.chunking {
            Chunking::Fixed { size_bytes } => {
                for range in fixed_cuts(extent, size_bytes) {
                    if self.give_up(ticket, large, stop) {
                        return;
                    }
                    let bytes = range.end - range.start;
                    self.hand_out(bytes, Job::Read(ticket, Arc::clone(large), range));
                }
            }
            Chunking::FastCdc { .. } => self.extent_by_content(ticket, large, extent, stop),
        }
    }

    fn extent_by_content(
        &mut self,
        ticket: Ticket,
        large: &Arc<LargeFile>,
        extent: Range<u64>,
        stop: &Stop,
    ) {
        let reader = RangeReader { file: &large.file, range: extent };
        for chunk in CdcCutter::new(reader, large.request.how.chunking) {
            if self.give_up(ticket, large, stop) {
                return;
            }
            match chunk {
                Ok(data) => {
                    let bytes = data.len() as u64;
                    self.hand_out(bytes, Job::Encode(ticket, Arc::clone(large), data));
                }
                Err(error) => {
                    large.fail();
                    self.report(vec![Part::ChunkFailed(ticket, FileError::Read(error))]);
                }
            }
        }
    }

    /// A stop in the middle of a large file ends it here: it is tried again,
    /// and the chunks already sent are found by their ids.
    fn give_up(&mut self, ticket: Ticket, large: &LargeFile, stop: &Stop) -> bool {
        if stop.requested() && !large.has_failed() {
            large.fail();
            let why = FileError::Changed("the run was stopped");
            self.report(vec![Part::ChunkFailed(ticket, why)]);
        }
        large.has_failed() || self.shared.abandon.load(Ordering::Relaxed)
    }

    fn hand_out(&mut self, bytes: u64, job: Job) {
        let taken = self.shared.budget.take(bytes);
        let seq = self.next_seq();
        // Without a worker (none could open the state DB) the job's bytes come
        // straight back; the assembler knows why.
        if self.jobs.send((seq, taken, job)).is_err() {
            self.shared.budget.give_back(taken);
        }
    }

    fn report(&mut self, parts: Vec<Part>) {
        let seq = self.next_seq();
        let _ = self.done.send(Done { seq, budget_bytes: 0, parts });
    }

    fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}

/// Reads one range of a file without moving its offset.
struct RangeReader<'f> {
    file: &'f File,
    range: Range<u64>,
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        if want == 0 {
            return Ok(0);
        }
        let read = self.file.read_at(&mut buffer[..want], self.range.start)?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        self.range.start += read as u64;
        Ok(read)
    }
}

/// At least so many pieces a file will be cut into.
fn least_pieces(extents: &[Range<u64>], chunking: Chunking) -> u64 {
    let most_bytes = match chunking {
        Chunking::Fixed { size_bytes } => u64::from(size_bytes),
        Chunking::FastCdc { max_bytes, .. } => u64::from(max_bytes),
    };
    let chunks = extents.iter().map(|extent| (extent.end - extent.start).div_ceil(most_bytes));
    chunks.sum::<u64>() + (extents.len() as u64).saturating_sub(1)
}

/// The ranges of a file that hold data. The number of its blocks does not tell:
/// those that are preallocated beyond its end (xfs, after an append) and those
/// of its attributes count too, and hide a hole.
pub(super) fn extents_of(file: &File, stamp: &Stamp) -> Result<Vec<Range<u64>>, FileError> {
    let size = stamp.stat.size_bytes;
    if size == 0 {
        return Ok(vec![]);
    }
    blocks::data_extents(file, size).map_err(FileError::Read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_before_a_byte_is_read() {
        let chunking = Chunking::Fixed { size_bytes: 4 << 20 };
        assert_eq!(least_pieces(&[], chunking), 0);
        assert_eq!(least_pieces(std::slice::from_ref(&(0..(20 << 40))), chunking), 5 << 20);
        assert_eq!(least_pieces(&[0..1, 10..11], chunking), 3);
    }
}
