//! Every act: its name, what it is done to, where, and what it leaves.

use super::scene::{Content, Played, Scene};
use super::{holding, looking, mapping, mounting, moving, naming, queueing, reading, writing};
use crate::loopfs::FsKind;

/// What the file is afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    Resident,
    /// Whether it was recalled is not the act's business.
    Either,
}

pub struct Act {
    pub name: &'static str,
    pub contents: &'static [Content],
    pub kinds: &'static [FsKind],
    pub leaves: Leaves,
    /// Ordinary bytes are seen: on a stub without a guard it must complain.
    pub sees: bool,
    pub play: fn(&Scene) -> Played,
}

pub struct Hold {
    pub name: &'static str,
    pub content: Content,
    /// The file must not become a stub meanwhile.
    pub keeps: bool,
    pub take: fn(&Scene) -> holding::Held,
}

const ALL: &[FsKind] = &[FsKind::Ext4, FsKind::Xfs, FsKind::Btrfs];
const CLONING: &[FsKind] = &[FsKind::Xfs, FsKind::Btrfs];
const SHIFTING: &[FsKind] = &[FsKind::Ext4, FsKind::Xfs];
const BTRFS: &[FsKind] = &[FsKind::Btrfs];

const BYTES: &[Content] = &[Content::Solid, Content::Sparse];
const PROGRAMS: &[Content] = &[Content::Elf, Content::Script];

macro_rules! acts {
    ($sees:literal, $leaves:ident, $contents:ident, $kinds:ident: $($room:ident::$act:ident),* $(,)?) => {
        [$(Act {
            name: concat!(stringify!($room), "-", stringify!($act)),
            contents: $contents,
            kinds: $kinds,
            leaves: Leaves::$leaves,
            sees: $sees,
            play: $room::$act,
        }),*]
    };
}

pub fn acts() -> Vec<Act> {
    let mut all = vec![];
    all.extend(acts!(true, Resident, BYTES, ALL:
        reading::read_whole, reading::read_first_page_then_the_rest,
        reading::read_nothing_and_at_the_end, reading::pread_unaligned, reading::readv,
        reading::open_without_waiting, reading::direct_one_block, reading::direct_whole,
        reading::readahead, reading::fadvise_willneed, reading::two_readers,
        reading::two_threads,
        mapping::shared, mapping::private, mapping::populated, mapping::unreadable_then_mprotect,
        mapping::one_page_then_mremap, mapping::remap_file_pages, mapping::written_through,
        mapping::descriptor_closed, mapping::as_source_of_a_write,
        writing::write_at_the_start, writing::pwrite_in_the_middle,
        writing::pwrite_beyond_the_end, writing::append, writing::direct_pwrite,
        writing::splice_into, writing::ftruncate_shrink, writing::ftruncate_grow,
        writing::truncate_shrink, writing::truncate_shrink_and_grow, writing::truncate_grow,
        writing::fallocate_beyond_the_end, writing::fallocate_keep_size,
        writing::fallocate_punch_hole, writing::fallocate_zero_range,
        moving::copy_file_range_from, moving::copy_file_range_into, moving::sendfile_to_a_file,
        moving::sendfile_to_a_socket, moving::splice_to_a_pipe,
        looking::seek_data_and_hole, looking::fiemap, looking::path_descriptor_opened_again,
        looking::change_mode_owner_and_attributes, looking::change_times,
        naming::hard_link_then_read, naming::rename_then_read, naming::rename_while_open,
        naming::rename_exchange, naming::by_handle,
        mounting::other_namespace, mounting::bind_mount, mounting::read_only_bind_mount,
        mounting::read_only_bind_mount_mapped, mounting::loop_device,
        queueing::uring_read, queueing::uring_read_of_a_registered_file, queueing::aio_pread,
    ));
    // `preadv2_nowait` may see nothing; a truncation to nothing has nothing to see.
    all.extend(acts!(false, Resident, BYTES, ALL:
        reading::preadv2_nowait,
        writing::truncating_open_write_extend, writing::truncating_open,
        writing::ftruncate_to_nothing_and_back, writing::truncate_to_nothing,
        writing::truncate_to_nothing_and_back, naming::rename_over,
    ));
    // The lower of an overlay is what is recalled.
    all.extend(acts!(true, Either, BYTES, ALL:
        mounting::overlay_read, mounting::overlay_mapped, mounting::overlay_copied_up,
        naming::open_unlink_read,
    ));
    all.extend(acts!(false, Either, BYTES, ALL: naming::unlink));
    // What only looks leaves the stub a stub, which the act itself checks.
    all.extend(acts!(false, Either, BYTES, ALL:
        looking::stat, looking::list_and_get_xattrs, looking::path_descriptor,
    ));
    all.extend(acts!(true, Resident, PROGRAMS, ALL: naming::execute));
    all.extend(acts!(true, Resident, LIBRARY, ALL: naming::preload));
    all.extend(acts!(true, Resident, BYTES, CLONING:
        moving::clone_whole, moving::clone_range_from, moving::clone_range_into,
        moving::dedupe_with_zeros, moving::dedupe_with_a_copy,
    ));
    all.extend(acts!(false, Resident, BYTES, CLONING: moving::clone_over));
    all.extend(acts!(true, Resident, BYTES, SHIFTING:
        writing::fallocate_collapse, writing::fallocate_insert,
    ));
    all.extend(acts!(true, Either, BYTES, BTRFS:
        mounting::read_only_snapshot, mounting::snapshot,
    ));
    all
}

const LIBRARY: &[Content] = &[Content::Library];

pub fn holds() -> Vec<Hold> {
    let hold = |name, content, keeps, take| Hold { name, content, keeps, take };
    use Content::{Elf, Solid};
    vec![
        hold(
            "read descriptor",
            Solid,
            true,
            holding::read_descriptor as fn(&Scene) -> holding::Held,
        ),
        hold("read-write descriptor", Solid, true, holding::read_write_descriptor),
        hold("write descriptor", Solid, true, holding::write_descriptor),
        hold("shared mapping", Solid, true, holding::shared_mapping),
        hold("private mapping", Solid, true, holding::private_mapping),
        hold("through a bind mount", Solid, true, holding::descriptor_through_a_bind_mount),
        hold("through an overlay", Solid, true, holding::descriptor_through_an_overlay),
        hold("mapped through an overlay", Solid, true, holding::mapping_through_an_overlay),
        hold("loop device", Solid, true, holding::loop_device),
        hold("running program", Elf, true, holding::running_program),
        hold("path descriptor", Solid, false, holding::path_descriptor),
    ]
}
