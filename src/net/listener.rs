//! TCP listeners: accept until told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

/// Accepts connections and spawns what `serve` makes of each, until `stop` turns true or its sender is gone.
///
/// Nagle's algorithm is off: a delivery must not wait for the ack of the one before.
pub async fn accept<F, T>(listener: TcpListener, mut stop: watch::Receiver<bool>, serve: F)
where
    F: Fn(TcpStream, SocketAddr, SocketAddr) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted.and_then(|(stream, peer)| Ok((prepare(&stream)?, stream, peer))) {
            Ok((local, stream, peer)) => drop(tokio::spawn(serve(stream, canonical(peer), canonical(local)))),
            Err(error) => refused(&error).await,
        }
    }
}

fn prepare(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    stream.local_addr()
}

/// An IPv4 peer of a listener for both families is shown, and known for loopback, as IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// A connection that could not be accepted. Out of file descriptors, accepting again at once would only spin.
async fn refused(error: &io::Error) {
    const OUT_OF_FILES: [i32; 2] = [23, 24];
    if error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code)) {
        warn!(%error, "no file descriptor for a new connection: raise the limit (ulimit -n)");
        tokio::time::sleep(crate::time::Duration::from_millis(100)).await;
    } else {
        debug!(%error, "connection not accepted");
    }
}
