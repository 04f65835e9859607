//! Exceptions: reply codes, their texts, and whether they end the channel or the connection (AMQP 0-9-1, 1.2). PURE.

use std::fmt;

macro_rules! reply_codes {
    ($($name:ident = $code:literal $text:literal $hard:literal,)*) => {
        /// A reply code. Hard ones close the connection, soft ones the channel.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum ReplyCode { $($name,)* }

        impl ReplyCode {
            /// The number on the wire.
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }

            /// The name that starts a reply text.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether it closes the connection.
            pub fn is_hard(self) -> bool {
                match self { $(Self::$name => $hard,)* }
            }
        }
    };
}

reply_codes! {
    ContentTooLarge = 311 "CONTENT_TOO_LARGE" false,
    NoRoute = 312 "NO_ROUTE" false,
    ConnectionForced = 320 "CONNECTION_FORCED" true,
    InvalidPath = 402 "INVALID_PATH" true,
    AccessRefused = 403 "ACCESS_REFUSED" false,
    NotFound = 404 "NOT_FOUND" false,
    ResourceLocked = 405 "RESOURCE_LOCKED" false,
    PreconditionFailed = 406 "PRECONDITION_FAILED" false,
    FrameError = 501 "FRAME_ERROR" true,
    SyntaxError = 502 "SYNTAX_ERROR" true,
    CommandInvalid = 503 "COMMAND_INVALID" true,
    ChannelError = 504 "CHANNEL_ERROR" true,
    UnexpectedFrame = 505 "UNEXPECTED_FRAME" true,
    ResourceError = 506 "RESOURCE_ERROR" true,
    NotAllowed = 530 "NOT_ALLOWED" true,
    NotImplemented = 540 "NOT_IMPLEMENTED" true,
    InternalError = 541 "INTERNAL_ERROR" true,
}

/// An error on its way to the client: `channel.close` or `connection.close`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Says also whether channel or connection is closed, unless `closes_connection` does.
    pub code: ReplyCode,
    /// The explanation, without the code's name.
    pub text: String,
    /// The failing method's class and method; `None` until it is known.
    pub method: Option<(u16, u16)>,
    /// A soft code that closes the connection all the same: a refused login.
    pub closes_connection: bool,
}

impl Exception {
    /// An exception not yet tied to a method.
    pub fn new(code: ReplyCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), method: None, closes_connection: code.is_hard() }
    }

    /// The same, tied to a method unless it already is.
    pub fn at(mut self, class: u16, method: u16) -> Self {
        self.method.get_or_insert((class, method));
        self
    }

    /// The same, said to be of no method: RabbitMQ finds some faults before it knows which.
    pub fn of_no_method(mut self) -> Self {
        self.method = Some((0, 0));
        self
    }

    /// The same, closing the connection whatever its code.
    pub fn hard(mut self) -> Self {
        self.closes_connection = true;
        self
    }

    /// Class and method for the wire; 0 and 0 if it was none.
    pub fn method_id(&self) -> (u16, u16) {
        self.method.unwrap_or((0, 0))
    }

    /// `NAME - explanation`, at most 255 bytes, cut between characters.
    pub fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.text);
        let mut end = text.len().min(255);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code.code(), self.reply_text())
    }
}

impl std::error::Error for Exception {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_text_is_cut_at_255_bytes_between_characters() {
        let exception = Exception::new(ReplyCode::NotFound, "ü".repeat(200));
        let text = exception.reply_text();
        assert!(text.len() <= 255 && text.len() >= 254, "{}", text.len());
        assert!(text.starts_with("NOT_FOUND - ü"));
    }
}
