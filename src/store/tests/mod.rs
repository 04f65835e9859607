//! The store's tests beyond single files: the same suite on disk and in memory, restarts, crashes, faults.

mod crash;
pub(crate) mod disk;
mod faults;
mod group_commit;
mod large;
mod power;
mod refusal;
mod restart;
mod simulation;
mod suite;
pub(in crate::store) mod support;
