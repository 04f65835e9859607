//! A file that is sent: as the body itself, or in a form as browsers and `curl -F file=@NAME` send it.

use super::{Call, body::Body, error::Error};
use axum::http::header;
use multer::Multipart;

/// The field of a form that holds the file.
const FILE: &str = "file";
/// The field that names where the page goes on.
const REDIRECT: &str = "redirect";

/// What was sent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Upload {
    /// The file's JSON object.
    pub(super) body: Body,
    /// Where the page that has the form goes on.
    pub(super) redirect: Option<String>,
}

impl Upload {
    /// # Errors
    /// 400 for a form without a file or that cannot be read, and a file that is no JSON object.
    pub(super) fn of(call: &Call) -> Result<Upload, Error> {
        let boundary = call.header(&header::CONTENT_TYPE).map(multer::parse_boundary);
        match boundary {
            Some(Ok(boundary)) => call.wait(read(&call.body, boundary)),
            _ => Ok(Upload { body: call.body()?, redirect: None }),
        }
    }
}

async fn read(bytes: &[u8], boundary: String) -> Result<Upload, Error> {
    let unreadable = |error: multer::Error| Error::BadRequest(format!("the form cannot be read: {error}"));
    let mut form = Multipart::with_reader(bytes, boundary);
    let (mut file, mut redirect) = (None, None);
    while let Some(field) = form.next_field().await.map_err(unreadable)? {
        match field.name() {
            Some(FILE) => file = Some(field.bytes().await.map_err(unreadable)?),
            Some(REDIRECT) => redirect = Some(field.text().await.map_err(unreadable)?),
            _ => {}
        }
    }
    let file = file.ok_or_else(|| Error::BadRequest("the form has no field `file`".into()))?;
    Ok(Upload { body: Body::parse(&file)?, redirect: redirect.filter(|location| is_here(location)) })
}

/// Whether a location leads to this server: a form from elsewhere sends nobody away from it.
fn is_here(location: &str) -> bool {
    let is_relative = location.starts_with("../") || location.starts_with("./");
    let is_absolute =
        location.starts_with('/') && !location.starts_with("//") && !location.starts_with("/\\");
    (is_relative || is_absolute) && location.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_sends_nobody_to_another_server() {
        for location in ["../#/import-succeeded", "/", "/ui", "./x"] {
            assert!(is_here(location), "{location}");
        }
        for location in ["", "x", "http://x/", "//x/", "/\\x", "javascript:x", "/a\r\nset-cookie: b"] {
            assert!(!is_here(location), "{location}");
        }
    }
}
