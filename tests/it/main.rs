//! Behaviour, over real sockets: one module per behaviour.
