//! Whether a page of another origin may read what is fetched, as browsers decide it: the CORS check of the Fetch
//! standard (<https://fetch.spec.whatwg.org/#concept-cors-check>), for requests without credentials. And what to set
//! at the host where it may not.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rendezvous_protocol::origin::Origin;
use ureq::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, SERVER};
use ureq::http::{HeaderMap, StatusCode, Uri};

use crate::text;

/// A header by which gateways of IPFS are known.
const IPFS_PATH: &str = "x-ipfs-path";

/// A page, and the answers that browsers keep from it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    origin: Origin,
    kept: Arc<Mutex<BTreeMap<String, Kept>>>,
}

/// Why an answer is kept from a page.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    /// `Access-Control-Allow-Origin`, all lines of it.
    allowed: Vec<String>,
    host: StaticHost,
}

impl Page {
    /// Makes a page of this origin, from which nothing was kept yet.
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, kept: Arc::default() }
    }

    /// Returns its origin, for the header.
    pub(crate) const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Notes an answer. Of several for one address the last one counts.
    pub(crate) fn note(&self, url: &Uri, status: StatusCode, headers: &HeaderMap) {
        // That a file is absent is something that a page has to learn too. What fails anyway is said elsewhere.
        if !status.is_success() && status != StatusCode::NOT_FOUND && status != StatusCode::GONE {
            return;
        }
        let allowed = headers.get_all(ACCESS_CONTROL_ALLOW_ORIGIN).iter();
        let allowed: Vec<_> = allowed.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        let may_read = matches!(allowed.as_slice(), [one] if one == "*" || one == self.origin.as_str());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if may_read {
            kept.remove(&url.to_string());
        } else {
            kept.insert(url.to_string(), Kept { allowed, host: StaticHost::of(url, headers) });
        }
    }

    /// Says which addresses are kept from the page, why, and what to do about it.
    pub(crate) fn problem(&self) -> Option<String> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Kept { allowed, host } = kept.values().next()?;
        let names: Vec<_> = kept.keys().map(String::as_str).collect();
        let why = match allowed.as_slice() {
            [] => "Access-Control-Allow-Origin is missing".to_owned(),
            [one] => format!("Access-Control-Allow-Origin is {}", text::printable(one)),
            several => format!("Access-Control-Allow-Origin is there {} times", several.len()),
        };
        let origin = self.origin.as_str();
        Some(format!("browsers keep {} from pages of {origin}: {why}. {}", names.join(", "), host.advice()))
    }
}

/// A host of static files, as far as it can be told from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StaticHost {
    GithubPages,
    CloudflarePages,
    Netlify,
    S3,
    R2,
    Nginx,
    Caddy,
    Ipfs,
    Other,
}

impl StaticHost {
    const ALL: [Self; 9] = [
        Self::GithubPages,
        Self::CloudflarePages,
        Self::Netlify,
        Self::S3,
        Self::R2,
        Self::Nginx,
        Self::Caddy,
        Self::Ipfs,
        Self::Other,
    ];

    fn of(url: &Uri, headers: &HeaderMap) -> Self {
        let host = url.host().unwrap_or_default().to_ascii_lowercase();
        let server = headers.get(SERVER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let server = server.to_ascii_lowercase();
        let is_below = |domain: &str| host.ends_with(domain);
        let is_gateway = ["/ipfs/", "/ipns/"].iter().any(|path| url.path().starts_with(path))
            || [".ipfs.", ".ipns."].iter().any(|label| host.contains(label))
            || headers.contains_key(IPFS_PATH);
        match server.split(['/', ' ']).next().unwrap_or_default() {
            _ if is_gateway => Self::Ipfs,
            _ if is_below(".github.io") => Self::GithubPages,
            _ if is_below(".pages.dev") => Self::CloudflarePages,
            _ if is_below(".netlify.app") => Self::Netlify,
            _ if is_below(".r2.dev") || is_below(".r2.cloudflarestorage.com") => Self::R2,
            _ if is_below(".amazonaws.com") => Self::S3,
            "github.com" => Self::GithubPages,
            "netlify" => Self::Netlify,
            "amazons3" => Self::S3,
            "nginx" | "openresty" => Self::Nginx,
            "caddy" => Self::Caddy,
            _ => Self::Other,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::GithubPages => "GitHub Pages",
            Self::CloudflarePages => "Cloudflare Pages",
            Self::Netlify => "Netlify",
            Self::S3 => "S3",
            Self::R2 => "R2",
            Self::Nginx => "nginx",
            Self::Caddy => "Caddy",
            Self::Ipfs => "IPFS gateway",
            Self::Other => "others",
        }
    }

    /// What to set, in lines of the help.
    const fn setting(self) -> &'static [&'static str] {
        match self {
            Self::GithubPages => &["sends it by itself: look at the proxy or domain before it"],
            Self::CloudflarePages | Self::Netlify => {
                &["a file _headers at the top of the site:", "  /capsules/*", "    Access-Control-Allow-Origin: *"]
            }
            Self::S3 => &[
                "CORS of the bucket (aws s3api put-bucket-cors):",
                "  {\"CORSRules\":[{\"AllowedOrigins\":[\"*\"],",
                "  \"AllowedMethods\":[\"GET\",\"HEAD\"]}]}",
            ],
            Self::R2 => &[
                "Settings > CORS policy of the bucket:",
                "  [{\"AllowedOrigins\":[\"*\"],\"AllowedMethods\":[\"GET\",\"HEAD\"]}]",
            ],
            Self::Nginx => &["add_header Access-Control-Allow-Origin * always;"],
            Self::Caddy => &["header /capsules/* Access-Control-Allow-Origin *"],
            Self::Ipfs => &["ipfs config --json \\", "  Gateway.HTTPHeaders.Access-Control-Allow-Origin '[\"*\"]'"],
            Self::Other => &[
                "the header Access-Control-Allow-Origin: * on all files, and",
                "on the answer that a file is not there; a beacon sends it",
                "by itself: look at the proxy before it",
            ],
        }
    }

    fn advice(self) -> String {
        let setting: Vec<_> = self.setting().iter().map(|line| line.trim_start().trim_end_matches(" \\")).collect();
        let setting = setting.join(" ");
        match self {
            Self::Other => format!("Set {setting}"),
            _ => format!("{}: {setting}", self.name()),
        }
    }

    /// The table of the help, in 80 columns.
    pub(crate) fn table() -> String {
        let mut table = "What to set so that pages may read a capsule, by host:\n".to_owned();
        for host in Self::ALL {
            let mut head = host.name();
            for line in host.setting() {
                table.push_str(&format!("  {head:18}{line}\n"));
                head = "";
            }
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_page_may_read_what_is_for_all_or_for_its_origin_alone() {
        let origin = Origin::parse("https://app.example").unwrap();
        let url: Uri = "https://host.example/peers.json".parse().unwrap();
        let allow = "access-control-allow-origin";
        for (lines, problem) in [
            (vec![(allow, "*")], None),
            (vec![(allow, "https://app.example")], None),
            (vec![], Some("is missing")),
            (vec![(allow, "https://other.example")], Some("is https://other.example")),
            (vec![(allow, "https://app.example/")], Some("is https://app.example/")),
            (vec![(allow, "null")], Some("is null")),
            (vec![(allow, "*"), (allow, "*")], Some("is there 2 times")),
        ] {
            for status in [StatusCode::OK, StatusCode::NOT_FOUND] {
                let page = Page::new(origin.clone());
                page.note(&url, status, &headers(&lines));
                assert_eq!(page.problem().is_some(), problem.is_some(), "{lines:?}");
                let said = page.problem().unwrap_or_default();
                assert!(said.contains(problem.unwrap_or_default()), "{said}");
                // It was asked again.
                page.note(&url, StatusCode::OK, &headers(&[(allow, "*")]));
                assert_eq!(page.problem(), None);
            }
        }
        let page = Page::new(origin);
        page.note(&url, StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new());
        assert_eq!(page.problem(), None);
    }

    #[test]
    fn a_host_is_told_by_its_name_or_by_what_it_says() {
        for (url, lines, host) in [
            ("https://me.github.io/a/peers.json", vec![], StaticHost::GithubPages),
            ("https://me.example/peers.json", vec![("server", "GitHub.com")], StaticHost::GithubPages),
            ("https://a.pages.dev/peers.json", vec![("server", "cloudflare")], StaticHost::CloudflarePages),
            ("https://a.netlify.app/peers.json", vec![], StaticHost::Netlify),
            ("https://a.example/peers.json", vec![("server", "Netlify")], StaticHost::Netlify),
            ("https://b.s3.eu-central-1.amazonaws.com/peers.json", vec![], StaticHost::S3),
            ("https://a.example/peers.json", vec![("server", "AmazonS3")], StaticHost::S3),
            ("https://pub-1.r2.dev/peers.json", vec![("server", "cloudflare")], StaticHost::R2),
            ("https://a.example/peers.json", vec![("server", "nginx/1.27.1 (Debian)")], StaticHost::Nginx),
            ("https://a.example/peers.json", vec![("server", "Caddy")], StaticHost::Caddy),
            ("https://gateway.example/ipns/k51/peers.json", vec![("server", "nginx")], StaticHost::Ipfs),
            ("https://k51.ipns.dweb.link/peers.json", vec![], StaticHost::Ipfs),
            ("https://a.example/peers.json", vec![("x-ipfs-path", "/ipfs/b")], StaticHost::Ipfs),
            ("https://a.example/peers.json", vec![("server", "cloudflare")], StaticHost::Other),
            ("https://a.example/peers.json", vec![], StaticHost::Other),
        ] {
            assert_eq!(StaticHost::of(&url.parse().unwrap(), &headers(&lines)), host, "{url}");
        }
    }

    #[test]
    fn every_host_is_in_the_help_in_80_columns() {
        let table = StaticHost::table();
        for host in StaticHost::ALL {
            assert!(table.contains(&format!("\n  {:18}", host.name())), "{}", host.name());
            assert!(
                host.advice().contains("Access-Control-Allow-Origin")
                    != matches!(host, StaticHost::GithubPages | StaticHost::S3 | StaticHost::R2),
                "{}",
                host.advice()
            );
        }
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
