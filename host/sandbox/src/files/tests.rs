//! Tests of the files of a run: one guest program on both WASI versions, hostile modules, and the
//! host's side.

mod guests;
mod hostile;
mod ledger;
mod left_over;
mod rig;
