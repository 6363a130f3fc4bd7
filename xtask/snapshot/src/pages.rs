//! Finds the pages of a snapshot that its runs write to: it rehearses runs, reads the process's
//! page map, joins the pages to few stretches, and notes these in the module, which touches them at
//! the start of a run.
//!
//! The interpreter's `usual_pages.rs` says why a module needs them.

use std::collections::BTreeSet;
use std::io::{Read, Seek, SeekFrom, Write};

use anyhow::{Context, ensure};
use wasmtime::{Engine, Module};

use crate::{State, own};

/// The page size of the processors that the host runs on. On a processor with larger pages,
/// touching one of these touches the larger page around it.
const PAGE_BYTES: usize = 4096;
/// How the page map describes a page: proc_pid_pagemap(5).
const ENTRY_BYTES: usize = 8;
const PRESENT: u64 = 1 << 63;
const OF_A_FILE: u64 = 1 << 61;

/// Pages in a row: the first, and how many.
pub(crate) type Stretch = (u32, u32);

/// The pages that any of the rehearsals writes to, each in a fresh instance of `snapshot`.
pub(crate) fn rehearsed(engine: &Engine, snapshot: &[u8]) -> anyhow::Result<Vec<u32>> {
    let module = Module::new(engine, snapshot).map_err(own)?;
    let mut state = State::new(&module).map_err(own)?;
    let rehearsals: u32 = state.call("rehearsals", ()).map_err(own)?;
    let mut usual = BTreeSet::new();
    for rehearsal in 0..rehearsals {
        let mut state = State::new(&module).map_err(own)?;
        let memory = state.memory("memory");
        let length = memory.data_size(&state.store);
        state.call::<u32, ()>("rehearse", rehearsal).map_err(own)?;
        let address = memory.data_ptr(&state.store).addr();
        usual.extend(written(address, length / PAGE_BYTES)?);
    }
    Ok(usual.into_iter().collect())
}

/// Tells `next`, which is not yet prepared, which blocks of `trial` are on these pages.
pub(crate) fn gather(usual: &[u32], trial: &mut State, next: &mut State) -> wasmtime::Result<()> {
    for &page in usual {
        trial.call::<u32, ()>("note_written", page)?;
    }
    let bytes: u32 = trial.call("warm_blocks_bytes", ())?;
    let mut warm = vec![0; bytes as usize];
    let place: u32 = trial.call("warm_blocks", ())?;
    trial
        .memory("memory")
        .read(&trial.store, place as usize, &mut warm)?;
    next.memory("memory")
        .write(&mut next.store, place as usize, &warm)?;
    Ok(())
}

/// The pages from `address` on that are private to this process. A page of an instance's image that
/// was only read is a page of a file.
fn written(address: usize, pages: usize) -> anyhow::Result<Vec<u32>> {
    let mut map = std::fs::File::open("/proc/self/pagemap").context("/proc/self/pagemap")?;
    let offset = address / PAGE_BYTES * ENTRY_BYTES;
    map.seek(SeekFrom::Start(u64::try_from(offset)?))?;
    let mut entries = vec![0; pages * ENTRY_BYTES];
    map.read_exact(&mut entries)?;
    let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else {
        unreachable!("it was made of whole entries");
    };
    let own =
        |entry: &[u8; ENTRY_BYTES]| u64::from_ne_bytes(*entry) & (PRESENT | OF_A_FILE) == PRESENT;
    // The first page is the one that null points to; runs do not write to it.
    let pages = (0..).zip(entries).skip(1);
    Ok(pages
        .filter(|(_, entry)| own(entry))
        .map(|(page, _)| page)
        .collect())
}

/// Joins pages over the smallest gaps until there are at most `at_most` stretches.
fn joined(pages: &[u32], at_most: usize) -> Vec<Stretch> {
    let mut gaps: Vec<u32> = pages.windows(2).map(|pair| pair[1] - pair[0]).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    // Wider gaps than this one stay.
    let widest = gaps.get(at_most.saturating_sub(1)).copied().unwrap_or(1);
    let mut stretches: Vec<Stretch> = Vec::new();
    for &page in pages {
        match stretches.last_mut() {
            Some((first, count)) if page - (*first + *count - 1) <= widest => {
                *count = page - *first + 1;
            }
            Some(_) | None => stretches.push((page, 1)),
        }
    }
    stretches
}

/// Writes the pages to the place where the module reads them, in as many stretches as there is room
/// for.
pub(crate) fn note(state: &mut State, usual: &[u32]) -> anyhow::Result<()> {
    let at_most: u32 = state.call("usual_pages_max", ()).map_err(own)?;
    let stretches = joined(usual, usize::try_from(at_most)?);
    let total: u32 = stretches.iter().map(|(_, count)| count).sum();
    let count = stretches.len();
    writeln!(
        std::io::stdout(),
        "Runs usually write to {total} pages in {count} stretches."
    )?;
    ensure!(!stretches.is_empty(), "a rehearsal writes to some page");
    let place = usize::try_from(state.call::<(), u32>("usual_pages", ()).map_err(own)?)?;
    let words = stretches.iter().flat_map(|&(first, count)| [first, count]);
    let bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    let memory = state.memory("memory");
    memory.write(&mut state.store, place, &bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn pages_are_joined_over_the_smallest_gaps() {
        let pages = [1, 2, 5, 20, 22, 90];
        assert_eq!(joined(&pages, 3), [(1, 5), (20, 3), (90, 1)]);
        assert_eq!(
            joined(&pages, 9),
            [(1, 2), (5, 1), (20, 1), (22, 1), (90, 1)]
        );
        assert_eq!(joined(&pages, 1), [(1, 90)]);
        assert_eq!(joined(&[], 3), []);
    }
}
