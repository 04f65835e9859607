//! TCP listeners: bound with the configured options, they accept until told to stop.

use crate::config::{self, Config, SocketOptions};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tracing::{debug, warn};

/// Binds; where a machine has no IPv6, all interfaces means all of IPv4.
///
/// # Errors
/// Those of the system, for the address that was asked for.
pub fn bind(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    match (bind_to(address, options), config::without_ipv6(address)) {
        (Err(error), Some(fallback)) if error.kind() != io::ErrorKind::AddrInUse => {
            bind_to(fallback, options).map_err(|_| error)
        }
        (bound, _) => bound,
    }
}

fn bind_to(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Connections of the process before may still be ending.
    socket.set_reuseaddr(true)?;
    // Accepted sockets have them from here; later the size of the window is settled.
    if let Some(bytes) = options.send_buffer_bytes {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.receive_buffer_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(address)?;
    socket.listen(options.backlog)
}

/// Accepts connections and spawns what `serve` makes of each, until `stop` turns true or its sender is gone.
pub async fn accept<F, T>(
    listener: TcpListener,
    config: watch::Receiver<Arc<Config>>,
    mut stop: watch::Receiver<bool>,
    serve: F,
) where
    F: Fn(TcpStream, SocketAddr, SocketAddr) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let options = config.borrow().sockets;
        match accepted.and_then(|(stream, peer)| Ok((prepare(&stream, &options)?, stream, peer))) {
            Ok((local, stream, peer)) => drop(tokio::spawn(serve(stream, canonical(peer), canonical(local)))),
            Err(error) => refused(&error).await,
        }
    }
}

fn prepare(stream: &TcpStream, options: &SocketOptions) -> io::Result<SocketAddr> {
    stream.set_nodelay(options.nodelay)?;
    if options.keepalive {
        rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    }
    if options.linger {
        let time = crate::time::Duration::from_secs(options.linger_s.into());
        rustix::net::sockopt::set_socket_linger(stream, Some(time))?;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// What the system says of a socket that was accepted with these options.
    async fn accepted<T: Send + 'static>(options: SocketOptions, look: fn(&TcpStream) -> T) -> T {
        let listener = bind(([127, 0, 0, 1], 0).into(), &options).unwrap();
        let address = listener.local_addr().unwrap();
        let config = watch::Sender::new(Arc::new(Config { sockets: options, ..Config::default() }));
        let (_stop, stopped) = watch::channel(false);
        let (sender, receiver) = oneshot::channel();
        let sender = Arc::new(parking_lot::Mutex::new(Some(sender)));
        let serve = move |stream: TcpStream, _, _| {
            if let Some(sender) = sender.lock().take() {
                sender.send(look(&stream)).ok();
            }
            std::future::ready(())
        };
        let accepting = tokio::spawn(accept(listener, config.subscribe(), stopped, serve));
        let _client = TcpStream::connect(address).await.unwrap();
        let seen = receiver.await.unwrap();
        accepting.abort();
        seen
    }

    #[tokio::test]
    async fn accepted_sockets_have_the_configured_options() {
        let look = |stream: &TcpStream| {
            let sockopt = rustix::net::sockopt::socket_keepalive(stream).unwrap();
            let linger = rustix::net::sockopt::socket_linger(stream).unwrap();
            (stream.nodelay().unwrap(), sockopt, linger.map(|time| time.as_secs()))
        };
        let plain = Config::default().sockets;
        assert_eq!(accepted(plain, look).await, (true, false, None));
        let other = SocketOptions { nodelay: false, keepalive: true, linger: true, linger_s: 7, ..plain };
        assert_eq!(accepted(other, look).await, (false, true, Some(7)));
    }

    #[tokio::test]
    async fn buffers_are_as_large_as_configured() {
        let look = |stream: &TcpStream| rustix::net::sockopt::socket_recv_buffer_size(stream).unwrap();
        let bytes = Some(16_384);
        let options = SocketOptions { receive_buffer_bytes: bytes, ..Config::default().sockets };
        // The kernel doubles it, for its own needs.
        assert_eq!(accepted(options, look).await, 32_768);
    }
}
