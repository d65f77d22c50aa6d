//! What is known of static hosts: how long each may go on to serve the old copy of a file after the new one is there.
//!
//! This file is the only place for these figures; the check of a capsule's life and the help read them from here.

use std::time::Duration;

use clap::ValueEnum;

use crate::text;

/// Where a capsule is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Host {
    /// GitHub Pages.
    GithubPages,
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Cloudflare R2.
    R2,
    /// A name in IPNS, read through a gateway.
    Ipfs,
    /// A host without caches.
    None,
}

/// What is known of one host.
#[derive(Debug)]
pub(crate) struct Figure {
    /// How long it may go on to serve the old copy.
    pub(crate) cache: Duration,
    /// What that is, for people.
    what: &'static [&'static str],
    /// Where it says so.
    source: &'static str,
}

impl Host {
    /// All, in the order of the help.
    const ALL: [Self; 5] = [Self::GithubPages, Self::S3, Self::R2, Self::Ipfs, Self::None];

    /// Its name as an argument.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::GithubPages => "github-pages",
            Self::S3 => "s3",
            Self::R2 => "r2",
            Self::Ipfs => "ipfs",
            Self::None => "none",
        }
    }

    /// What is known of it.
    pub(crate) const fn figure(self) -> Figure {
        match self {
            Self::GithubPages => Figure {
                cache: Duration::from_secs(10 * 60),
                what: &["Cache-Control: max-age=600 on every file; cannot be changed"],
                source: "https://github.com/orgs/community/discussions/11884",
            },
            Self::S3 => Figure {
                cache: Duration::ZERO,
                what: &[
                    "a read after a write sees it; no cache, and --to asks caches",
                    "before it to revalidate (CloudFront: with a minimum TTL of 0)",
                ],
                source: "https://docs.aws.amazon.com/AmazonS3/latest/userguide/Welcome.html",
            },
            Self::R2 => Figure {
                cache: Duration::ZERO,
                what: &[
                    "a read after a write sees it; --to asks the cache of a domain",
                    "of your own to revalidate (let no cache rule override that)",
                ],
                source: "https://developers.cloudflare.com/r2/reference/consistency/",
            },
            Self::Ipfs => Figure {
                cache: Duration::from_secs(5 * 60),
                what: &[
                    "a gateway keeps an IPNS record for its TTL: 5m by default",
                    "since Kubo 0.34, else 1h (then: ipfs name publish --ttl 5m)",
                ],
                source: "https://github.com/ipfs/kubo/releases/tag/v0.34.0",
            },
            Self::None => Figure {
                cache: Duration::ZERO,
                what: &["a web server of your own that lets nothing be cached"],
                source: "https://www.rfc-editor.org/rfc/rfc9111.html#name-no-cache-2",
            },
        }
    }

    /// The host of that name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        <Self as ValueEnum>::from_str(text, false).map_err(|_| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("must be one of {names}")
        })
    }

    /// The table of the help, in 80 columns.
    pub(crate) fn table() -> String {
        let mut table = "Hosts, and how long each may serve the old copy (--host):\n".to_owned();
        for host in Self::ALL {
            let Figure { cache, what, source } = host.figure();
            let mut head = format!("{:13}{:4}", host.name(), text::compact(cache));
            for line in what {
                table.push_str(&format!("  {head:17}{line}\n"));
                head.clear();
            }
            table.push_str(&format!("      {source}\n"));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_is_in_the_help_with_its_figure_and_its_source_in_80_columns() {
        let table = Host::table();
        for host in Host::value_variants() {
            assert_eq!(Host::parse(host.name()), Ok(*host));
            let line = format!("  {:13}{} ", host.name(), text::compact(host.figure().cache));
            assert!(table.lines().any(|found| found.starts_with(&line)), "{line}");
            assert!(table.contains(host.figure().source));
        }
        for line in table.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(Host::parse("netlify").unwrap_err().contains("github-pages, s3, r2, ipfs, none"));
    }
}
