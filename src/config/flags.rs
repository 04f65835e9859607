//! The flags of `warren serve` that set something: the topmost layer of the configuration.

use super::layers::{Assignment, Origin};
use super::value;
use std::path::PathBuf;

/// Flags of the command line; each is a setting of the file with another name.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Flags {
    /// Configuration file in RabbitMQ's `key = value` format
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of the store [default: ./warren-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address or port for AMQP; may be given more than once [default: 5672]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,
    /// Address or port for the HTTP API [default: 15672]
    #[arg(long, value_name = "ADDR")]
    pub management_listen: Option<String>,
    /// Address or port for Prometheus [default: 15692]
    #[arg(long, value_name = "ADDR")]
    pub prometheus_listen: Option<String>,
}

impl Flags {
    /// The flags as assignments to settings.
    pub(super) fn assignments(&self) -> Vec<Assignment> {
        let mut assignments = Vec::new();
        let mut add = |flag, key: &str, value: &str| {
            let (key, value) = (key.to_owned(), value.to_owned());
            assignments.push(Assignment { key, value, origin: Origin::Flag(flag) });
        };
        if let Some(dir) = &self.data_dir {
            add("--data-dir", "data_dir", &dir.to_string_lossy());
        }
        for (index, address) in self.listen.iter().enumerate() {
            add("--listen", &format!("listeners.tcp.{}", index + 1), address);
        }
        for (flag, address, ip_key, port_key) in [
            ("--management-listen", &self.management_listen, "management.tcp.ip", "management.tcp.port"),
            ("--prometheus-listen", &self.prometheus_listen, "prometheus.tcp.ip", "prometheus.tcp.port"),
        ] {
            let Some(address) = address else { continue };
            let (ip, port) = value::split_address(address);
            if let Some(ip) = ip {
                add(flag, ip_key, ip);
            }
            add(flag, port_key, port);
        }
        assignments
    }
}
