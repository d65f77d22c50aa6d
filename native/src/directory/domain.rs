//! Whose a name of the DNS is, by the Public Suffix List that this program was built with.

/// Returns the registrable domain; the name itself, where it has none.
pub(crate) fn domain_of(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}
