//! Tests of the files of a run: one guest program on both roads, hostile modules, and the host's
//! own side of it.

mod guests;
mod hostile;
mod ledger;
mod left_over;
mod rig;
