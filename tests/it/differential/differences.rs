//! The deliberate differences, in the order of `docs/compatibility.md`.

use super::Difference;

/// A line that differs, behind which the transcripts go on alike.
const fn line(
    heading: &'static str,
    scenario: &'static str,
    rabbitmq: &'static str,
    warren: &'static str,
) -> Difference {
    Difference { heading, scenario, rabbitmq, warren, is_parting: false }
}

/// A line that differs, behind which there is nothing to compare.
const fn parting(
    heading: &'static str,
    scenario: &'static str,
    rabbitmq: &'static str,
    warren: &'static str,
) -> Difference {
    Difference { heading, scenario, rabbitmq, warren, is_parting: true }
}

const REFUSAL: &str = "A refusal names the missing right";
const TOLD: &str = "A client that fails in the handshake is told why";
const HISTORY: &str = "A recent history can be given to an exchange";
const AT_ONCE: &str = "Content that cannot be right is refused at once";

pub(super) const DIFFERENCES: &[Difference] = &[
    line(REFUSAL, "permissions::.*", "(.* ACCESS_REFUSED - )(access to .*)", "${1}configure $2"),
    line(REFUSAL, "permissions::.*", "(.* ACCESS_REFUSED - )(access to .*)", "${1}write $2"),
    line(REFUSAL, "permissions::.*", "(.* ACCESS_REFUSED - )(access to .*)", "${1}read $2"),
    parting(
        "An unknown exchange type closes the channel only",
        "exchanges::an_unknown_type_is_406",
        "0 connection.close 503 COMMAND_INVALID - (unknown exchange type .*)",
        "1 channel.close 406 PRECONDITION_FAILED - $1",
    ),
    parting(
        "A topic binding has at most two `#`",
        "topic_routing::more_than_two_hashes_are_406",
        "1 queue.bind-ok",
        "1 channel.close 406 PRECONDITION_FAILED - Topic binding key '#.a.#.b.#' uses 3 '#' wildcards, at most 2 are \
         allowed (queue.bind)",
    ),
    parting(
        "A message has at most 16 MiB",
        "publishing::a_message_above_16_mebibytes_is_406",
        "nothing",
        "1 channel.close 406 PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216 \
         (basic.publish)",
    ),
    parting(
        "A queue that the broker named can be declared again",
        "queues::the_broker_names_a_queue_without_a_name",
        "1 channel.close 403 ACCESS_REFUSED - queue name 'amq.gen-\\*' contains reserved prefix .*",
        "1 queue.declare-ok queue=amq.gen-* messages=0 consumers=0",
    ),
    parting(
        "PLAIN ignores the authorization identity",
        "handshake::plain_ignores_the_authorization_identity",
        "end of stream",
        "0 connection.open-ok",
    ),
    parting(
        TOLD,
        "handshake::an_unknown_mechanism_is_503",
        "end of stream",
        "0 connection.close 503 COMMAND_INVALID - unknown authentication mechanism 'GSSAPI' (connection.start-ok)",
    ),
    parting(
        TOLD,
        "handshake::a_plain_response_that_is_none_is_refused",
        "end of stream",
        "0 connection.close 403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details \
         see the broker logfile. (connection.start-ok)",
    ),
    parting(
        TOLD,
        "handshake::limits_above_the_brokers_are_530",
        "end of stream",
        "0 connection.close 530 NOT_ALLOWED - negotiated frame_max = 131073 is higher than the maximum allowed value \
         (131072) (connection.tune-ok)",
    ),
    parting(
        TOLD,
        "handshake::a_frame_max_below_4096_is_530",
        "end of stream",
        "0 connection.close 530 NOT_ALLOWED - negotiated frame_max = 4095 is lower than the minimum allowed value \
         (4096) (connection.tune-ok)",
    ),
    parting(
        "A queue stays in a hash ring while a binding leads to it",
        "hash_exchanges::a_queue_stays_while_a_binding_is_left",
        "1 basic.return code=312 text=NO_ROUTE exchange=~x key=k: m",
        "~q1: m",
    ),
    parting(
        "An argument of another type closes the channel only",
        "hash_exchanges::a_header_name_that_is_no_text_is_406",
        "0 connection.close 541 INTERNAL_ERROR \\(0/0\\)",
        "1 channel.close 406 PRECONDITION_FAILED - invalid type 'signedint' for arg 'hash-header' in exchange '~x' in \
         vhost '/' (exchange.declare)",
    ),
    line(HISTORY, "recent_history::a_bound_exchange_gets_the_oldest_first", "~q: 3, 2, 1", "~q: 1, 2, 3"),
    parting(
        HISTORY,
        "recent_history::a_bound_exchange_need_not_lead_anywhere",
        "0 connection.close 541 INTERNAL_ERROR \\(0/0\\)",
        "1 exchange.bind-ok",
    ),
    line(
        "What a transaction rolled back is not in a recent history",
        "recent_history::a_transaction_counts_once_it_is_committed",
        "~q: rolled back, committed",
        "~q: committed",
    ),
    parting(
        "Content on a channel that is not open is 504",
        "content::content_on_an_unopened_channel_is_504",
        "0 connection.close 505 UNEXPECTED_FRAME - expected method frame, got non method frame instead \\(0/0\\)",
        "0 connection.close 504 CHANNEL_ERROR - expected 'channel.open' (basic.publish)",
    ),
    parting(
        AT_ONCE,
        "content::a_body_longer_than_announced_is_501",
        "nothing",
        "0 connection.close 501 FRAME_ERROR - content body frame exceeds remaining content size: 4 > 3 (basic.publish)",
    ),
    parting(
        AT_ONCE,
        "content::an_announced_body_above_the_largest_message_is_refused",
        "nothing",
        "0 connection.close 501 FRAME_ERROR - content body of 629145600 bytes is larger than 536870912 \
         (basic.publish)",
    ),
];
