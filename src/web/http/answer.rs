//! An answer: status, type and body. The header fields are constants in this file and the
//! length of the body, so that no input can get into them.

/// The answer to a client.
#[derive(Debug)]
pub(crate) struct Answer {
    status: &'static str,
    content_type: &'static str,
    extra: &'static str,
    body: String,
    send_body: bool,
}

pub(super) const JSON: &str = "application/json";
pub(super) const HTML: &str = "text/html; charset=utf-8";
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

impl Answer {
    pub(super) fn ok(content_type: &'static str, body: String) -> Self {
        Self::new("200 OK", content_type, body)
    }

    pub(super) fn unavailable(content_type: &'static str, body: String) -> Self {
        Self::new("503 Service Unavailable", content_type, body)
    }

    pub(super) fn internal(body: String) -> Self {
        Self::new("500 Internal Server Error", TEXT, body)
    }

    pub(super) fn not_found() -> Self {
        let body =
            "There is no such page. There are /, /metrics, /health/live and /health/ready.\n";
        Self::new("404 Not Found", TEXT, body.into())
    }

    pub(super) fn method_not_allowed() -> Self {
        let answer = Self::new(
            "405 Method Not Allowed",
            TEXT,
            "Only GET and HEAD.\n".into(),
        );
        Answer {
            extra: "Allow: GET, HEAD\r\n",
            ..answer
        }
    }

    pub(super) fn bad_request() -> Self {
        Self::new("400 Bad Request", TEXT, "This is not HTTP/1.1.\n".into())
    }

    pub(super) fn head_too_large() -> Self {
        Self::new(
            "431 Request Header Fields Too Large",
            TEXT,
            "The request is too long.\n".into(),
        )
    }

    pub(super) fn timeout() -> Self {
        Self::new(
            "408 Request Timeout",
            TEXT,
            "The request took too long.\n".into(),
        )
    }

    fn new(status: &'static str, content_type: &'static str, body: String) -> Self {
        Answer {
            status,
            content_type,
            extra: "",
            body,
            send_body: true,
        }
    }

    /// Adds a header field, given as a whole line with its line break.
    pub(super) fn with_field(self, extra: &'static str) -> Self {
        Answer { extra, ..self }
    }

    /// Returns the same header fields without the body, as an answer to HEAD.
    pub(super) fn without_body(self) -> Self {
        Answer {
            send_body: false,
            ..self
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!(
            "HTTP/1.1 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n{}Connection: close\r\n\r\n",
            self.status,
            self.content_type,
            self.body.len(),
            self.extra
        )
        .into_bytes();
        if self.send_body {
            bytes.extend_from_slice(self.body.as_bytes());
        }
        bytes
    }
}
