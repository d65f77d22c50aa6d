//! URLs and header values, taken apart.

use rendezvous_protocol::origin::Origin;

/// Returns the path and the query of a URL that is absolute, or a path and a query alone.
///
/// It takes apart what the host has already normalised, so that a Worker does without half of the `url` crate and its
/// tables of Unicode.
pub(crate) fn path_and_query(url: &str) -> (&str, &str) {
    let (url, _fragment) = url.split_once('#').unwrap_or((url, ""));
    let (before, query) = url.split_once('?').unwrap_or((url, ""));
    let absolute = before.split_once(':').filter(|_| !before.starts_with('/'));
    let rest = absolute.and_then(|(_, rest)| rest.strip_prefix("//")).unwrap_or(before);
    let path = rest.find('/').and_then(|path_at| rest.get(path_at..));
    (path.unwrap_or("/"), query)
}

/// Returns the origin of a URL, if that is an absolute one of this scheme, such as `https://`.
pub(crate) fn origin_of(url: &str, scheme: &str) -> Option<Origin> {
    let host = url.strip_prefix(scheme)?.split(['/', '?', '#']).next()?;
    Origin::parse(&format!("{scheme}{host}"))
}

/// Returns the first parameter of this name, decoded.
pub(crate) fn parameter(query: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

/// Returns whether an `If-None-Match` header names `tag`, compared weakly (RFC 9110, section 13.1.2).
pub(crate) fn matches(known: &str, tag: &str) -> bool {
    fn opaque(tag: &str) -> &str {
        tag.trim().strip_prefix("W/").unwrap_or(tag.trim())
    }
    known.trim() == "*" || known.split(',').any(|known| opaque(known) == opaque(tag))
}

/// Returns whether an `Accept` header asks for JSON and not for a page. Weights are disregarded, as a server may (RFC 9110,
/// section 12.5.1): what asks for both is a browser.
pub(crate) fn prefers_json(accept: &str) -> bool {
    let names = |wanted: &str| {
        let named = |range: &str| range.get(..wanted.len()).is_some_and(|range| range.eq_ignore_ascii_case(wanted));
        accept.split(',').any(|range| named(range.trim()))
    };
    names("application/json") && !names("text/html")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_for_who_asks_for_it_alone() {
        for accept in ["application/json", "Application/JSON; charset=utf-8", "application/json, */*;q=0.1"] {
            assert!(prefers_json(accept), "{accept}");
        }
        for accept in ["", "*/*", "text/html,application/xhtml+xml,*/*;q=0.8", "application/json, text/html"] {
            assert!(!prefers_json(accept), "{accept}");
        }
    }

    #[test]
    fn a_url_is_taken_apart_as_the_host_wrote_it() {
        for (url, expected) in [
            ("https://a.example/", ("/", "")),
            ("https://a.example/peers", ("/peers", "")),
            ("https://a.example/peers?", ("/peers", "")),
            ("https://a.example:8080/a/b?x=/y?z", ("/a/b", "x=/y?z")),
            ("https://a.example/peers?a#b?c", ("/peers", "a")),
            ("https://a.example/peers#b?c", ("/peers", "")),
            ("https://user:pass@a.example/%3F?x", ("/%3F", "x")),
            ("/peers?a", ("/peers", "a")),
            ("/x://y/peers?a", ("/x://y/peers", "a")),
            ("*", ("/", "")),
        ] {
            assert_eq!(path_and_query(url), expected, "{url}");
        }
    }

    #[test]
    fn the_first_of_equal_parameters_counts() {
        assert_eq!(parameter("a=1&b=2&b=3", "b").as_deref(), Some("2"));
        assert_eq!(parameter("a=x+y%20%26", "a").as_deref(), Some("x y &"));
        assert_eq!(parameter("a", "a").as_deref(), Some(""));
        assert_eq!(parameter("a=1", "b"), None);
    }

    #[test]
    fn tags_are_compared_weakly() {
        for known in ["W/\"a\"", "\"a\"", "\"b\", W/\"a\"", " * "] {
            assert!(matches(known, "W/\"a\""), "{known}");
        }
        for known in ["", "\"b\"", "a", "\"*\""] {
            assert!(!matches(known, "W/\"a\""), "{known}");
        }
    }
}
