//! Sockets: listeners and what wraps a connection before its protocol sees it.

pub mod listener;
