//! How a client logs in: who, where, and what it negotiates.

/// How a client introduces itself and what it negotiates.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) mechanism: &'static str,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
    /// What tune-ok says; `None` = what the broker proposed.
    pub(crate) channel_max: Option<u16>,
    pub(crate) frame_max: Option<u32>,
    pub(crate) heartbeat: u16,
    /// The capabilities the client has.
    pub(crate) capabilities: Vec<&'static str>,
}

impl Default for Login {
    fn default() -> Self {
        Self {
            mechanism: "PLAIN",
            user: "guest".into(),
            password: "guest".into(),
            vhost: "/".into(),
            channel_max: None,
            frame_max: None,
            heartbeat: 0,
            capabilities: vec![
                "authentication_failure_close",
                "basic.nack",
                "connection.blocked",
                "consumer_cancel_notify",
                "publisher_confirms",
            ],
        }
    }
}

impl Login {
    /// Another user, who has their own name as the password.
    pub(crate) fn user(user: &str) -> Self {
        Self { user: user.into(), password: user.into(), ..Self::default() }
    }

    /// The login to another vhost.
    pub(crate) fn vhost(mut self, vhost: &str) -> Self {
        self.vhost = vhost.into();
        self
    }
}
