//! Layering, lists, and every kind of problem.

use super::*;
use crate::durability::Durability;

fn load(file: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Config, ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("warren.conf");
    std::fs::write(&path, file).unwrap();
    let flags = Flags { config: Some(path), ..flags.clone() };
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::load(&flags, environment)
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
    assert_eq!(config.disk_free_limit_bytes, 50_000_000);
    assert_eq!(config.log_level, LogLevel::Info);
    assert_eq!(config.cluster_name, None);
}

#[test]
fn every_setting_has_a_meaning_a_unit_and_a_valid_default() {
    let mut keys = HashSet::new();
    for setting in SETTINGS {
        assert!(keys.insert(setting.key), "{} twice", setting.key);
        assert!(!setting.doc.is_empty() && !setting.unit.is_empty(), "{}", setting.key);
        let Some((key, value)) = setting.default_assignment() else { continue };
        let mut config = Config::default();
        let (found, name) = settings::find(&key).unwrap();
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
            disk_free_limit_bytes: 1 << 30,
            message_memory_limit_bytes: 64 << 20,
            durability: Durability::Interval(250),
            memory_monitor_interval: Duration::from_millis(100),
            otlp_endpoint: Some("http://127.0.0.1:4318".into()),
            statistics_interval: Duration::from_secs(10),
            statistics_are_off: true,
            log_level: LogLevel::Debug,
            log_exchange: false,
            load_definitions: Some("/etc/warren/definitions.json".into()),
            cluster_name: Some("warren@home".into()),
            management_body_bytes_max: 1 << 20,
            operator_policies_are_fixed: true,
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
    assert_eq!(config.log_level, LogLevel::Off);
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
    let environment = [("WARREN_DATADIR", "x"), ("WARREN_CHANNEL_MAX", "0")];
    assert_eq!(
        problems(file, &environment),
        [
            "warren.conf:5: expected `key = value`",
            "environment variable WARREN_DATADIR: unknown setting; the nearest known one is WARREN_DATA_DIR",
            "warren.conf:1: unknown setting heartbeet; the nearest known one is heartbeat",
            "warren.conf:2: heartbeat: \"soon\" is no integer from 0 to 65535",
            "warren.conf:4: max_message_size: at most 536870912",
            "environment variable WARREN_CHANNEL_MAX: channel_max: \"0\" is no integer from 1 to 65535",
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
    let error = Config::load(&Flags::default(), environment).unwrap_err();
    assert!(
        error.to_string().starts_with("/nowhere/warren.conf: cannot read the configuration file: "),
        "{error}"
    );
}
