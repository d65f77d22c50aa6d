//! The methods of paths, as `Allow` names them.

pub(crate) const GET: &str = "GET, HEAD, OPTIONS";
pub(crate) const GET_ALONE: &str = "GET, OPTIONS";
pub(crate) const GET_AND_PUT: &str = "GET, HEAD, PUT, OPTIONS";
pub(crate) const POST: &str = "POST, OPTIONS";
