//! The memory of QuickJS: blocks of the snapshot that runs write to lie together.
//!
//! QuickJS counts references in the objects themselves, so a run writes to objects that it only
//! reads, and the prelude leaves these all over the heap. Each page that a run writes to has to be
//! restored after it (`usual_pages.rs`). So the build prepares the heap twice. The first time each
//! block has pages of its own, and rehearsals show which blocks runs write to. The second time those
//! go to one area, side by side. QuickJS asks for the same blocks in the same order both times, so a
//! block's number names it.

use std::alloc::{Layout, alloc, dealloc, realloc};
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};

use rquickjs::allocator::Allocator;

const PAGE_BYTES: usize = 4096;
/// Numbers from here on are never warm. The preparation takes about a tenth of them.
const BLOCKS_MAX: usize = 1 << 16;
/// A larger block stays where it is, because a run writes to a small part of it.
const WARM_BLOCK_MAX: usize = 8 * PAGE_BYTES;
/// The largest alignment of what QuickJS stores.
const ALIGN: usize = 8;
/// The size of a block is in front of it.
const HEADER_BYTES: usize = 8;

/// What the build found: the size of the warm area, and a bit for each block in it.
#[repr(C)]
struct Warm {
    bytes: AtomicU32,
    blocks: [AtomicU8; BLOCKS_MAX / 8],
}

static WARM: Warm = Warm {
    bytes: AtomicU32::new(0),
    blocks: [const { AtomicU8::new(0) }; BLOCKS_MAX / 8],
};

/// How many blocks were asked for so far.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
static IS_PREPARED: AtomicBool = AtomicBool::new(false);
/// The warm area: its first byte, and how many are taken.
static AREA: AtomicUsize = AtomicUsize::new(0);
static AREA_TAKEN: AtomicUsize = AtomicUsize::new(0);
/// The blocks with pages of their own: address and size.
static ALONE: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());

/// From now on a block has no number and lies anywhere.
pub(crate) fn prepared() {
    IS_PREPARED.store(true, Ordering::Relaxed);
}

/// The allocator of QuickJS.
pub(crate) struct Heap;

// SAFETY: `take` returns null or a block of that size, aligned to 8 bytes, with its size in front;
// `usable_size` reads it there.
unsafe impl Allocator for Heap {
    fn alloc(&mut self, size: usize) -> *mut u8 {
        take(size)
    }

    fn calloc(&mut self, count: usize, size: usize) -> *mut u8 {
        let Some(bytes) = count.checked_mul(size) else {
            return ptr::null_mut();
        };
        let block = take(bytes);
        if !block.is_null() {
            // SAFETY: the block has at least so many bytes.
            unsafe { block.write_bytes(0, bytes) };
        }
        block
    }

    unsafe fn dealloc(&mut self, block: *mut u8) {
        if !stays(block) {
            // SAFETY: it is a block of `anywhere`, which had this layout.
            unsafe { dealloc(block.sub(HEADER_BYTES), layout(Self::usable_size(block))) };
        }
    }

    unsafe fn realloc(&mut self, block: *mut u8, size: usize) -> *mut u8 {
        // SAFETY: the caller says that the block is one of this allocator.
        let old = unsafe { Self::usable_size(block) };
        if IS_PREPARED.load(Ordering::Relaxed) && !stays(block) {
            let size = size.next_multiple_of(ALIGN);
            // SAFETY: as in `dealloc`, and the new size with its header is not zero.
            let start =
                unsafe { realloc(block.sub(HEADER_BYTES), layout(old), size + HEADER_BYTES) };
            return labelled(start, size);
        }
        let new = take(size);
        if !new.is_null() {
            // SAFETY: both blocks have so many bytes, and neither is part of the other.
            unsafe { ptr::copy_nonoverlapping(block, new, old.min(size)) };
            // SAFETY: nobody uses the old block any more.
            unsafe { self.dealloc(block) };
        }
        new
    }

    unsafe fn usable_size(block: *mut u8) -> usize {
        // SAFETY: each block has its size in front.
        unsafe { block.sub(HEADER_BYTES).cast::<usize>().read() }
    }
}

fn take(size: usize) -> *mut u8 {
    let size = size.next_multiple_of(ALIGN);
    if IS_PREPARED.load(Ordering::Relaxed) {
        return anywhere(size);
    }
    let number = TAKEN.fetch_add(1, Ordering::Relaxed);
    match WARM.bytes.load(Ordering::Relaxed) {
        0 => alone(size),
        bytes if is_warm(number) => warm(size, bytes as usize),
        _ => anywhere(size),
    }
}

fn is_warm(number: usize) -> bool {
    let bits = WARM.blocks.get(number / 8);
    bits.is_some_and(|bits| bits.load(Ordering::Relaxed) >> (number % 8) & 1 == 1)
}

fn anywhere(size: usize) -> *mut u8 {
    // SAFETY: the layout includes a header, so its size is not zero.
    labelled(unsafe { alloc(layout(size)) }, size)
}

/// A block that shares no page with another.
fn alone(size: usize) -> *mut u8 {
    let pages = (HEADER_BYTES + size).next_multiple_of(PAGE_BYTES);
    let layout = Layout::from_size_align(pages, PAGE_BYTES).expect("a small power of two");
    // SAFETY: the size is not zero.
    let start = unsafe { alloc(layout) };
    let mut blocks = ALONE.lock().expect("nothing panics with it");
    blocks.push((start.addr(), pages));
    labelled(start, size)
}

/// The next block of the warm area, which has `bytes` in all.
fn warm(size: usize, bytes: usize) -> *mut u8 {
    if AREA.load(Ordering::Relaxed) == 0 {
        let layout = Layout::from_size_align(bytes, PAGE_BYTES).expect("a small power of two");
        // SAFETY: the size is not zero.
        AREA.store(
            unsafe { alloc(layout) }.expose_provenance(),
            Ordering::Relaxed,
        );
    }
    let taken = AREA_TAKEN.fetch_add(HEADER_BYTES + size, Ordering::Relaxed);
    assert!(
        taken + HEADER_BYTES + size <= bytes,
        "the same blocks as before"
    );
    let start = AREA.load(Ordering::Relaxed) + taken;
    labelled(ptr::with_exposed_provenance_mut(start), size)
}

/// Whether the block is never given back: it lies in the warm area, or the instance only rehearses.
fn stays(block: *mut u8) -> bool {
    let bytes = WARM.bytes.load(Ordering::Relaxed) as usize;
    let area = AREA.load(Ordering::Relaxed);
    bytes == 0 || (area..area + bytes).contains(&block.addr())
}

fn layout(size: usize) -> Layout {
    // QuickJS asks for less than the memory that there can be.
    Layout::from_size_align(HEADER_BYTES + size, ALIGN).expect("a size that QuickJS asked for")
}

fn labelled(start: *mut u8, size: usize) -> *mut u8 {
    if start.is_null() {
        return start;
    }
    // SAFETY: the block begins with room for its header.
    unsafe {
        start.cast::<usize>().write(size);
        start.add(HEADER_BYTES)
    }
}

/// Marks the blocks that share this page; called by the build in the instance that rehearses.
#[unsafe(export_name = "note_written")]
extern "C" fn note_written(page: usize) {
    let page = page * PAGE_BYTES..(page + 1) * PAGE_BYTES;
    let blocks = ALONE.lock().expect("nothing panics with it");
    for (number, &(start, bytes)) in blocks.iter().enumerate().take(BLOCKS_MAX) {
        let is_written = start < page.end && page.start < start + bytes;
        if is_written && bytes <= WARM_BLOCK_MAX && !is_warm(number) {
            WARM.blocks[number / 8].fetch_or(1 << (number % 8), Ordering::Relaxed);
            // SAFETY: the block is one of `alone`.
            let size = unsafe {
                Heap::usable_size(ptr::with_exposed_provenance_mut(start + HEADER_BYTES))
            };
            let bytes = u32::try_from(HEADER_BYTES + size).expect("a small block");
            WARM.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// The place from which the build copies what was found to the instance that it prepares next.
#[unsafe(export_name = "warm_blocks")]
extern "C" fn warm_blocks() -> *const u8 {
    (&raw const WARM).cast()
}

#[unsafe(export_name = "warm_blocks_bytes")]
extern "C" fn warm_blocks_bytes() -> usize {
    size_of::<Warm>()
}
