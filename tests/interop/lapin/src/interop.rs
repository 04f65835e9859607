//! What the program needs besides its checks: named checks with a time limit, unique names, the broker's kill and
//! restart. It knows nothing of AMQP.

use std::{env, future::Future, process::ExitCode, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CHECK_LIMIT: Duration = Duration::from_secs(60);

/// Why a check cannot run here; returned as its error.
#[derive(Debug)]
struct Skip(&'static str);

impl std::fmt::Display for Skip {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Skip {}

/// Runs checks one after the other, prints a result line for each and remembers whether one failed.
#[derive(Default)]
pub struct Checks {
    failed: bool,
}

impl Checks {
    pub async fn run(&mut self, name: &str, check: impl Future<Output = Result<()>>) {
        let outcome = timeout(CHECK_LIMIT, check).await.context("no end in time").flatten();
        match outcome {
            Ok(()) => println!("ok {name}"),
            Err(error) if error.is::<Skip>() => println!("skip {name}: {error}"),
            Err(error) => {
                self.failed = true;
                let why = format!("{error:#}");
                println!("FAIL {name}: {}", why.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }

    pub fn exit_code(&self) -> ExitCode {
        if self.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// A name of this run alone: runs against one broker do not meet.
pub fn unique(name: &str) -> String {
    format!("interop.lapin.{}.{name}", std::process::id())
}

/// Where the harness takes requests. Asked for first, so that a check that cannot run leaves nothing in the broker.
pub struct Control {
    url: String,
}

/// Skips the check when the broker cannot be restarted.
pub fn need_restart() -> Result<Control> {
    let no_harness = Skip("this broker was not started by the harness and cannot be restarted");
    Ok(Control { url: env::var("CONTROL_URL").map_err(|_| no_harness)? })
}

/// Has the harness kill the broker with SIGKILL and start it again; returns when the broker answers.
pub async fn restart_broker(control: &Control) -> Result<()> {
    let address = control.url.strip_prefix("http://").context("CONTROL_URL is not an http address")?;
    let mut connection = TcpStream::connect(address).await?;
    connection.write_all(b"POST /restart HTTP/1.0\r\nContent-Length: 0\r\n\r\n").await?;
    let mut response = String::new();
    connection.read_to_string(&mut response).await?;
    ensure!(response.contains(" 200 "), "restart: {response}");
    Ok(())
}
