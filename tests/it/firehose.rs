//! What the broker publishes itself: the firehose, events, log lines (behaviour.md, 12).

use crate::support::broker::Process;
use crate::support::raw::Incoming;
use crate::support::scenario::run;
use crate::support::{Client, Login, Properties, Scenario, Value, scenarios, text};
use serde_json::json;

fn header<'a>(incoming: &'a Incoming, name: &str) -> Option<&'a Value> {
    let headers = incoming.properties.headers.as_ref()?;
    headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn shown(incoming: &Incoming, name: &str) -> String {
    match header(incoming, name) {
        None => "none".into(),
        Some(Value::S(text)) => String::from_utf8_lossy(text).into_owned(),
        Some(Value::A(values)) => {
            let texts = values.iter().map(|value| match value {
                Value::S(text) => String::from_utf8_lossy(text).into_owned(),
                other => format!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join(",")
        }
        Some(Value::F(fields)) => {
            let mut names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            names.sort_unstable();
            names.join(",")
        }
        Some(other) => format!("{other:?}"),
    }
}

fn trace(t: &Scenario, is_on: bool) {
    let body = format!(r#"{{"tracing": {is_on}}}"#);
    assert_eq!(t.http("PUT", "/api/vhosts/~v", &body), 204);
}

/// A vhost of the scenario's own with the firehose on, and a queue that gets all of it.
fn watching(t: &Scenario) -> Client {
    t.vhost("~v");
    let mut c = t.open_as(&Login::default().vhost(&format!("{}v", t.trace.prefix)));
    c.declare(1, "firehose", "exclusive");
    c.bind(1, "firehose", "amq.rabbitmq.trace", "#");
    trace(t, true);
    c
}

fn what_is_published_and_delivered_is_copied(t: &Scenario) {
    let mut c = watching(t);
    c.declare(1, "q", "exclusive");
    let headers = [("h", Value::Bool(true)), ("CC", Value::A(vec![text("copy")]))];
    let properties = Properties::new("delivery-mode=1 priority=3 app-id=a").headers(&headers);
    c.bind(1, "q", "amq.direct", "key");
    c.publish_with(1, "exchange=amq.direct key=key", &properties, "one");
    c.send(1, "basic.get queue=q no-ack");
    c.next("basic.get-ok").unwrap();
    c.consume(1, "firehose", "f", "no-ack");
    let wanted = "publish.amq.direct 'amq.direct' key,copy; CC,h of app_id,delivery_mode,headers,priority; to q; channel I1; one";
    c.expect_described(wanted, |incoming| {
        let properties = header(incoming, "properties").cloned();
        let Some(Value::F(properties)) = properties else { return "no properties".into() };
        let mut names: Vec<_> = properties.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        let headers = properties.iter().find(|(name, _)| name == "headers").map(|(_, value)| value.clone());
        let Some(Value::F(headers)) = headers else { return "no headers".into() };
        let mut inner: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
        inner.sort_unstable();
        format!(
            "{} '{}' {}; {} of {}; to {}; channel {}; {}",
            incoming.get("key"),
            shown(incoming, "exchange_name"),
            shown(incoming, "routing_keys"),
            inner.join(","),
            names.join(","),
            shown(incoming, "routed_queues"),
            shown(incoming, "channel").replace(['(', ')'], ""),
            String::from_utf8_lossy(&incoming.body),
        )
    });
    let wanted = "deliver.q 'amq.direct' key,copy; guest; redelivered I0; one";
    c.expect_described(wanted, |incoming| {
        format!(
            "{} '{}' {}; {}; redelivered {}; {}",
            incoming.get("key"),
            shown(incoming, "exchange_name"),
            shown(incoming, "routing_keys"),
            shown(incoming, "user"),
            shown(incoming, "redelivered").replace(['(', ')'], ""),
            String::from_utf8_lossy(&incoming.body),
        )
    });
    c.hang_up();
    t.forget(&["/api/vhosts/~v"]);
}

fn nothing_is_copied_once_it_is_off(t: &Scenario) {
    let mut c = watching(t);
    // A publish has no answer: what is called behind it has one.
    c.publish(1, "", "nowhere", "copied");
    c.call(1, "basic.qos", "basic.qos-ok");
    trace(t, false);
    c.call(1, "basic.qos", "basic.qos-ok");
    c.publish(1, "", "nowhere", "not copied");
    c.call(1, "basic.qos", "basic.qos-ok");
    trace(t, true);
    c.publish(1, "", "nowhere", "copied again");
    c.consume(1, "firehose", "f", "no-ack");
    for body in ["copied", "copied again"] {
        c.expect_described(body, |incoming| String::from_utf8_lossy(&incoming.body).into_owned());
    }
    c.hang_up();
    t.forget(&["/api/vhosts/~v"]);
}

/// Declares a queue for events of some kind and what is in the name.
fn listening(t: &Scenario, pattern: &str) -> Client {
    let mut c = t.open();
    c.declare(1, "~events", "exclusive");
    c.bind(1, "~events", "amq.rabbitmq.event", pattern);
    c.consume(1, "~events", "e", "no-ack");
    c
}

/// Receives events until one is of this name and key, and shows some of its headers.
fn expect_event(c: &mut Client, key: &str, name: (&str, &str), wanted: &[(&str, &str)]) -> Incoming {
    loop {
        let incoming = c.next(key).unwrap();
        if incoming.get("key") != key || shown(&incoming, name.0) != name.1 {
            continue;
        }
        assert_eq!(incoming.get("exchange"), "amq.rabbitmq.event");
        assert!(incoming.body.is_empty(), "an event has no body");
        assert_eq!(incoming.properties.get("delivery-mode"), "2");
        assert!(header(&incoming, "timestamp_in_ms").is_some());
        for (header, value) in wanted {
            assert_eq!(shown(&incoming, header), *value, "{key}: {header}");
        }
        return incoming;
    }
}

#[test]
fn what_happens_to_queues_exchanges_and_bindings_is_told() {
    run(|t| {
        let mut events = listening(t, "#");
        let mut c = t.open();
        let name = |short: &str| short.replace('~', &t.trace.prefix);
        c.declare_with(1, "~q", "durable", &[("x-note", text("n"))]);
        c.exchange(1, "~x", "topic auto-delete");
        c.bind(1, "~q", "~x", "a.*");
        c.publish(1, "", "~q", "one");
        c.call(1, "queue.purge queue=~q", "queue.purge-ok messages=1");
        c.consume(1, "~q", "tag", "no-ack");
        c.call(1, "basic.cancel tag=tag", "basic.cancel-ok tag=tag");
        c.call(1, "queue.delete queue=~q", "queue.delete-ok messages=0");
        let (queue, exchange) = (name("~q"), name("~x"));
        let by = [("vhost", "/"), ("user_who_performed_action", "guest"), ("peer_host", "127.0.0.1")];
        let wanted =
            [&by[..], &[("durable", "Bool(true)"), ("arguments", "x-note"), ("type", "classic")]].concat();
        expect_event(&mut events, "queue.created", ("name", &queue), &wanted);
        let wanted = [&by[..], &[("type", "topic"), ("auto_delete", "Bool(true)")]].concat();
        expect_event(&mut events, "exchange.created", ("name", &exchange), &wanted);
        let wanted = [("destination_name", &*queue), ("destination_kind", "queue"), ("routing_key", "a.*")];
        expect_event(&mut events, "binding.created", ("source_name", &exchange), &wanted);
        expect_event(&mut events, "queue.purged", ("name", &queue), &[("messages", "l(1)")]);
        expect_event(&mut events, "consumer.created", ("queue", &queue), &[("consumer_tag", "tag")]);
        expect_event(&mut events, "consumer.deleted", ("queue", &queue), &[("consumer_tag", "tag")]);
        expect_event(
            &mut events,
            "binding.deleted",
            ("source_name", &exchange),
            &[("destination_name", &*queue)],
        );
        expect_event(&mut events, "exchange.deleted", ("name", &exchange), &by);
        expect_event(&mut events, "queue.deleted", ("name", &queue), &by);
    });
}

#[test]
fn connections_and_channels_are_told() {
    run(|t| {
        let mut events = listening(t, "#");
        let user = t.trace.prefix.clone();
        t.user(&user, "", Some([".*", ".*", ".*"]));
        let mut c = t.open_as(&Login::user(&user));
        c.open_channel(7);
        c.close_channel(7);
        c.close();
        let login = [("auth_mechanism", "PLAIN"), ("protocol", "AMQP 0-9-1"), ("peer_host", "127.0.0.1")];
        expect_event(&mut events, "user.authentication.success", ("name", &user), &login);
        expect_event(
            &mut events,
            "connection.created",
            ("user", &user),
            &[("vhost", "/"), ("ssl", "Bool(false)")],
        );
        expect_event(&mut events, "channel.created", ("user", &user), &[("number", "l(1)")]);
        expect_event(&mut events, "channel.created", ("user", &user), &[("number", "l(7)")]);
        expect_event(&mut events, "channel.closed", ("user", &user), &[("number", "l(7)")]);
        expect_event(&mut events, "channel.closed", ("user", &user), &[("number", "l(1)")]);
        expect_event(&mut events, "connection.closed", ("user", &user), &[("vhost", "/")]);
        let mut refused = t.socket();
        refused.start();
        refused.start_ok(&Login { password: "wrong".into(), ..Login::user(&user) });
        expect_event(&mut events, "user.authentication.failure", ("name", &user), &login);
        t.forget(&[&format!("/api/users/{user}")]);
    });
}

#[test]
fn what_is_administered_is_told_and_who_did_it() {
    run(|t| {
        let mut events = listening(t, "#");
        let mut c = t.open();
        c.declare(1, "~q", "exclusive");
        let name = |short: &str| short.replace('~', &t.trace.prefix);
        let (vhost, user, policy, queue) = (name("~v"), name("~u"), name("~p"), name("~q"));
        let limits = "/api/vhost-limits/~v/max-queues";
        let rights = json!({"configure": "c", "write": "w", "read": "r"});
        t.set("/api/vhosts/~v", &json!({"description": "of a test", "tags": "a,b"}));
        t.set(limits, &json!({"value": 7}));
        t.set("/api/users/~u", &json!({"password": "p", "tags": "management"}));
        t.set("/api/users/~u", &json!({"password_hash": "", "tags": ""}));
        t.set("/api/permissions/~v/~u", &rights);
        t.set("/api/user-limits/~u/max-channels", &json!({"value": 3}));
        t.set("/api/policies/%2F/~p", &json!({"pattern": "^~", "definition": {"max-length": 9}}));
        t.set("/api/operator-policies/%2F/~p", &json!({"pattern": "^$", "definition": {"max-length": 9}}));
        t.set("/api/parameters/shovel/~v/~p", &json!({"value": {"src-uri": "amqp://"}}));
        t.set("/api/global-parameters/~p", &json!({"value": "g"}));
        t.forget(&[
            "/api/global-parameters/~p",
            "/api/parameters/shovel/~v/~p",
            "/api/operator-policies/%2F/~p",
            "/api/policies/%2F/~p",
            limits,
            "/api/user-limits/~u/max-channels",
            "/api/permissions/~v/~u",
            "/api/users/~u",
            "/api/vhosts/~v",
        ]);
        let vhost_is = ("vhost", &*vhost);
        let by = ("user_who_performed_action", "guest");
        let mut expect = |key: &str, name: (&str, &str), wanted: &[(&str, &str)]| {
            drop(expect_event(&mut events, key, name, &[wanted, &[by]].concat()));
        };
        expect("vhost.created", ("name", &vhost), &[("description", "of a test"), ("tags", "a,b")]);
        expect("permission.created", ("user", "guest"), &[vhost_is, ("configure", ".*")]);
        expect("vhost.limits.set", ("name", "limits"), &[vhost_is, ("max-queues", "l(7)")]);
        expect("user.created", ("name", &user), &[]);
        expect("user.tags.set", ("name", &user), &[("tags", "management")]);
        expect("user.password.cleared", ("name", &user), &[]);
        expect(
            "permission.created",
            ("user", &user),
            &[vhost_is, ("configure", "c"), ("write", "w"), ("read", "r")],
        );
        expect("user.limits.set", ("name", &user), &[("max-channels", "l(3)")]);
        let pattern = name("^~");
        expect(
            "policy.set",
            ("name", &policy),
            &[("vhost", "/"), ("pattern", &pattern), ("apply-to", "all"), ("priority", "l(0)")],
        );
        expect("queue.policy.updated", ("name", &queue), &[("vhost", "/"), ("policy", &policy)]);
        expect("operator.policy.set", ("name", &policy), &[("pattern", "^$")]);
        expect("parameter.set", ("name", &policy), &[vhost_is, ("component", "shovel")]);
        expect("parameter.set", ("name", &policy), &[("component", "global"), ("value", "g")]);
        expect("parameter.cleared", ("name", &policy), &[("component", "global")]);
        expect("parameter.cleared", ("name", &policy), &[vhost_is, ("component", "shovel")]);
        expect("operator.policy.cleared", ("name", &policy), &[("vhost", "/")]);
        expect("policy.cleared", ("name", &policy), &[("vhost", "/")]);
        expect("queue.policy.cleared", ("name", &queue), &[("vhost", "/")]);
        expect("vhost.limits.cleared", ("name", "limits"), &[vhost_is]);
        expect("user.limits.cleared", ("name", &user), &[]);
        expect("permission.deleted", ("user", &user), &[vhost_is]);
        expect("user.deleted", ("name", &user), &[]);
        expect("vhost.deleted", ("name", &vhost), &[]);
    });
}

#[test]
fn log_lines_are_published_where_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let process = Process::start_with(&directory.path().join("data"), &[("WARREN_LOG_EXCHANGE", "true")]);
    let t = Scenario::new(process.target, true);
    let mut c = t.open();
    c.declare(1, "log", "exclusive");
    c.bind(1, "log", "amq.rabbitmq.log", "info");
    c.consume(1, "log", "l", "no-ack");
    let other = t.open();
    loop {
        let line = c.next("a log line").unwrap();
        assert_eq!(line.get("key"), "info");
        if String::from_utf8_lossy(&line.body).starts_with("connection opened") {
            break;
        }
    }
    drop(other);
    process.stop();
}

#[test]
fn an_exchange_with_a_history_keeps_events_for_who_comes_later() {
    run(|t| {
        let mut c = t.open();
        c.call_with(
            1,
            "exchange.declare exchange=~x type=x-recent-history",
            &[("x-recent-history-length", Value::I(1))],
            "exchange.declare-ok",
        );
        c.call(
            1,
            "exchange.bind destination=~x source=amq.rabbitmq.event key=queue.deleted",
            "exchange.bind-ok",
        );
        // It says when the events are out.
        let mut watcher = t.open();
        watcher.declare(1, "~watch", "exclusive");
        watcher.bind(1, "~watch", "amq.rabbitmq.event", "queue.deleted");
        watcher.consume(1, "~watch", "w", "no-ack");
        for queue in ["~one", "~two"] {
            c.declare(1, queue, "exclusive");
            c.call(1, &format!("queue.delete queue={queue}"), "queue.delete-ok messages=0");
        }
        let name = format!("{}two", t.trace.prefix);
        while shown(&watcher.receive("basic.deliver"), "name") != name {}
        c.declare(1, "~late", "exclusive");
        c.bind(1, "~late", "~x", "");
        c.send(1, "basic.get queue=~late no-ack");
        // Other tests delete queues, too.
        let kept = c.receive("basic.get-ok");
        assert_eq!(kept.get("key"), "queue.deleted");
        c.call(1, "exchange.delete exchange=~x", "exchange.delete-ok");
    });
}

scenarios![what_is_published_and_delivered_is_copied, nothing_is_copied_once_it_is_off];
