//! Layering, lists, and every kind of problem.

use super::*;
use crate::durability::Durability;
use std::collections::HashSet;
use std::path::Path;

fn load(file: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.conf");
    std::fs::write(&path, file).unwrap();
    let flags = Flags { config: Some(path), ..flags.clone() };
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Configuration::load(&flags, environment).map(|configuration| configuration.config)
}

/// The problems as texts, without the temporary directory.
fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = load(file, environment, &Flags::default()).unwrap_err();
    let start = |text: &str| text.rfind("/warren.conf").map_or(0, |at| at + 1);
    error.to_string().lines().map(|line| line[start(line)..].to_owned()).collect()
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = Config::default();
    assert_eq!(config.data_dir, Path::new("./warren-data"));
    assert_eq!(config.amqp_listen, addresses(&["[::]:5672"]));
    assert_eq!(config.management_listen.to_string(), "[::]:15672");
    assert_eq!(config.prometheus_listen.to_string(), "[::]:15692");
    assert_eq!((config.prometheus_path.as_str(), config.prometheus_is_per_object), ("/metrics", false));
    assert_eq!((config.heartbeat_s, config.frame_max, config.channel_max), (60, 131_072, 2047));
    assert_eq!(config.handshake_timeout, Duration::from_secs(10));
    assert_eq!(config.max_message_size, 16_777_216);
    assert_eq!(config.loopback_users, BTreeSet::from(["guest".to_owned()]));
    assert_eq!((config.default_user.as_str(), config.default_pass.0.as_str()), ("guest", "guest"));
    assert_eq!(config.default_vhost, "/");
    assert_eq!(config.default_user_tags, BTreeSet::from(["administrator".to_owned()]));
    assert_eq!(config.default_permissions.configure, ".*");
    assert_eq!(config.memory_high_watermark_relative, 0.6);
    assert_eq!(config.memory_high_watermark_absolute, None);
    assert_eq!(config.disk_free_limit_bytes, Some(50_000_000));
    assert_eq!((config.log.level, config.log.console, &config.log.file), (None, true, &None));
    assert_eq!(config.auth_mechanisms, ["PLAIN", "AMQPLAIN"]);
    assert_eq!(config.rules.consumer_timeout_ms, Some(1_800_000));
    assert_eq!(config.cluster_name, None);
}

#[test]
fn every_setting_has_a_meaning_a_unit_and_a_valid_default() {
    let mut keys = HashSet::new();
    for setting in settings::all() {
        assert!(keys.insert(setting.key), "{} twice", setting.key);
        assert!(!setting.doc.is_empty() && !setting.unit.is_empty(), "{}", setting.key);
        let Some((key, value)) = setting.default_assignment() else { continue };
        let mut config = Config::default();
        let (found, name) = setting::find(&key).unwrap();
        assert_eq!(found.key, setting.key);
        assert_eq!((found.set)(&mut config, name, value), Ok(()), "{key}");
    }
}

#[test]
fn a_file_in_rabbitmqs_format_sets_every_setting() {
    let file = "
        # a usual rabbitmq.conf
        data_dir = /var/lib/warren
        listeners.tcp.default = 5673
        listeners.tcp.local   = 127.0.0.1:5674
        management.tcp.port = 8080
        management.tcp.ip = 127.0.0.1
        management.http.max_body_size = 1MiB
        management.restrictions.operator_policy_changes.disabled = true
        prometheus.tcp.port = 9090
        prometheus.tcp.ip = ::1
        prometheus.path = /own/metrics
        prometheus.return_per_object_metrics = true
        handshake_timeout = 5000
        heartbeat = 0
        frame_max = 4096
        max_channels_per_connection = 100
        max_message_size = 1048576
        default_user = alice
        default_pass = 'p#ss'
        default_vhost = shop
        default_user_tags.management = true
        default_user_tags.administrator = false
        default_permissions.configure = ^shop
        default_permissions.write = .*
        default_permissions.read = ''
        loopback_users = none
        vm_memory_high_watermark.relative = 0.4
        vm_memory_high_watermark.absolute = 2GB
        memory_monitor_interval = 100
        collect_statistics_interval = 10000
        opentelemetry.otlp.endpoint = http://127.0.0.1:4318
        management_agent.disable_metrics_collector = true
        disk_free_limit.absolute = 1GiB
        message_memory_limit = 64MiB
        durability = interval(250)
        log.console.level = debug
        management.load_definitions = /etc/warren/definitions.json
        cluster_name = warren@home # of rabbits
    ";
    let config = load(file, &[], &Flags::default()).unwrap();
    assert_eq!(
        config,
        Config {
            data_dir: "/var/lib/warren".into(),
            amqp_listen: addresses(&["[::]:5673", "127.0.0.1:5674"]),
            management_listen: "127.0.0.1:8080".parse().unwrap(),
            prometheus_listen: "[::1]:9090".parse().unwrap(),
            prometheus_path: "/own/metrics".into(),
            prometheus_is_per_object: true,
            heartbeat_s: 0,
            frame_max: 4096,
            channel_max: 100,
            handshake_timeout: Duration::from_secs(5),
            max_message_size: 1 << 20,
            loopback_users: BTreeSet::new(),
            default_user: "alice".into(),
            default_pass: Secret("p#ss".into()),
            default_vhost: "shop".into(),
            default_user_tags: BTreeSet::from(["management".to_owned()]),
            default_permissions: Permissions {
                configure: "^shop".into(),
                write: ".*".into(),
                read: String::new()
            },
            memory_high_watermark_relative: 0.4,
            memory_high_watermark_absolute: Some(2_000_000_000),
            disk_free_limit_bytes: Some(1 << 30),
            message_memory_limit_bytes: 64 << 20,
            durability: Durability::Interval(250),
            memory_monitor_interval: Duration::from_millis(100),
            otlp_endpoint: Some("http://127.0.0.1:4318".into()),
            statistics_interval: Duration::from_secs(10),
            statistics_are_off: true,
            log: Logging { console_level: Some(LogLevel::Debug), ..Config::default().log },
            load_definitions: Some("/etc/warren/definitions.json".into()),
            cluster_name: Some("warren@home".into()),
            management_body_bytes_max: 1 << 20,
            operator_policies_are_fixed: true,
            ..Config::default()
        }
    );
}

#[test]
fn flags_override_the_environment_and_the_environment_the_file() {
    let file = "heartbeat = 10\nframe_max = 8192\ndata_dir = file\nlisteners.tcp.1 = 1\nlisteners.tcp.2 = 2";
    let environment = [("WARREN_FRAME_MAX", "65536"), ("WARREN_DATA_DIR", "env"), ("HOME", "/root")];
    let flags = Flags { data_dir: Some("flag".into()), listen: vec!["3".into()], ..Flags::default() };
    let config = load(file, &environment, &flags).unwrap();
    assert_eq!(config.heartbeat_s, 10);
    assert_eq!(config.frame_max, 65536);
    assert_eq!(config.data_dir, Path::new("flag"));
    assert_eq!(config.amqp_listen, addresses(&["[::]:3"]));
}

#[test]
fn lists_can_be_set_by_variables() {
    let environment = [
        ("WARREN_LISTENERS_TCP_DEFAULT", "127.0.0.1:0"),
        ("WARREN_LOOPBACK_USERS", "none"),
        ("WARREN_LOG_LEVEL", "none"),
    ];
    let config = load("", &environment, &Flags::default()).unwrap();
    assert_eq!(config.amqp_listen, addresses(&["127.0.0.1:0"]));
    assert_eq!(config.loopback_users, BTreeSet::new());
    assert_eq!(config.log.level, Some(LogLevel::Off));
}

#[test]
fn listen_flags_take_a_port_or_an_address() {
    let flags = Flags {
        management_listen: Some("127.0.0.1:0".into()),
        prometheus_listen: Some("1234".into()),
        ..Flags::default()
    };
    let config = load("", &[], &flags).unwrap();
    assert_eq!(config.management_listen.to_string(), "127.0.0.1:0");
    assert_eq!(config.prometheus_listen.to_string(), "[::]:1234");
}

#[test]
fn the_last_line_for_a_key_counts() {
    let config = load("listeners.tcp.1 = 1\nlisteners.tcp.1 = 2", &[], &Flags::default()).unwrap();
    assert_eq!(config.amqp_listen, addresses(&["[::]:2"]));
}

#[test]
fn listeners_and_loopback_users_can_be_turned_off_and_replaced() {
    let config = load("listeners.tcp = none\nloopback_users.alice = true", &[], &Flags::default()).unwrap();
    assert_eq!(config.amqp_listen, []);
    assert_eq!(config.loopback_users, BTreeSet::from(["alice".to_owned()]));
    let config = load("loopback_users.guest = false", &[], &Flags::default()).unwrap();
    assert_eq!(config.loopback_users, BTreeSet::new());
}

#[test]
fn the_variables_of_rabbitmqs_container_count_unless_ours_say_otherwise() {
    let environment = [
        ("WARREN_DEFAULT_USER", "bob"),
        ("RABBITMQ_DEFAULT_USER", "alice"),
        ("RABBITMQ_DEFAULT_PASS", "secret"),
        ("RABBITMQ_DEFAULT_VHOST", "shop"),
        ("RABBITMQ_NODENAME", "rabbit@host"),
    ];
    let config = load("default_pass = file", &environment, &Flags::default()).unwrap();
    assert_eq!(config.default_user, "bob");
    assert_eq!(config.default_pass, Secret("secret".into()));
    assert_eq!(config.default_vhost, "shop");
}

#[test]
fn every_problem_is_told_with_its_place() {
    let file = "heartbeet = 10\nheartbeat = soon\n\nmax_message_size = 1GB\nnonsense\n";
    let environment = [("WARREN_DATADIR", "x"), ("WARREN_CHANNEL_MAX", "70000")];
    assert_eq!(
        problems(file, &environment),
        [
            "warren.conf:1: unknown setting heartbeet; the nearest known one is heartbeat",
            "warren.conf:2: heartbeat: \"soon\" is no integer from 0 to 65535",
            "warren.conf:4: max_message_size: at most 536870912",
            "warren.conf:5: expected `key = value`",
            "environment variable WARREN_DATADIR: unknown setting; the nearest known one is WARREN_DATA_DIR",
            "environment variable WARREN_CHANNEL_MAX: channel_max: \"70000\" is no integer from 0 to 65535",
        ]
    );
}

#[test]
fn the_variables_that_kubernetes_makes_for_a_service_are_passed_over() {
    let environment = [
        ("WARREN_SERVICE_HOST", "10.0.0.1"),
        ("WARREN_PORT", "tcp://10.0.0.1:5672"),
        ("WARREN_PORT_5672_TCP", "x"),
    ];
    assert_eq!(load("", &environment, &Flags::default()), Ok(Config::default()));
}

#[test]
fn a_file_that_is_not_there_is_a_problem_and_the_environment_can_name_it() {
    let environment = [("WARREN_CONFIG_FILE".to_owned(), "/nowhere/warren.conf".to_owned())];
    let error = Configuration::load(&Flags::default(), environment).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/warren.conf: cannot read the configuration file: "),
        "{error}"
    );
}

#[test]
fn what_a_layer_sets_counts_before_what_means_the_same_in_those_below() {
    let file =
        "vm_memory_high_watermark.absolute = 1GB\ndisk_free_limit.absolute = 1GB\nlisteners.tcp = none";
    let environment = [
        ("WARREN_VM_MEMORY_HIGH_WATERMARK_RELATIVE", "0.5"),
        ("WARREN_DISK_FREE_LIMIT_RELATIVE", "1.5"),
        ("WARREN_LOOPBACK_USERS_ALICE", "true"),
    ];
    let flags = Flags { listen: vec!["3".into()], ..Flags::default() };
    let config = load(file, &environment, &flags).unwrap();
    assert_eq!(config.memory_high_watermark_absolute, None);
    assert_eq!((config.disk_free_limit_bytes, config.disk_free_limit_relative), (None, Some(1.5)));
    assert_eq!(config.amqp_listen, addresses(&["[::]:3"]));
    assert_eq!(config.loopback_users, BTreeSet::from(["alice".to_owned()]));
    // Of both in one layer the absolute one counts, as in RabbitMQ.
    let both = "vm_memory_high_watermark.relative = 0.5\nvm_memory_high_watermark.absolute = 1GB";
    let config = load(both, &[], &Flags::default()).unwrap();
    assert_eq!(config.memory_high_watermark_absolute, Some(1_000_000_000));
}

#[test]
fn the_other_variables_of_rabbitmqs_container_are_obeyed_or_told() {
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::write(&secret, "from a file\n").unwrap();
    let secret = secret.display().to_string();
    let environment = [
        ("RABBITMQ_NODENAME", "rabbit"),
        ("RABBITMQ_NODE_IP_ADDRESS", "::1"),
        ("RABBITMQ_NODE_PORT", "5673"),
        ("RABBITMQ_LOGS", "/tmp/rabbit.log"),
        ("RABBITMQ_DEFAULT_PASS_FILE", &secret),
        ("WARREN_ANONYMOUS_LOGIN_PASS_FILE", &secret),
        ("RABBITMQ_SERVICE_HOST", "10.0.0.1"),
    ];
    let config = load("", &environment, &Flags::default()).unwrap();
    assert_eq!(config.node_name.as_deref(), Some("rabbit"));
    assert_eq!(config.amqp_listen, addresses(&["[::1]:5673"]));
    assert_eq!(config.log.file.as_deref(), Some(Path::new("/tmp/rabbit.log")));
    assert_eq!(config.default_pass, Secret("from a file".into()));
    assert_eq!(config.anonymous_login_pass, Secret("from a file".into()));
    let told = [
        ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-x"),
        ("RABBITMQ_ERLANG_COOKIE", "secret"),
        ("RABBITMQ_PORT_5672_TCP", "x"),
        ("RABBITMQ_DATA_DIR", "/var/lib/rabbitmq"),
    ];
    let environment = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let configuration = Configuration::load(&Flags::default(), environment).unwrap();
    let found: Vec<_> =
        configuration.notices().map(|finding| (finding.origin.to_string(), finding.verdict)).collect();
    let variable = |name: &str| format!("environment variable {name}");
    assert_eq!(
        found,
        [
            (variable("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"), Verdict::Ignored),
            (variable("RABBITMQ_ERLANG_COOKIE"), Verdict::Warning),
            (variable("RABBITMQ_DATA_DIR"), Verdict::Ignored),
        ]
    );
    let found = problems("", &[("RABBITMQ_SSL_CERTFILE", "x"), ("WARREN_DEFAULT_PASS_FILE", "/nowhere/x")]);
    assert!(found[0].starts_with("environment variable RABBITMQ_SSL_CERTFILE: there is no TLS"), "{found:?}");
    assert!(found[1].starts_with("environment variable WARREN_DEFAULT_PASS_FILE: cannot read /nowhere/x: "));
}

#[test]
fn what_would_shut_clients_out_or_let_everybody_in_is_an_error() {
    for (file, expected) in [
        (
            "listeners.tcp = none\nlisteners.ssl.default = 5671",
            "warren.conf:1: listeners.tcp: plain listeners are off",
        ),
        ("auth_mechanisms.1 = EXTERNAL", "warren.conf:1: auth_mechanisms.1: none of the ways to log in"),
        (
            "default_pass = encrypted:abc",
            "warren.conf:1: default_pass: encrypted values cannot be read here.",
        ),
        ("default_queue_type = stream", "warren.conf:1: default_queue_type: \"stream\" is none of"),
    ] {
        let found = problems(file, &[]);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
    let config = load("auth_mechanisms.1 = PLAIN\nauth_mechanisms.2 = EXTERNAL", &[], &Flags::default());
    assert_eq!(config.unwrap().auth_mechanisms, ["PLAIN"]);
}

#[test]
fn a_line_that_another_overrides_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.conf");
    std::fs::write(&path, "channel_max = 1\nheartbeat = 1\nmax_channels_per_connection = 2\n").unwrap();
    let (findings, _) = Configuration::check(&path);
    let found: Vec<_> = findings.iter().map(|finding| (finding.verdict, finding.text.as_str())).collect();
    let later = format!("set again at {}:3, which counts", path.display());
    assert_eq!(
        found,
        [(Verdict::Ignored, later.as_str()), (Verdict::Fine, ""), (Verdict::Fine, "")],
        "by line"
    );
}

/// What people have.
#[test]
fn a_usual_rabbitmq_conf_works() {
    let file = "
        listeners.tcp.default = 5672
        listeners.tcp.2 = 127.0.0.1:5673
        num_acceptors.tcp = 10
        reverse_dns_lookups = true
        loopback_users.guest = false
        auth_backends.1 = internal
        auth_mechanisms.1 = PLAIN
        auth_mechanisms.2 = AMQPLAIN
        password_hashing_module = rabbit_password_hashing_sha256
        channel_max = 0
        heartbeat = 600
        frame_max = 131072
        tcp_listen_options.backlog = 128
        tcp_listen_options.nodelay = true
        tcp_listen_options.exit_on_close = false
        vm_memory_high_watermark.relative = 0.4
        vm_memory_high_watermark_paging_ratio = 0.5
        disk_free_limit.absolute = 2GB
        cluster_partition_handling = ignore
        cluster_formation.peer_discovery_backend = rabbit_peer_discovery_classic_config
        cluster_formation.classic_config.nodes.1 = rabbit@hostname1
        collect_statistics_interval = 5000
        queue_master_locator = client-local
        default_users.monitor.vhost_pattern = ^prod
        default_users.monitor.tags = monitoring, management
        default_policies.operator.1.vhost_pattern = ^prod
        default_policies.operator.1.message_ttl = 1d
        default_limits.vhosts.1.pattern = ^prod
        default_limits.vhosts.1.max_queues = 100
        management.rates_mode = basic
        management.cors.allow_origins.1 = https://origin1.org
        log.file.level = info
        log.console = true
        log.console.level = info
        log.file.rotation.date = $D0
        log.file.rotation.size = 10485760
        raft.wal_max_size_bytes = 67108864
        deprecated_features.permit.transient_nonexcl_queues = true
    ";
    let config = load(file, &[], &Flags::default()).unwrap();
    assert_eq!((config.channel_max, config.heartbeat_s, config.sockets.backlog), (0, 600, 128));
    let new = &config.rules.new_vhosts;
    assert_eq!(new.users["monitor"].tags, ["monitoring", "management"]);
    assert_eq!(new.operator_policies["1"].definition["message-ttl"], 86_400_000);
    assert_eq!(new.limits["1"].max_queues, Some(100));
    assert_eq!((config.log.rotation_hour, config.log.rotation_bytes), (Some(0), Some(10 << 20)));
}
