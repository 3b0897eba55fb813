//! Reads the head of a request and keeps only what matters here. No bytes of a client get
//! further than this file.

use super::{MAX_HEAD, answer::Answer};

/// The maximum number of header fields of a request. Browsers send some twenty.
const MAX_FIELDS: usize = 64;

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Head,
    Other,
}

/// The pages that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// `still`: the page does not reload itself.
    Status {
        still: bool,
    },
    Metrics,
    Live,
    Ready,
}

/// A request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) method: Method,
    /// The page; `None` when there is no such page.
    pub(crate) page: Option<Page>,
}

/// Parses the head of a request. Returns `None` when it is not complete yet.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Head>, Answer> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(len)) if len > MAX_HEAD => Err(Answer::head_too_large()),
        Ok(httparse::Status::Complete(_)) => {
            let method = match request.method {
                Some("GET") => Method::Get,
                Some("HEAD") => Method::Head,
                _ => Method::Other,
            };
            Ok(Some(Head {
                method,
                page: page(request.path.unwrap_or_default()),
            }))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(httparse::Error::TooManyHeaders) => Err(Answer::head_too_large()),
        Err(_) => Err(Answer::bad_request()),
    }
}

fn page(target: &str) -> Option<Page> {
    if target == "/?still" {
        return Some(Page::Status { still: true });
    }
    // The rest of a query is ignored. Prometheus may be configured to send one.
    match target.split('?').next()? {
        "/" => Some(Page::Status { still: false }),
        "/metrics" => Some(Page::Metrics),
        "/health/live" => Some(Page::Live),
        "/health/ready" => Some(Page::Ready),
        _ => None,
    }
}
