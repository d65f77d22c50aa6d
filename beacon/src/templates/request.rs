//! From a request to an answer of the catalogue.

use std::sync::Arc;

use crate::answer::{Answer, Content as AnswerContent, Outcome};
use crate::methods::GET;
use crate::problem::Problem;
use crate::query::matches;
use crate::templates::catalogue::Catalogue;
use crate::templates::template::Content;

const LIST: &str = "api/templates";
const STORE: &str = "store";

/// The page runs nothing, sends nothing, and shows nothing of elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Clients revalidate each time; most answers are 304.
const CACHE: &str = "no-cache";

/// Holds an answer whose body is shared by all who ask for it: however slowly they read, it is in memory once.
#[derive(Debug)]
pub struct TemplateAnswer {
    /// The answer without its body.
    pub answer: Answer,
    /// The body.
    pub body: Arc<[u8]>,
}

impl TemplateAnswer {
    /// Returns how many requests this one counts for: a bundle of the largest size for nine.
    pub(crate) fn requests(&self) -> u32 {
        u32::try_from(self.body.len() / REQUEST_BYTES).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// Bytes of a body that are sent for one request more.
const REQUEST_BYTES: usize = 1_024 * 1_024;

/// Returns whether a path, without its first slash, is one of the catalogue's.
pub(crate) fn is_route(path: &str) -> bool {
    path == STORE || path.strip_prefix(LIST).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request for a path, without its first slash.
pub(crate) fn route(
    catalogue: &Catalogue,
    method: &str,
    path: &str,
    if_none_match: &str,
) -> Result<TemplateAnswer, Problem> {
    let (headers, kind, content) = find(catalogue, path).ok_or(Problem::NotFound)?;
    if !matches!(method, "GET" | "HEAD") {
        return Err(Problem::MethodNotAllowed { allow: GET });
    }
    let Content { bytes, tag } = content;
    let (tagged, cached) = (("ETag", tag.clone()), ("Cache-Control", CACHE.to_owned()));
    if matches(if_none_match, tag) {
        return Ok(TemplateAnswer { answer: Answer::empty(304, vec![tagged, cached]), body: Arc::default() });
    }
    let headers = headers.into_iter().chain([tagged, cached]).collect();
    let answer = Answer { status: 200, content: kind, outcome: Outcome::Served, headers, body: String::new() };
    Ok(TemplateAnswer { answer, body: Arc::clone(bytes) })
}

type Found<'a> = (Vec<(&'static str, String)>, AnswerContent, &'a Content);

fn find<'a>(catalogue: &'a Catalogue, path: &str) -> Option<Found<'a>> {
    match path {
        STORE => {
            let headers = vec![
                ("Content-Type", "text/html; charset=utf-8".to_owned()),
                ("Content-Security-Policy", POLICY.to_owned()),
            ];
            return Some((headers, AnswerContent::Page, &catalogue.page));
        }
        LIST => return Some((Vec::new(), AnswerContent::Json, &catalogue.list)),
        _ => {}
    }
    let (name, what) = path.strip_prefix(LIST)?.strip_prefix('/')?.split_once('/')?;
    let template = catalogue.template(name)?;
    match what {
        "manifest.json" => Some((Vec::new(), AnswerContent::Json, &template.manifest)),
        "bundle" => {
            let headers = vec![
                ("Content-Type", "application/gzip".to_owned()),
                ("Content-Disposition", format!("attachment; filename=\"{name}.tar.gz\"")),
            ];
            Some((headers, AnswerContent::Nothing, &template.bundle))
        }
        _ => None,
    }
}
