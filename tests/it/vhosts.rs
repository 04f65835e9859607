//! Virtual hosts: each a world of its own, made and deleted over the HTTP API.

use crate::support::broker::start_in_process;
use crate::support::node::{ENDS, Node};
use crate::support::scenario::run;
use crate::support::{Login, Scenario, scenarios};
use warren::arguments::Table;
use warren::broker::admin::VhostChange;
use warren::broker::declare::DeclareQueue;
use warren::broker::events::Actor;
use warren::definition;
use warren::name::VhostName;
use warren::outbox::Wakes;

fn the_same_names_mean_different_things(t: &Scenario) {
    t.vhost("~v");
    let mut here = t.open();
    let mut there = t.open_as(&Login::default().vhost("~v"));
    here.declare(1, "~q", "exclusive");
    there.refused(
        1,
        "queue.declare queue=~q passive",
        "404 NOT_FOUND - no queue '~q' in vhost '~v' (queue.declare)",
    );
    there.declare(1, "~q", "exclusive");
    here.exchange(1, "~x", "fanout");
    there.exchange(1, "~x", "direct");
    here.bind(1, "~q", "~x", "");
    there.bind(1, "~q", "~x", "k");
    here.publish(1, "~x", "k", "here");
    there.publish(1, "~x", "k", "there");
    here.expect_messages(1, "~q", &["here"]);
    there.expect_messages(1, "~q", &["there"]);
    t.forget(&["/api/vhosts/~v"]);
}

fn a_new_vhost_has_the_predeclared_exchanges(t: &Scenario) {
    t.vhost("~v");
    let mut c = t.open_as(&Login::default().vhost("~v"));
    for (name, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
        ("amq.rabbitmq.trace", "topic"),
    ] {
        c.call(1, &format!("exchange.declare exchange={name} type={kind} passive"), "exchange.declare-ok");
    }
    t.forget(&["/api/vhosts/~v"]);
}

/// In RabbitMQ two processes close them, and the text is that of the first.
#[test]
fn a_deleted_vhost_closes_its_connections() {
    run(|t| {
        t.vhost("~v");
        let mut c = t.open_as(&Login::default().vhost("~v"));
        t.forget(&["/api/vhosts/~v"]);
        c.expect_connection_close("320 CONNECTION_FORCED - vhost '~v' is deleted (0/0)");
    });
}

#[test]
fn a_protected_vhost_is_protected_after_a_restart() {
    for end in ENDS {
        let mut node = Node::start();
        node.t.vhost("~v");
        let protection = "/api/vhosts/~v/deletion/protection";
        assert_eq!(node.t.http("POST", protection, ""), 204);
        node.restart(end);
        assert_eq!(node.t.http("DELETE", "/api/vhosts/~v", ""), 412);
        node.t.forget(&[protection]);
        node.restart(end);
        node.t.forget(&["/api/vhosts/~v"]);
    }
}

/// A connection may still be at work while its vhost goes: nothing of what it declares may outlive it.
#[test]
fn nothing_can_be_declared_in_a_deleted_vhost() {
    let (_, broker) = start_in_process();
    let vhost = VhostName::new("v");
    let guest = broker.log_in("guest", b"guest", true).unwrap();
    let all = || ".*".to_string();
    let all = definition::Permissions { configure: all(), write: all(), read: all() };
    let grant = || drop(broker.set_permissions(&Actor::default(), &vhost, &guest.name, all.clone()).unwrap());
    drop(broker.put_vhost(&Actor::default(), &vhost, VhostChange::default()).unwrap());
    grant();
    let session = broker.enter(&guest, &vhost, None).unwrap();
    drop(broker.delete_vhost(&Actor::default(), &vhost, &mut Wakes::default()).unwrap());
    drop(broker.put_vhost(&Actor::default(), &vhost, VhostChange::default()).unwrap());
    grant();
    let declare = DeclareQueue {
        name: "q".into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: Table::default(),
    };
    assert!(broker.declare_queue(&session, declare).is_err());
}

fn a_deleted_vhost_takes_its_queues_along(t: &Scenario) {
    t.vhost("~v");
    let mut c = t.open_as(&Login::default().vhost("~v"));
    c.declare(1, "~q", "durable");
    c.close();
    t.forget(&["/api/vhosts/~v"]);
    let mut c = t.socket();
    c.log_in(&Login::default().vhost("~v"));
    c.expect_connection_close("530 NOT_ALLOWED - vhost ~v not found (connection.open)");
    t.vhost("~v");
    let mut c = t.open_as(&Login::default().vhost("~v"));
    c.refused(
        1,
        "queue.declare queue=~q passive",
        "404 NOT_FOUND - no queue '~q' in vhost '~v' (queue.declare)",
    );
    t.forget(&["/api/vhosts/~v"]);
}

fn a_deleted_users_connections_are_closed(t: &Scenario) {
    t.user("~u", "", Some([".*", ".*", ".*"]));
    let mut c = t.open_as(&Login::user("~u"));
    t.forget(&["/api/users/~u"]);
    c.expect_connection_close("320 CONNECTION_FORCED - user '~u' is deleted (0/0)");
}

fn permissions_are_of_one_vhost(t: &Scenario) {
    t.vhost("~v");
    t.user("~u", "", Some([".*", ".*", ".*"]));
    let mut c = t.socket();
    c.log_in(&Login::user("~u").vhost("~v"));
    c.expect_connection_close(
        "530 NOT_ALLOWED - access to vhost '~v' refused for user '~u' (connection.open)",
    );
    t.permit("~u", "~v", ["", "", ""]);
    t.open_as(&Login::user("~u").vhost("~v")).close();
    t.forget(&["/api/users/~u", "/api/vhosts/~v"]);
}

fn vhosts_may_have_any_name(t: &Scenario) {
    t.vhost("~with%20space%2Fand%2Fslashes");
    let mut c = t.socket();
    c.start();
    c.start_ok(&Login::default());
    c.tune(&Login::default());
    let mut payload = vec![0, 10, 0, 40];
    let name = format!("{}with space/and/slashes", t.trace.prefix);
    crate::support::codec::put_short(&mut payload, name.as_bytes());
    payload.extend_from_slice(&[0, 0]);
    c.send_frame(1, 0, &payload);
    c.expect("0 connection.open-ok");
    t.forget(&["/api/vhosts/~with%20space%2Fand%2Fslashes"]);
}

scenarios![
    the_same_names_mean_different_things,
    a_new_vhost_has_the_predeclared_exchanges,
    a_deleted_vhost_takes_its_queues_along,
    a_deleted_users_connections_are_closed,
    permissions_are_of_one_vhost,
    vhosts_may_have_any_name,
];
