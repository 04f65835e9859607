//! The connection's own methods, on channel 0: the handshake, closing, update-secret.

use super::{Connection, Pending, Phase};
use crate::amqp::exception::{Exception, ReplyCode};
use crate::amqp::frame::Payload;
use crate::amqp::handshake::{self, ClientProperties};
use crate::amqp::method::{self, connection, id};
use crate::amqp::request::Request;
use crate::name::{ChannelId, VhostName};
use amq_protocol::protocol::AMQPClass;

impl Connection {
    /// Reads the protocol header; false while it is not all there.
    pub(super) fn read_header(&mut self, input: &mut &[u8]) -> bool {
        let expected = handshake::PROTOCOL_HEADER;
        let Some(header) = input.first_chunk::<8>() else {
            // What cannot become a header is answered without waiting for eight bytes.
            if !input.is_empty() && !expected.starts_with(&input[..input.len().min(4)]) {
                self.refuse_header(input);
            }
            return false;
        };
        if !handshake::is_supported(header) {
            self.refuse_header(input);
            return false;
        }
        *input = &input[8..];
        self.phase = Phase::StartOk;
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: handshake::server_properties(&self.cluster_name),
            mechanisms: self.mechanisms.as_bytes().into(),
            locales: "en_US".into(),
        };
        self.send(connection::AMQPMethod::Start(start));
        true
    }

    fn refuse_header(&mut self, input: &mut &[u8]) {
        *input = &[];
        self.output.raw(handshake::PROTOCOL_HEADER);
        self.phase = Phase::Closed;
    }

    pub(super) fn send(&mut self, method: connection::AMQPMethod) {
        self.output.class(ChannelId(0), &AMQPClass::Connection(method));
    }

    /// A frame on channel 0: the connection's own methods.
    pub(super) fn handle_control(&mut self, payload: &Payload<'_>) -> Result<Option<Request>, Exception> {
        let Payload::Method { class, method, payload } = *payload else {
            if matches!(self.phase, Phase::Closing) {
                return Ok(None);
            }
            let text = format!("expected method frame on channel 0, got {} instead", payload.describe());
            return Err(Exception::new(ReplyCode::UnexpectedFrame, text));
        };
        if matches!(self.phase, Phase::Closing)
            && !matches!((class, method), id::CONNECTION_CLOSE | id::CONNECTION_CLOSE_OK)
        {
            return Ok(None);
        }
        if class != id::CONNECTION {
            let text = format!("method {class}.{method} on channel 0");
            return Err(Exception::new(ReplyCode::ChannelError, text));
        }
        if self.phase == Phase::Running && method::is_of_server(class, method) {
            return Err(unexpected_method());
        }
        let AMQPClass::Connection(parsed) = method::parse(payload, class, method)? else { return Ok(None) };
        self.handle_connection_method(parsed)
    }

    fn handle_connection_method(
        &mut self,
        method: connection::AMQPMethod,
    ) -> Result<Option<Request>, Exception> {
        use connection::AMQPMethod as M;
        match (self.phase, method) {
            (_, M::Close(_)) => {
                self.send(M::CloseOk(connection::CloseOk {}));
                self.phase = Phase::Closed;
                Ok(None)
            }
            (_, M::CloseOk(_)) => {
                self.phase = Phase::Closed;
                Ok(None)
            }
            (Phase::StartOk, M::StartOk(start_ok)) => self.start_ok(start_ok).map(Some),
            (Phase::TuneOk, M::TuneOk(tune_ok)) => {
                self.tuned =
                    handshake::tune(&self.limits, tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat)?;
                self.phase = Phase::Open;
                Ok(None)
            }
            (Phase::Open, M::Open(open)) => {
                self.pending = Some(Pending::Open);
                Ok(Some(Request::Open(VhostName::new(open.virtual_host.as_str()))))
            }
            (Phase::Running, M::UpdateSecret(update)) => {
                self.pending = Some(Pending::UpdateSecret);
                Ok(Some(Request::UpdateSecret(update.new_secret.as_bytes().to_vec())))
            }
            (Phase::Running, _) => Err(unexpected_method()),
            _ => Err(Exception::new(ReplyCode::CommandInvalid, "unimplemented method")),
        }
    }

    fn start_ok(&mut self, start_ok: connection::StartOk) -> Result<Request, Exception> {
        self.client_properties = ClientProperties(start_ok.client_properties);
        self.mechanism = start_ok.mechanism.as_str().to_owned();
        let credentials =
            handshake::credentials(&self.mechanisms, &self.mechanism, start_ok.response.as_bytes());
        let credentials = credentials.map_err(|exception| self.mind_login_failure(exception))?;
        let credentials = Box::new(credentials);
        self.pending = Some(Pending::Login(credentials.clone()));
        Ok(Request::Authenticate(credentials))
    }

    /// A client that does not know `authentication_failure_close` is dropped without a word.
    pub(super) fn mind_login_failure(&mut self, exception: Exception) -> Exception {
        let is_login = exception.code == ReplyCode::AccessRefused;
        self.is_to_be_dropped = is_login && !self.client_properties.has("authentication_failure_close");
        exception
    }
}

fn unexpected_method() -> Exception {
    Exception::new(ReplyCode::ChannelError, "unexpected method in connection state running")
}
