//! The methods of paths, as `Allow` names them.

use crate::answer::Answer;

pub(crate) const GET: &str = "GET, HEAD, OPTIONS";
pub(crate) const GET_ALONE: &str = "GET, OPTIONS";
pub(crate) const GET_AND_PUT: &str = "GET, HEAD, PUT, OPTIONS";
pub(crate) const POST: &str = "POST, OPTIONS";

pub(crate) fn preflight(methods: &str) -> Answer {
    Answer::empty(
        204,
        vec![
            ("Access-Control-Allow-Methods", methods.to_owned()),
            // Whatever header a page's monitoring adds. The asterisk does not cover Authorization.
            ("Access-Control-Allow-Headers", "*, Authorization".to_owned()),
            ("Access-Control-Max-Age", "86400".to_owned()),
        ],
    )
}
