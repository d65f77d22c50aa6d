//! Arguments and help of `check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rendezvous_protocol::origin::Origin;

use crate::beacon::Beacon;
use crate::hook::OnFailureArguments;
use crate::page::StaticHost;
use crate::reader::TimeoutArguments;
use crate::tickets::TicketArguments;
use crate::trust::TrustArguments;
use crate::values::{parse_duration, parse_live_count, parse_origin};

const CHECK_HELP: &str = "\
Examples:
  capsule check https://example.org/capsules/peers.json --root 1.root.json
      the capsule, and every beacon that it names
  capsule check https://a.example/peers.json https://b.example/peers.json \\
    --public-key KEY --beacon https://beacon.example.org --min-live 5
  capsule check --quiet URL --public-key KEY >/dev/null || page-somebody
      from cron
  capsule check --quiet URL --public-key KEY --history /var/tmp/check.json \\
    --on-failure 'page-somebody \"$CAPSULE_SUMMARY\"' >/dev/null
      from cron, every minute: tells somebody once, when the success rate falls
  capsule check URL --public-key KEY --format prometheus >check.prom.new; \\
    mv check.prom.new /var/lib/node_exporter/check.prom
      for the textfile collector of Prometheus
  capsule check URL --public-key KEY --github-issue >issue.md || {
    title=\"$(sed -n 1p issue.md)\"
    sed 1,2d issue.md | gh issue create --title \"$title\" --body-file -
  }

What is unhealthy:
  a capsule that cannot be fetched, that readers refuse, or refuse soon: there
  is less left of its life than --min-remaining; that is older than --max-age;
  with fewer live peers than --min-live; whose root ends within 30 days; beside
  which the next root lies without signatures that readers could follow;
  a beacon that does not answer GET /healthz and GET /peers, that does not serve
  the community, whose clock is more than 15 s off, or that is revoked;
  either, where browsers keep it from pages of --origin.
A list or a capsule without peers is a warning: the exit code stays 0.
What a capsule is judged by is said under `capsule verify --help`. If it does
not fit its signature it is fetched once more: it may just be being replaced.

The success rate, with --history:
  the part of the last 15 minutes that was well: each run counts until the next
  one, with the healthy part of the capsules and beacons that it checked. Below
  80 % the exit code is 4, until the rate is up again. --on-failure COMMAND runs
  when it falls there, once, for at most 1m, with the variables CAPSULE_SUMMARY,
  CAPSULE_COMMUNITY and CAPSULE_SUCCESS_PERCENT; what it prints goes to the
  standard error.";

const VARIABLES: &str = "\
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
  3  could not reach: neither a capsule nor a beacon
  4  alert, with --history: the success rate is below 80 %";

/// A page of nobody's: what it may read is for all.
const DEFAULT_ORIGIN: &str = "https://page.example";

fn help() -> String {
    [CHECK_HELP, StaticHost::table().trim_end(), VARIABLES].join("\n\n")
}

/// Arguments of `check`.
#[derive(Args, Debug)]
#[command(after_long_help = help())]
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
    /// Origin of a page that is to read them: sent in the header Origin.
    #[arg(long, value_name = "ORIGIN", value_parser = parse_origin, default_value = DEFAULT_ORIGIN)]
    pub(crate) origin: Origin,
    /// File that remembers the last 15 minutes from one run to the next, for the success rate.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) on_failure: OnFailureArguments,
    /// What to print. [default: text]
    #[arg(long, value_name = "FORMAT", conflicts_with_all = ["json", "github_issue"])]
    pub(crate) format: Option<CheckFormat>,
    /// Print one line of JSON: --format json.
    #[arg(long, conflicts_with = "github_issue")]
    pub(crate) json: bool,
    /// Print the title of an issue, an empty line, and its text in Markdown: --format github-issue.
    #[arg(long)]
    pub(crate) github_issue: bool,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CheckFormat {
    /// Tables.
    Text,
    /// One line of JSON.
    Json,
    /// The text exposition format 0.0.4 of Prometheus.
    Prometheus,
    /// The title of an issue, an empty line, and its text in Markdown.
    GithubIssue,
}

impl CheckArguments {
    /// Returns what to print.
    pub(crate) fn format(&self) -> CheckFormat {
        match self {
            Self { json: true, .. } => CheckFormat::Json,
            Self { github_issue: true, .. } => CheckFormat::GithubIssue,
            _ => self.format.unwrap_or(CheckFormat::Text),
        }
    }
}
