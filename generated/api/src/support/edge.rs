//! The socket, with an eye on what hyper writes by itself.
//!
//! What does not parse as HTTP (a bad request line, too long a URI, too many headers) never becomes a request: hyper
//! answers it with a bare status. Such an answer is recognised here, as the only one without a request id, and replaced
//! by the error envelope with the same status.
use super::ApiError;
use scaicontrol_types::ErrorCode;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(super) struct Edge {
    socket: TcpStream,
    /// What stands in for hyper's own answer and is still to be written.
    pending: Vec<u8>,
}

impl Edge {
    pub(super) fn new(socket: TcpStream) -> Self {
        Self { socket, pending: Vec::new() }
    }

    fn drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.pending.is_empty() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.pending))?;
            if n == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.pending.drain(..n);
        }
        Poll::Ready(Ok(()))
    }
}

/// hyper's own answer: a head, all of it in one piece, with a status from 400 on, no body and no request id.
fn bare_status(written: &[u8]) -> Option<u16> {
    let head = written.strip_prefix(b"HTTP/1.1 ").or_else(|| written.strip_prefix(b"HTTP/1.0 "))?;
    let head = std::str::from_utf8(head).ok()?;
    let lower = head.to_ascii_lowercase();
    let alone = head.find("\r\n\r\n") == Some(head.len() - 4);
    if !alone || !lower.contains("\r\ncontent-length: 0\r\n") || lower.contains("\r\nx-request-id:") {
        return None;
    }
    head.get(..3)?.parse().ok().filter(|s| (400..600).contains(s))
}

fn envelope(status: u16) -> Vec<u8> {
    let id = format!("req_{}", uuid::Uuid::now_v7().simple());
    let (reason, code, message) = match status {
        414 => ("URI Too Long", ErrorCode::BadRequest, "the URI is too long"),
        431 => ("Request Header Fields Too Large", ErrorCode::BadRequest, "the headers are too large"),
        413 => ("Payload Too Large", ErrorCode::PayloadTooLarge, "the body is too large"),
        400..500 => ("Bad Request", ErrorCode::BadRequest, "this is not an HTTP request"),
        _ => ("Internal Server Error", ErrorCode::InternalError, "something went wrong on our side"),
    };
    let body = serde_json::to_string(&ApiError::new(code, message).envelope(&id)).unwrap_or_default();
    format!(
        "HTTP/1.1 {status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\
         x-request-id: {id}\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\nreferrer-policy: no-referrer\r\n\
         cache-control: no-store\r\ncontent-security-policy: default-src 'none'; frame-ancestors 'none'\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

impl AsyncRead for Edge {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Edge {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        ready!(self.drain(cx))?;
        if let Some(status) = bare_status(buf) {
            self.pending = envelope(status);
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        ready!(self.drain(cx))?;
        if let [only] = bufs
            && let Some(status) = bare_status(only)
        {
            self.pending = envelope(status);
            return Poll::Ready(Ok(only.len()));
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.drain(cx))?;
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_status() {
        assert_eq!(
            bare_status(b"HTTP/1.1 414 URI Too Long\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
            Some(414)
        );
        assert_eq!(bare_status(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), None);
        assert_eq!(
            bare_status(b"HTTP/1.1 404 Not Found\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n"),
            None
        );
        assert_eq!(bare_status(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\nmore"), None);
        assert_eq!(bare_status(b"{}"), None);
    }
}
