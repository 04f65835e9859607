//! Rates, samples and events over HTTP. The clock is the test's.

use super::*;
use crate::counts::ChannelCounts;
use crate::management::statistics::Sampler;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

/// When the first sample is taken.
const START_MS: u64 = 1_800_000_000_000;

/// An API whose samples are taken when the test says so, five seconds apart.
struct Sampled {
    api: Api,
    sampler: Sampler,
    now_ms: u64,
}

impl Sampled {
    fn start() -> Sampled {
        let mut sampled = Sampled { api: Api::start(), sampler: Sampler::default(), now_ms: START_MS };
        assert_eq!(sampled.api.put("/queues/%2F/q", json!({"durable": true})), created());
        sampled.pass();
        sampled
    }

    /// Five seconds go by.
    fn pass(&mut self) {
        self.sampler.take(&self.api.node, self.now_ms);
        self.now_ms += 5_000;
    }

    fn publish(&self, exchange: &str, count: usize) {
        let message =
            json!({"properties": {}, "routing_key": "q", "payload": "m", "payload_encoding": "string"});
        for _ in 0..count {
            let path = format!("/exchanges/%2F/{exchange}/publish");
            assert_eq!(self.api.post(&path, message.clone()).0, 200);
        }
    }

    fn get(&self, path: &str) -> Value {
        let Got(status, value) = self.api.get(path);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    /// Watches as a user, and waits until it is let in.
    fn watch(&self, login: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.api.base.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let login = BASE64_STANDARD.encode(login);
        let ask = format!(
            "GET /api/live HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Basic {login}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).unwrap();
        let mut answer = BufReader::new(stream);
        let mut line = String::new();
        answer.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 200 OK\r\n");
        answer
    }
}

#[test]
fn what_is_forgotten_is_sampled_anew_and_what_was_counted_stays() {
    let mut sampled = Sampled::start();
    sampled.publish("amq.default", 10);
    sampled.pass();
    let rate =
        |sampled: &Sampled| sampled.get("/queues/%2F/q")["message_stats"]["publish_details"]["rate"].clone();
    assert_eq!(rate(&sampled), json!(2.0));
    assert_eq!(sampled.api.delete("/reset"), done());
    assert_eq!(rate(&sampled), json!(0.0));
    sampled.pass();
    assert_eq!(sampled.get("/vhosts/%2F")["message_stats"]["publish"], json!(10), "once, not twice");
    sampled.publish("amq.default", 5);
    sampled.pass();
    assert_eq!(rate(&sampled), json!(1.0));
    assert_eq!(sampled.get("/vhosts/%2F")["message_stats"]["publish"], json!(15));
    assert_eq!(sampled.api.delete("/reset/warren@test"), done());
    assert_eq!(sampled.api.delete("/reset/nobody"), not_found());
    assert_eq!(sampled.api.as_user("guest:x", "DELETE", "/reset", Value::Null).0, 401);
}

#[test]
fn a_vhost_tells_what_publishers_were_told() {
    let mut sampled = Sampled::start();
    sampled.publish("amq.fanout", 10);
    sampled.pass();
    let stats = sampled.get("/vhosts/%2F")["message_stats"].clone();
    assert_eq!((&stats["publish"], &stats["return_unroutable"]), (&json!(10), &json!(10)));
    assert_eq!(stats["return_unroutable_details"], json!({"rate": 2.0}));
    assert_eq!((&stats["drop_unroutable"], &stats["confirm"]), (&json!(0), &json!(0)));
    let of_exchange = sampled.get("/exchanges/%2F/amq.fanout")["message_stats"].clone();
    let names: Vec<&String> = of_exchange.as_object().unwrap().keys().collect();
    assert_eq!(names, ["publish_in", "publish_in_details", "publish_out", "publish_out_details"]);
}

#[test]
fn queues_and_channels_tell_since_when_nothing_happens() {
    let mut sampled = Sampled::start();
    let _outbox = sampled.api.connect("guest", 1001);
    let channel = "/channels/127.0.0.1:1001%20-%3E%20127.0.0.1:5672%20(1)";
    let idle = |sampled: &Sampled, path: &str| sampled.get(path)["idle_since"].clone();
    sampled.publish("amq.default", 1);
    sampled.pass();
    assert_eq!(idle(&sampled, "/queues/%2F/q"), Value::Null, "it came just now");
    sampled.pass();
    assert_eq!(idle(&sampled, "/queues/%2F/q"), json!("2027-01-15T08:00:05.000+00:00"));
    assert_eq!(idle(&sampled, channel), json!("2027-01-15T08:00:05.000+00:00"));
    let listed = sampled.get("/queues?columns=idle_since");
    assert_eq!(listed, json!([{"idle_since": "2027-01-15T08:00:05.000+00:00"}]));
}

/// The next event: its name and its JSON.
fn next_event(answer: &mut impl BufRead) -> Option<(String, Value)> {
    let mut name = None;
    for line in answer.lines() {
        let line = line.unwrap();
        if let Some(event) = line.strip_prefix("event: ") {
            name = Some(event.to_owned());
        }
        if let (Some(name), Some(data)) = (&name, line.strip_prefix("data: ")) {
            return Some((name.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    None
}

#[test]
fn rates_are_those_of_the_last_interval() {
    let mut sampled = Sampled::start();
    sampled.publish("amq.default", 10);
    sampled.publish("amq.topic", 5);
    let queue = sampled.get("/queues/%2F/q");
    assert_eq!(
        (&queue["message_stats"]["publish"], &queue["message_stats"]["publish_details"]),
        (&json!(10), &json!({"rate": 0.0})),
        "counted at once, and no rate before the next sample"
    );
    sampled.pass();
    for path in ["/queues/%2F/q", "/queues/%2F?columns=message_stats,messages_details,messages_ready_details"]
    {
        let answer = sampled.get(path);
        let queue = answer.get(0).unwrap_or(&answer);
        assert_eq!(queue["message_stats"]["publish_details"], json!({"rate": 2.0}), "{path}");
        assert_eq!(queue["messages_details"], json!({"rate": 2.0}), "{path}");
        assert_eq!(queue["messages_ready_details"], json!({"rate": 2.0}), "{path}");
    }
    let overview = sampled.get("/overview");
    assert_eq!(overview["message_stats"]["publish_details"], json!({"rate": 3.0}));
    assert_eq!(overview["message_stats"]["return_unroutable_details"], json!({"rate": 1.0}));
    assert_eq!(overview["queue_totals"]["messages_details"], json!({"rate": 2.0}));
    assert_eq!(sampled.api.put("/vhosts/empty", Value::Null), created());
    sampled.api.exists("outsider", "management", false);
    let all = json!({"configure": "", "write": "", "read": ""});
    assert_eq!(sampled.api.put("/permissions/empty/outsider", all), created());
    let Got(200, overview) = sampled.api.as_user("outsider:p", "GET", "/overview", Value::Null) else {
        panic!()
    };
    assert_eq!(overview["message_stats"], json!({}), "nothing of vhosts that it may not see");
    let exchange = sampled.get("/exchanges/%2F/amq.topic");
    assert_eq!(exchange["message_stats"]["publish_in_details"], json!({"rate": 1.0}));
    let vhost = sampled.get("/vhosts/%2F");
    assert_eq!(vhost["message_stats"]["publish"], json!(15));
    assert_eq!(vhost["message_stats"]["publish_details"], json!({"rate": 3.0}));
    assert_eq!(sampled.api.delete("/queues/%2F/q/contents"), done());
    sampled.pass();
    let queue = sampled.get("/queues/%2F/q");
    assert_eq!(queue["messages_details"], json!({"rate": -2.0}), "a length may fall");
    assert_eq!(queue["message_stats"]["publish_details"], json!({"rate": 0.0}));
}

#[test]
fn a_channel_has_its_own_rates() {
    let mut sampled = Sampled::start();
    let outbox = sampled.api.connect("guest", 4002);
    let connection = sampled.api.broker.connections.get(outbox.connection).unwrap();
    sampled.pass();
    let counts =
        ChannelCounts { published: 20, confirmed: 10, delivered: 3, got_ack: 2, ..Default::default() };
    connection.channels.lock()[0].counts = counts;
    sampled.pass();
    let channel = &sampled.get("/channels")[0];
    let stats = &channel["message_stats"];
    assert_eq!((&stats["publish"], &stats["publish_details"]), (&json!(20), &json!({"rate": 4.0})));
    assert_eq!((&stats["confirm"], &stats["confirm_details"]), (&json!(10), &json!({"rate": 2.0})));
    assert_eq!(
        (&stats["deliver_get"], &stats["get"], &stats["deliver_no_ack"]),
        (&json!(5), &json!(2), &json!(3))
    );
}

#[test]
fn samples_are_told_of_the_span_that_is_asked_for() {
    let mut sampled = Sampled::start();
    for count in [1, 2, 3] {
        sampled.publish("amq.default", count);
        sampled.pass();
    }
    let spans = "msg_rates_age=10&msg_rates_incr=5&lengths_age=60&lengths_incr=10";
    let queue = sampled.get(&format!("/queues/%2F/q?{spans}"));
    let at = |back: u64| START_MS + 15_000 - back;
    assert_eq!(
        queue["message_stats"]["publish_details"],
        json!({
            "rate": 0.6, "avg": 10.0 / 3.0, "avg_rate": 0.5,
            "samples": [
                {"sample": 6, "timestamp": at(0)}, {"sample": 3, "timestamp": at(5_000)}, {"sample": 1, "timestamp": at(10_000)},
            ],
        })
    );
    assert_eq!(
        queue["messages_details"]["samples"],
        json!([{"sample": 3, "timestamp": at(5_000)}, {"sample": 0, "timestamp": at(15_000)}]),
        "on the grid that is asked for, and none from before the queue was there"
    );
    let vhost = sampled.get(&format!("/vhosts/%2F?{spans}"));
    assert_eq!(vhost["message_stats"]["publish_details"]["samples"][0]["sample"], json!(6));
    let node = sampled.get("/nodes?node_stats_age=10&node_stats_incr=5");
    assert_eq!(node[0]["mem_used_details"]["samples"].as_array().unwrap().len(), 3);
}

#[test]
fn spans_that_make_no_sense_are_refused() {
    let api = Api::start();
    let many = "lengths_incr must be 1 or more, and give 2000 samples at most";
    for (query, reason) in [
        ("lengths_age=a&lengths_incr=5", "lengths_age must be a number of seconds"),
        ("lengths_age=60&lengths_incr=0", many),
        ("lengths_age=86400&lengths_incr=1", many),
    ] {
        for path in ["queues", "overview", "exchanges", "connections", "vhosts", "nodes"] {
            assert_eq!(api.get(&format!("/{path}?{query}")), bad(reason));
        }
    }
    assert_eq!(api.get("/overview?lengths_age=60").0, 200, "as RabbitMQ, half a span is none");
}

#[test]
fn what_is_gone_is_forgotten_and_what_it_counted_is_not() {
    let mut sampled = Sampled::start();
    sampled.publish("amq.default", 10);
    sampled.pass();
    let got = json!({"count": 4, "ackmode": "ack_requeue_false", "encoding": "auto"});
    assert_eq!(sampled.api.post("/queues/%2F/q/get", got).0, 200);
    sampled.pass();
    assert_eq!(sampled.api.delete("/queues/%2F/q"), done());
    sampled.pass();
    let vhost = sampled.get("/vhosts/%2F");
    assert_eq!(vhost["message_stats"]["get"], json!(4));
    assert_eq!(vhost["message_stats"]["get_details"], json!({"rate": 0.0}), "and does not fall");
    assert_eq!(vhost["messages_details"], json!({"rate": -1.2}));
    assert_eq!(sampled.get("/overview")["message_stats"]["get"], json!(4));
    assert_eq!(sampled.api.node.statistics.queue_count(), 0);
}

#[test]
fn lists_without_statistics_have_what_tells_the_queues_and_their_totals_if_asked_for() {
    let sampled = Sampled::start();
    sampled.publish("amq.default", 1);
    let queue = &sampled.get("/queues/%2F?disable_stats=true")[0];
    assert_eq!(
        (&queue["name"], &queue["type"], &queue["state"]),
        (&json!("q"), &json!("classic"), &json!("running"))
    );
    assert!(queue.get("messages").is_none() && queue.get("message_stats").is_none(), "{queue}");
    let queue = &sampled.get("/queues?disable_stats=true&enable_queue_totals=true")[0];
    assert_eq!((&queue["messages"], &queue["messages_ready"]), (&json!(1), &json!(1)));
    assert!(queue.get("messages_details").is_none() && queue.get("consumers").is_none(), "{queue}");
    let queue = &sampled.get("/queues?disable_stats=true&columns=name,messages")[0];
    assert_eq!(*queue, json!({"name": "q"}));
}

#[test]
fn queues_are_sorted_by_their_rates() {
    let mut sampled = Sampled::start();
    for name in ["a", "z"] {
        assert_eq!(sampled.api.put(&format!("/queues/%2F/{name}"), json!({"durable": true})), created());
    }
    sampled.pass();
    sampled.publish("amq.default", 3);
    sampled.pass();
    let page = "page=1&page_size=1&sort=message_stats.publish_details.rate&sort_reverse=true&columns=name";
    assert_eq!(sampled.get(&format!("/queues?{page}"))["items"], json!([{"name": "q"}]));
}

#[test]
fn who_watches_is_sent_the_same_after_each_sample() {
    let mut sampled = Sampled::start();
    let mut watchers = [sampled.watch("guest:guest"), sampled.watch("guest:guest")];
    sampled.publish("amq.default", 5);
    sampled.pass();
    let [first, second] = watchers.each_mut().map(|answer| [next_event(answer), next_event(answer)]);
    assert_eq!(first, second);
    let [Some((overview, node)), Some((kind, vhost))] = first else { panic!("{first:?}") };
    assert_eq!((overview.as_str(), kind.as_str()), ("overview", "vhost"));
    assert_eq!(node["message_stats"]["publish_details"], json!({"rate": 1.0}));
    assert_eq!((&node["queue_totals"]["messages"], &node["object_totals"]["queues"]), (&json!(5), &json!(1)));
    assert!(node["node"]["mem_used"].as_u64().unwrap() > 0);
    assert_eq!((&vhost["vhost"], &vhost["timestamp"]), (&json!("/"), &json!(START_MS + 5_000)));
}

#[test]
fn who_watches_sees_no_more_than_it_may_and_nothing_once_it_is_gone() {
    let mut sampled = Sampled::start();
    assert_eq!(sampled.api.put("/vhosts/other", Value::Null), created());
    sampled.api.exists("u", "management", true);
    let mut answer = sampled.watch("u:p");
    sampled.pass();
    let Some((kind, vhost)) = next_event(&mut answer) else { panic!("nothing came") };
    assert_eq!((kind.as_str(), &vhost["vhost"]), ("vhost", &json!("/")));
    assert_eq!(sampled.api.delete("/permissions/%2F/u"), done());
    sampled.pass();
    assert_eq!(sampled.api.delete("/users/u"), done());
    sampled.pass();
    assert_eq!(
        next_event(&mut answer),
        None,
        "neither after the permission was taken, nor after the user was"
    );
    assert_eq!(sampled.api.as_user("", "GET", "/live", Value::Null).0, 401);
}

#[test]
fn a_long_list_comes_whole() {
    let api = Api::start();
    let session = api.broker.enter_as_administrator(&Default::default(), &"/".into()).unwrap();
    for number in 0..1_200 {
        let declare = crate::broker::declare::DeclareQueue {
            name: format!("q{number:04}").as_str().into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: Default::default(),
        };
        drop(api.broker.declare_queue(&session, declare).unwrap());
    }
    let Got(200, all) = api.get("/queues?columns=name") else { panic!("no list") };
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|queue| queue["name"].as_str().unwrap()).collect();
    assert_eq!((names.len(), names[0], names[1_199]), (1_200, "q0000", "q1199"));
    assert!(names.is_sorted());
}
