//! The broker's errors as AMQP exceptions: the one place where a refusal gets its reply code.

use super::exception::{Exception, ReplyCode};
use crate::broker::Error;

impl From<Error> for Exception {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => ReplyCode::NotFound,
            Error::Refused { .. }
            | Error::RefusedTopic { .. }
            | Error::DefaultExchange
            | Error::ReservedPrefix { .. }
            | Error::SystemExchange(_)
            | Error::InternalExchange(_)
            | Error::ExclusiveUse(_)
            | Error::VolatileQueue => ReplyCode::AccessRefused,
            Error::Locked(_) | Error::GetBesideSingleActive(_) => ReplyCode::ResourceLocked,
            Error::SharedLimit(_) => ReplyCode::NotImplemented,
            Error::Inequivalent { .. }
            | Error::UnknownExchangeType(_)
            | Error::InvalidArgument { .. }
            | Error::InvalidType { .. }
            | Error::ArgumentOfQueueType { .. }
            | Error::PartialTransaction
            | Error::ServerNamed { .. }
            | Error::InvalidProperty { .. }
            | Error::InUse(_)
            | Error::NotEmpty(_)
            | Error::UserId { .. }
            | Error::Expiration { .. }
            | Error::Exchange(_)
            | Error::NoUser(_)
            | Error::Pattern(_)
            | Error::Invalid(_)
            | Error::Policy(_)
            | Error::ProtectedVhost(_)
            | Error::TooManyQueues { .. }
            | Error::TooManyQueuesOfAll { .. }
            | Error::TooManyVhosts { .. }
            | Error::TooManyExchanges { .. } => ReplyCode::PreconditionFailed,
            Error::NoVhost(_)
            | Error::VhostRefused { .. }
            | Error::VhostFull { .. }
            | Error::UserFull { .. }
            | Error::UserChannels { .. }
            | Error::NodeFull(_)
            | Error::NodeChannels { .. }
            | Error::TooManyConsumers(_)
            | Error::LoginRefused => ReplyCode::NotAllowed,
            Error::Journal(_) | Error::NoRandom => ReplyCode::InternalError,
        };
        Exception::new(code, error.to_string())
    }
}
