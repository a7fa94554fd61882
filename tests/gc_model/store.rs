//! What the store holds, and what can be read from it.

use hsm::gc::protocol::Standing;
use hsm::site::plans::Plans;

/// A set of packs, or of chunks.
pub type Set = u16;
pub const PACKS: usize = 12;
pub const WRITERS: usize = 2;
pub const GENERATIONS: usize = 12;

pub fn one(member: usize) -> Set {
    1 << member
}

pub fn members(set: Set) -> impl Iterator<Item = usize> {
    (0..Set::BITS as usize).filter(move |member| set & one(*member) != 0)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Record {
    Open,
    Close,
    Fence,
    File {
        name: u8,
        chunk: u8,
    },
    /// The path is gone and its version expired.
    Drop {
        name: u8,
    },
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Segment {
    pub ack: u8,
    pub packs: Set,
    pub record: Record,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Store {
    pub objects: Set,
    /// Of every pack ever made: a name is never used again.
    pub chunks: Vec<Set>,
    pub logs: [Vec<Segment>; WRITERS],
    /// By generation less one.
    pub plans: Vec<Set>,
    pub ends: Vec<Option<Set>>,
}

impl Store {
    pub fn list_plans(&self) -> Plans {
        let mut plans = Plans::default();
        for (index, end) in self.ends.iter().enumerate() {
            plans.add(index as u64 + 1, false);
            if end.is_some() {
                plans.add(index as u64 + 1, true);
            }
        }
        plans
    }

    pub fn ended(&self) -> Set {
        self.ends.iter().flatten().fold(0, |all, deleted| all | deleted)
    }

    /// Packs that some log names and no end has deleted.
    pub fn named(&self) -> Set {
        let segments = self.logs.iter().flatten();
        segments.fold(0, |all, segment| all | segment.packs) & !self.ended()
    }

    /// Chunks of files that a log has and has not dropped.
    pub fn live(&self) -> Set {
        let mut live = 0;
        for log in &self.logs {
            let mut files = [None; 8];
            for segment in log {
                match segment.record {
                    Record::File { name, chunk } => files[usize::from(name)] = Some(chunk),
                    Record::Drop { name } => files[usize::from(name)] = None,
                    _ => {}
                }
            }
            live |= files.iter().flatten().fold(0, |all, chunk| all | one(usize::from(*chunk)));
        }
        live
    }

    pub fn holders(&self, chunk: usize, among: Set) -> Vec<usize> {
        // The newest first.
        let holds = |pack: &usize| self.chunks[*pack] & one(chunk) != 0;
        let mut found: Vec<usize> = members(among).filter(holds).collect();
        found.reverse();
        found
    }

    pub fn standing(&self, writer: usize) -> Standing {
        let log = &self.logs[writer];
        let last = |wanted: fn(&Record) -> bool| log.iter().rposition(|s| wanted(&s.record));
        let open = last(|record| matches!(record, Record::Open));
        let close = last(|record| matches!(record, Record::Close));
        Standing {
            ack_gen: log.iter().map(|segment| u64::from(segment.ack)).max().unwrap_or(0),
            open: open.is_some_and(|open| close.is_none_or(|close| close < open)),
            fenced: last(|record| matches!(record, Record::Fence)).is_some(),
        }
    }

    /// The chunks of which a file is left without a copy.
    pub fn lost(&self) -> Set {
        let is_lost = |chunk: &usize| self.holders(*chunk, self.objects).is_empty();
        members(self.live()).filter(is_lost).fold(0, |all, chunk| all | one(chunk))
    }
}
