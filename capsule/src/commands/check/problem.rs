//! What is wrong with a capsule or a beacon.

/// What is wrong with a capsule or a beacon.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) struct HealthProblem {
    pub(super) code: String,
    pub(super) detail: String,
}

impl HealthProblem {
    pub(super) fn new(code: &str, detail: impl Into<String>) -> Self {
        Self { code: code.to_owned(), detail: detail.into() }
    }

    /// For what browsers keep from pages.
    pub(super) fn kept_from_pages(detail: String) -> Self {
        Self::new("CORS_NOT_ALLOWED", detail)
    }
}
