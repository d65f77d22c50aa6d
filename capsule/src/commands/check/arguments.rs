//! Arguments and help of `check`.

use std::time::Duration;

use clap::Args;

use crate::beacon::Beacon;
use crate::fetch::TimeoutArguments;
use crate::tickets::TicketArguments;
use crate::trust::TrustArguments;
use crate::values::{parse_duration, parse_live_count};

const CHECK_HELP: &str = "\
Examples:
  capsule check https://example.org/capsules/peers.json --root 1.root.json
      the capsule, and every beacon that it names
  capsule check https://a.example/peers.json https://b.example/peers.json \\
    --public-key KEY --beacon https://beacon.example.org --min-live 5
  capsule check --quiet URL --public-key KEY >/dev/null || page-somebody
      from cron
  capsule check URL --public-key KEY --github-issue >issue.md || {
    title=\"$(sed -n 1p issue.md)\"
    sed 1,2d issue.md | gh issue create --title \"$title\" --body-file -
  }

What is unhealthy:
  a capsule that cannot be fetched, that readers refuse, or refuse soon: there
  is less left of its life than --min-remaining; that is older than --max-age;
  with fewer live peers than --min-live; whose root ends within 30 days; beside
  which the next root lies without signatures that readers could follow;
  a beacon that does not answer GET /healthz and GET /peers, whose clock is more
  than 15 s off, or that is revoked.
What a capsule is judged by is said under `capsule verify --help`. A capsule that
does not fit its signature is fetched once more: it may just be being replaced.

Environment variables (an argument wins; an empty variable counts as not set):
  RENDEZVOUS_BEACONS                 --beacon, comma-separated
  RENDEZVOUS_CAPSULE_ROOT            --root
  RENDEZVOUS_CAPSULE_PUBLIC_KEY      --public-key, the key itself
  RENDEZVOUS_COMMUNITY               --community
  RENDEZVOUS_TRUSTED_TICKET_KEYS     --trusted-key, comma-separated
  RENDEZVOUS_TICKET_MAX_LIFETIME_MS  --ticket-max-lifetime, in milliseconds
  SOURCE_DATE_EPOCH                  the time to judge at, in seconds since 1970,
                                     instead of the clock's
  ALL_PROXY, HTTPS_PROXY, HTTP_PROXY  the first that is set is the proxy of all
                                      requests, except to hosts in NO_PROXY
  SSL_CERT_FILE, SSL_CERT_DIR         whom to believe instead of Mozilla's list

Exit codes:
  0  all is healthy
  1  something is unhealthy
  2  usage: a wrong argument or variable, a file that cannot be read
  3  could not reach: neither a capsule nor a beacon";

/// Arguments of `check`.
#[derive(Args, Debug)]
#[command(after_long_help = CHECK_HELP)]
pub(crate) struct CheckArguments {
    /// A capsule: an http(s) URL, or a file. Redirects are not followed.
    #[arg(value_name = "URL")]
    pub(crate) capsules: Vec<String>,
    #[command(flatten)]
    pub(crate) trust: TrustArguments,
    /// Address of a beacon, beside those that the capsules name; more than one: comma-separated, or given again.
    #[arg(long = "beacon", value_name = "URL", value_delimiter = ',', value_parser = Beacon::parse)]
    pub(crate) beacons: Vec<Beacon>,
    #[command(flatten)]
    pub(crate) tickets: TicketArguments,
    /// Fewest live peers in a capsule. [default: 1]
    #[arg(long, value_name = "NUMBER", value_parser = parse_live_count)]
    pub(crate) min_live: Option<usize>,
    /// Longest time since a capsule was issued. [default: any]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) max_age: Option<Duration>,
    /// Least time that must be left of a capsule's life: one run of its schedule. [default: a sixth of its life]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) min_remaining: Option<Duration>,
    #[command(flatten)]
    pub(crate) timeout: TimeoutArguments,
    /// Print one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Print the title of an issue, an empty line, and its text in Markdown.
    #[arg(long, conflicts_with = "json")]
    pub(crate) github_issue: bool,
}
