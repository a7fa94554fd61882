//! The bytes of files in order, for whoever writes them to a stream.
//!
//! Chunks are fetched a window at a time, in as few requests as a recall of the same
//! files, and every one is verified before it is handed on. While one window is being
//! written the next is fetched: three windows are in memory at most, whatever the
//! files' sizes.

use super::fetch::{self, Filling, Sink, SinkError};
use super::{Catalog, Site};
use crate::manifest::{Content, Piece};
use crate::state;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Data in one window.
pub const WINDOW_BYTES: u64 = 16 << 20;

/// Data that was fetched, or why it was not; with what the caller calls it.
pub type Fetched<T> = (T, Result<Vec<u8>, fetch::FileError>);

/// A window that has been put together: lists without holes.
pub type Window<T> = Vec<(T, Content)>;

/// Puts the next window together; `None` behind the last.
pub type Next<'n, T, E> =
    dyn FnMut(&mut Site<'_>, &mut Catalog) -> Result<Option<Window<T>>, E> + 'n;

/// Fetches the windows that `next` yields, one after the other, and hands what they
/// hold to `consume`, which runs beside and may end before the last. After an error of
/// `next`, or a stop, the items end as if there were no more: what must be known to be
/// complete needs a last item that says so.
pub fn flow<T, R, E>(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    next: &mut Next<'_, T, E>,
    consume: impl FnOnce(&mut dyn Iterator<Item = Fetched<T>>) -> Result<R, E> + Send,
) -> Result<R, E>
where
    T: Send,
    R: Send,
    E: From<state::Error> + Send,
{
    let (to, from) = crossbeam_channel::bounded::<Vec<Fetched<T>>>(1);
    thread::scope(|scope| {
        let consumer = scope.spawn(move || consume(&mut from.into_iter().flatten()));
        let mut produce = || -> Result<(), E> {
            while let Some(window) = next(site, catalog)? {
                let fetched = window_of(site, catalog, window)?;
                if to.send(fetched).is_err() || site.stop.requested() {
                    break;
                }
            }
            Ok(())
        };
        let produced = produce();
        drop(to);
        let consumed = consumer.join().expect("what consumes does not panic");
        produced.and(consumed)
    })
}

fn window_of<T>(
    site: &mut Site<'_>,
    catalog: &mut Catalog,
    window: Window<T>,
) -> Result<Vec<Fetched<T>>, state::Error> {
    let (tags, contents): (Vec<T>, Vec<Content>) = window.into_iter().unzip();
    let buffers: Vec<Buffer> = contents.iter().map(Buffer::new).collect();
    let filling: Vec<Filling<'_>> =
        contents.iter().zip(&buffers).map(|(content, sink)| Filling { content, sink }).collect();
    let outcomes = fetch::fill_all(site, catalog, &filling)?;
    let bytes = buffers.into_iter().map(Buffer::into_bytes);
    let fetched = outcomes.into_iter().zip(bytes).map(|(outcome, bytes)| outcome.map(|()| bytes));
    Ok(tags.into_iter().zip(fetched).collect())
}

/// A content as parts of at most a window's data each, with the pieces of the file
/// that each is made of; holes are in the pieces only. A file without data is one
/// part.
pub fn parts(content: &Content) -> Vec<(Vec<Piece>, Content)> {
    let mut parts = vec![];
    let (mut pieces, mut bytes) = (vec![], 0);
    for piece in &content.pieces {
        let data = if piece.chunk.is_some() { piece.len } else { 0 };
        if bytes > 0 && bytes + data > WINDOW_BYTES {
            parts.push(part(std::mem::take(&mut pieces)));
            bytes = 0;
        }
        pieces.push(*piece);
        bytes += data;
    }
    if !pieces.is_empty() || parts.is_empty() {
        parts.push(part(pieces));
    }
    parts
}

fn part(pieces: Vec<Piece>) -> (Vec<Piece>, Content) {
    let data: Vec<Piece> = pieces.iter().filter(|piece| piece.chunk.is_some()).copied().collect();
    let size_bytes = data.iter().map(|piece| piece.len).sum();
    (pieces, Content { size_bytes, pieces: data })
}

/// Memory as a sink.
struct Buffer(Mutex<Vec<u8>>);

impl Buffer {
    fn new(content: &Content) -> Self {
        let len = usize::try_from(content.size_bytes).expect("a window fits in memory");
        Self(Mutex::new(vec![0; len]))
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Buffer {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let start = usize::try_from(offset)?;
        let there = all.get_mut(start..).and_then(|rest| rest.get_mut(..bytes.len()));
        there.ok_or("a chunk is longer than its piece")?.copy_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChunkId;

    fn data(len: u64) -> Piece {
        Piece { len, chunk: Some(ChunkId([7; 32])) }
    }

    fn hole(len: u64) -> Piece {
        Piece { len, chunk: None }
    }

    fn cut(pieces: &[Piece]) -> Vec<(usize, u64)> {
        let content = Content::new(pieces.iter().copied()).expect("a content");
        let parts = parts(&content);
        let all: Vec<Piece> = parts.iter().flat_map(|(pieces, _)| pieces.clone()).collect();
        assert_eq!(all, content.pieces);
        parts.iter().map(|(pieces, content)| (pieces.len(), content.size_bytes)).collect()
    }

    #[test]
    fn a_part_holds_a_windows_data_and_any_holes() {
        const HALF: u64 = WINDOW_BYTES / 2;
        assert_eq!(cut(&[]), [(0, 0)]);
        assert_eq!(cut(&[hole(1 << 50)]), [(1, 0)]);
        assert_eq!(cut(&[hole(5), data(HALF), hole(1 << 40), data(HALF)]), [(4, WINDOW_BYTES)]);
        assert_eq!(cut(&[data(HALF), data(HALF), data(1)]), [(2, WINDOW_BYTES), (1, 1)]);
        assert_eq!(cut(&[data(HALF + 1), hole(3), data(HALF)]), [(2, HALF + 1), (1, HALF)]);
        assert_eq!(cut(&[data(WINDOW_BYTES + 9), data(1)]), [(1, WINDOW_BYTES + 9), (1, 1)]);
    }

    #[test]
    fn a_buffer_takes_pieces_in_any_order_and_none_too_long() {
        let (_, content) = part(vec![data(3), data(2)]);
        let buffer = Buffer::new(&content);
        buffer.write_at(3, b"de").expect("it fits");
        buffer.write_at(0, b"abc").expect("it fits");
        assert!(buffer.write_at(4, b"xy").is_err());
        assert!(buffer.write_at(9, b"").is_err());
        assert_eq!(buffer.into_bytes(), b"abcde");
    }
}
