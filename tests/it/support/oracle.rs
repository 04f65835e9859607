//! The oracle: RabbitMQ as Debian packages it, started for the differential test on free ports and a temporary
//! directory.

use super::broker::{Target, address, await_answer, free_ports};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// What RabbitMQ has in plugins and Warren of its own.
const PLUGINS: &[&str] = &[
    "rabbitmq_management",
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    // The modulus hash exchange.
    "rabbitmq_sharding",
];

/// A RabbitMQ. The one this process started ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Oracle {
    pub(crate) target: Target,
    /// The server and the port mapper it needs, with their directory.
    started: Option<(Child, Child, tempfile::TempDir)>,
}

impl Oracle {
    /// The RabbitMQ at `WARREN_TEST_ORACLE_AMQP` (and `…_MANAGEMENT`), or a new one; none if it is not installed.
    pub(crate) fn find() -> Option<Self> {
        if let Some(amqp) = address("WARREN_TEST_ORACLE_AMQP") {
            let management = address("WARREN_TEST_ORACLE_MANAGEMENT");
            return Some(Self {
                target: Target { amqp, management, metrics: None, is_rabbitmq: true },
                started: None,
            });
        }
        Path::new(SERVER).exists().then(Self::start)
    }

    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [amqp, management, distribution, mapper] = free_ports();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("plugins"), format!("[{}].\n", PLUGINS.join(","))).unwrap();
        let settings = format!("management.tcp.port = {}\nloopback_users = none\n", management.port());
        std::fs::write(path("rabbitmq.conf"), settings).unwrap();
        let mapper_port = mapper.port().to_string();
        let epmd = Command::new("epmd").args(["-port", &mapper_port, "-address", "127.0.0.1"]).spawn();
        let epmd = epmd.expect("Erlang's epmd is installed with RabbitMQ");
        let mut command = Command::new(SERVER);
        command
            .env("RABBITMQ_NODENAME", format!("oracle{}@localhost", amqp.port()))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", amqp.port().to_string())
            .env("RABBITMQ_DIST_PORT", distribution.port().to_string())
            .env("ERL_EPMD_PORT", &mapper_port)
            .env("RABBITMQ_MNESIA_BASE", path("mnesia"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", path("pid"))
            .env("HOME", directory.path())
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("plugins"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq"))
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-setcookie oracle")
            // The script then becomes the server instead of starting it, so that it ends by our child's id.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut server = command.spawn().unwrap();
        let answers = await_answer(amqp, || server.try_wait().unwrap().is_none());
        let target = Target { amqp, management: Some(management), metrics: None, is_rabbitmq: true };
        let oracle = Self { target, started: Some((server, epmd, directory)) };
        assert!(answers, "RabbitMQ did not start");
        oracle
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        if let Some((server, epmd, _)) = &mut self.started {
            for child in [server, epmd] {
                child.kill().ok();
                child.wait().ok();
            }
        }
    }
}
