//! Reading what the kernel wrote: pure, for any bytes.
//!
//! Each event says its own length and the length of its fixed part; both are
//! honoured, so that a kernel with more fields or records is read right. An
//! event of another version, or one that does not fit what was read, ends the
//! parsing with an error: its descriptor is then unknown, and the kernel has to
//! be told by number (see `guard::survivors`).
//!
//! `struct fanotify_event_metadata` and the info records are those of
//! `include/uapi/linux/fanotify.h`; numbers are native-endian.

/// `FANOTIFY_METADATA_VERSION`.
const VERSION: u8 = 3;
/// `sizeof(struct fanotify_event_metadata)`.
pub const METADATA_LEN: usize = 24;
/// `sizeof(struct fanotify_event_info_header)`.
const HEADER_LEN: usize = 4;
/// `FAN_EVENT_INFO_TYPE_PIDFD`
const INFO_PIDFD: u8 = 4;
/// `FAN_EVENT_INFO_TYPE_RANGE`
const INFO_RANGE: u8 = 6;

/// One event; its descriptors are numbers that nobody owns yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    pub mask: u64,
    /// The descriptor, by whose number the kernel knows the event; a negative
    /// errno where it could not be made, and then the access is denied already.
    pub number: i32,
    /// The process (thread group) that waits, in our pid namespace; 0 outside.
    pub pid: i32,
    pub pidfd: Option<i32>,
    pub range: Option<Range>,
}

/// What part of the file is about to be accessed, rounded to pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    /// 0 may mean nothing, or up to the end.
    pub count: u64,
}

/// Bytes that are no events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    #[error("the kernel speaks version {0} of fanotify events, hsm speaks {VERSION}")]
    Version(u8),
    #[error("an event of {len} bytes with {metadata_len} of metadata in {rest} bytes")]
    Length { len: usize, metadata_len: usize, rest: usize },
}

/// All events up to the first bad one.
pub fn parse(mut bytes: &[u8]) -> (Vec<Event>, Option<BadEvent>) {
    let mut events = Vec::new();
    while !bytes.is_empty() {
        match first(bytes) {
            Ok((event, len)) => {
                events.push(event);
                bytes = &bytes[len..];
            }
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

/// The first event and the place of the next.
fn first(bytes: &[u8]) -> Result<(Event, usize), BadEvent> {
    let rest = bytes.len();
    if rest < METADATA_LEN {
        return Err(BadEvent::Length { len: rest, metadata_len: METADATA_LEN, rest });
    }
    let len = u32_at(bytes, 0) as usize;
    let metadata_len = u16_at(bytes, 6) as usize;
    if bytes[4] != VERSION {
        return Err(BadEvent::Version(bytes[4]));
    }
    if metadata_len < METADATA_LEN || len < metadata_len || len > rest {
        return Err(BadEvent::Length { len, metadata_len, rest });
    }
    let mut event = Event {
        mask: u64_at(bytes, 8),
        number: u32_at(bytes, 16) as i32,
        pid: u32_at(bytes, 20) as i32,
        pidfd: None,
        range: None,
    };
    read_records(&bytes[metadata_len..len], &mut event);
    Ok((event, len))
}

/// Unknown records are passed over; one that does not fit ends the list, the
/// event itself stands.
fn read_records(mut records: &[u8], event: &mut Event) {
    while records.len() >= HEADER_LEN {
        let len = u16_at(records, 2) as usize;
        if len < HEADER_LEN || len > records.len() {
            return;
        }
        match records[0] {
            INFO_PIDFD if len >= 8 => event.pidfd = Some(u32_at(records, 4) as i32),
            INFO_RANGE if len >= 24 => {
                event.range =
                    Some(Range { offset: u64_at(records, 8), count: u64_at(records, 16) });
            }
            _ => {}
        }
        records = &records[len..];
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(bytes[at..at + 2].try_into().expect("two bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(event: &Event, extra_metadata: usize) -> Vec<u8> {
        let metadata_len = METADATA_LEN + extra_metadata;
        let mut bytes = vec![0; metadata_len];
        bytes[4] = VERSION;
        bytes[6..8].copy_from_slice(&(metadata_len as u16).to_ne_bytes());
        bytes[8..16].copy_from_slice(&event.mask.to_ne_bytes());
        bytes[16..20].copy_from_slice(&event.number.to_ne_bytes());
        bytes[20..24].copy_from_slice(&event.pid.to_ne_bytes());
        if let Some(range) = event.range {
            bytes.extend_from_slice(&[INFO_RANGE, 0, 24, 0, 0, 0, 0, 0]);
            bytes.extend_from_slice(&range.offset.to_ne_bytes());
            bytes.extend_from_slice(&range.count.to_ne_bytes());
        }
        // A record of a later kernel.
        bytes.extend_from_slice(&[99, 0, 12, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        if let Some(pidfd) = event.pidfd {
            bytes.extend_from_slice(&[INFO_PIDFD, 0, 8, 0]);
            bytes.extend_from_slice(&pidfd.to_ne_bytes());
        }
        let len = bytes.len() as u32;
        bytes[0..4].copy_from_slice(&len.to_ne_bytes());
        bytes
    }

    prop_compose! {
        fn any_event()(
            mask: u64, number: i32, pid: i32, pidfd: Option<i32>,
            range in proptest::option::of(any::<(u64, u64)>()),
        ) -> Event {
            let range = range.map(|(offset, count)| Range { offset, count });
            Event { mask, number, pid, pidfd, range }
        }
    }

    proptest! {
        #[test]
        fn events_of_any_length_are_read_back(
            events in proptest::collection::vec((any_event(), 0..3usize), 0..10)
        ) {
            let bytes: Vec<u8> =
                events.iter().flat_map(|(event, extra)| encode(event, extra * 8)).collect();
            let plain: Vec<Event> = events.into_iter().map(|(event, _)| event).collect();
            prop_assert_eq!(parse(&bytes), (plain, None));
        }

        /// The length of an event decides where the next one begins, so nothing
        /// may be read beyond what was given, whatever it claims.
        #[test]
        fn no_bytes_make_it_panic_or_run_on(bytes: Vec<u8>) {
            let (events, _) = parse(&bytes);
            prop_assert!(events.len() * METADATA_LEN <= bytes.len());
        }

        #[test]
        fn damaged_events_make_no_panic(
            event in any_event(), at in any::<proptest::sample::Index>(), byte: u8, cut: u8,
        ) {
            let mut bytes = encode(&event, 0);
            let place = at.index(bytes.len());
            bytes[place] = byte;
            bytes.truncate(bytes.len().saturating_sub(usize::from(cut)));
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn what_came_before_a_bad_event_is_kept() {
        let event = Event { mask: 1, number: 7, pid: 2, pidfd: None, range: None };
        let mut bytes = encode(&event, 0);
        let mut other = encode(&event, 0);
        other[4] = 4;
        bytes.extend_from_slice(&other);
        assert_eq!(parse(&bytes), (vec![event], Some(BadEvent::Version(4))));
        assert!(matches!(parse(&[0; 24]).1, Some(BadEvent::Version(0))));
    }
}
