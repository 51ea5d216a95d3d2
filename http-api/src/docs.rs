//! `GET /docs`: a page that shows `/openapi.json` to people, and lets them try it.
//!
//! One page of our own that works offline: it asks nobody but this node.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use axum::response::Response;

use crate::gateway::Gateway;
use crate::operations;
use crate::traffic::Route;

/// The page.
const PAGE: &str = include_str!("docs/reader.html");

/// Runs the page's own script and style and nothing else; talks to this node and to nobody else. What an
/// entity answers is only ever shown as text, and this is the second net below.
const POLICY: &str = "default-src 'none'; \
    script-src 'sha256-PruXv28oQcUvYkgyCd2hwChYXwBhSWAko0J9PjWHo34='; \
    style-src 'sha256-XJ5vGhaa54iesabSy7YpHzOcp8Y5wJPy7+MYV98B5L8='; \
    connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(crate) async fn docs(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let work = async {
        let mut response = operations::text("text/html; charset=utf-8", PAGE);
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    };
    gateway.observed(Route::Docs, request.method(), work).await
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn within(tag: &str) -> &'static str {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(PAGE.matches(&open).count(), 1, "one {tag}");
        let from = PAGE.find(&open).expect("it opens") + open.len();
        &PAGE[from..from + PAGE[from..].find(&close).expect("it closes")]
    }

    fn base64(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for digit in 0..4 {
                let at = (bits >> (18 - 6 * digit) & 63) as usize;
                text.push(if digit > chunk.len() { '=' } else { DIGITS[at].into() });
            }
        }
        text
    }

    #[test]
    fn the_policy_lets_the_page_run_and_nothing_else() {
        assert_eq!(base64(b"light w"), "bGlnaHQgdw==");
        for tag in ["script", "style"] {
            let hash = base64(&Sha256::digest(within(tag)));
            assert!(POLICY.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag} is sha256-{hash}");
        }
        assert!(!POLICY.contains("unsafe"));
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        for outside in
            ["http:", "https:", "//cdn", "src=", "@import", "url(", "<link", "import(", "integrity"]
        {
            assert!(!PAGE.contains(outside), "the page refers to {outside}");
        }
        // Answers of entities never become markup.
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " onclick="]
        {
            assert!(!PAGE.contains(markup), "the page uses {markup}");
        }
        assert!(PAGE.contains("'/openapi.json'"));
    }
}
