//! A small HTTP client: one request, one status, no connection kept.

use super::raw::PATIENCE;
use base64::Engine;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Sends a request with `login` (`user:password`) and returns the answer's status and body. HTTP/1.0, so the answer comes
/// whole and the connection ends.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    login: &str,
    body: &str,
) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the HTTP API accepts connections");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode(login);
    let request = format!(
        "{method} {path} HTTP/1.0\r\nhost: {address}\r\nauthorization: Basic {login}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.unwrap_or_else(|| panic!("{method} {path}: {answer:?}"));
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    (status, body.to_owned())
}
