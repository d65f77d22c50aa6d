//! The command line, and the help that teaches it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::registration::RegistrationsCommand;

const OVERVIEW: &str = "\
How it goes together:
  1. rendezvous-beacon serve
     A beacon on http://127.0.0.1:8787, which keeps its state in .beacon.
  2. curl http://127.0.0.1:8787/peers
     Who is online.
  3. rendezvous-beacon serve --print-config >beacon.toml
     Everything that can be set, as a file for --config.

Exit codes:
  0  ended as it was asked to, by SIGTERM or SIGINT
  1  failed: the port is in use, the state cannot be written or is another
     process's, or the system did not do its work
  2  usage: a wrong argument, variable or file of configuration

`rendezvous-beacon serve --help` has the variables.";

const SERVE: &str = "\
Every variable is an environment variable, or a field of the file that --config
names; the environment beats the file, the file beats the default. Lists are
separated by commas, and in the file they may be TOML lists.

This program:
  HOST                     the address that it listens on (127.0.0.1). 0.0.0.0:
                           all of IPv4, ::, all
  PORT                     (8787) 0: a free one, which the log names
  STATE                    the directory that keeps rosters over restarts
                           (.beacon)
  LAN                      on: announces the beacon in the local network by
                           multicast DNS, where `capsule announce --lan` finds
                           it, and listens on 0.0.0.0 where HOST is not set
                           (off)
  METRICS_ADDRESS          an address such as 127.0.0.1:9090, for
                           GET /metrics in Prometheus's format (off)
  ADMIN_ADDRESS            an address such as 127.0.0.1:8786, for GET /admin,
                           which ADMIN_PASSWORD opens to the user admin (off)
  THREADS                  event loops (one for each core)
  TEMPLATES_DIR            the folder of templates that GET /store and
                           /api/templates offer, each a folder with a
                           manifest.json; the default one need not be there
                           (templates)
  EXTERNAL_URLS            where the beacon is reached, such as
                           https://beacon.example. Requests for other names
                           than these and this machine's are refused
  CLIENT_ADDRESS_HEADER    the only header that the client's address is read
                           from, behind a proxy that sets it (the connection's
                           address)

Communities:
  DEFAULT_COMMUNITY        of a request that names none (mainnet)
  COMMUNITIES              those that are served; *, alone: all (the default
                           one)
  ORIGINS                  pages' origins, such as https://app.example: those of
                           others are not listed (any)
  TRUSTED_TICKET_KEYS      the only public keys whose tickets are accepted (all)
  REVOKED_TICKET_KEYS      public keys whose tickets are refused (none)

The page at GET /, and GET /.well-known/rendezvous-beacon:
  LISTED_COMMUNITIES       those that are named there, with how many are present
                           (none)
  SHOW_PEERS               on: who is present, too (off)
  OPERATOR_NAME, OPERATOR_CONTACT, OPERATOR_RULES
                           what is said of whoever runs the beacon
  OTHER_BEACONS, CAPSULES, CAPSULE_KEYS
                           what else serves the same communities

Limits:
  TICKET_MAX_LIFETIME_MS, ANNOUNCE_INTERVAL_MS, ANNOUNCE_AFTER_MIN_MS,
  ANNOUNCE_AFTER_MAX_MS, ANNOUNCES_PER_DAY, SNAPSHOT_INTERVAL_MS, ANSWER_LIMIT,
  PEERS_MAX_AGE_SECONDS, NETWORK_REQUESTS_PER_MINUTE,
  ADDRESS_REQUESTS_PER_MINUTE, LIVE_CONNECTIONS, LIVE_CONNECTIONS_PER_HOUSEHOLD,
  LIVE_FRAMES, LIVE_VIEWERS
                           see contrib/rendezvous-beacon.toml

Messages for those who are not online:
  DOORS                    those that are open: v1, retalk, hivemind (v1).
                           retalk, for the users of retalk, needs
                           EXTERNAL_URLS; hivemind is for those of
                           hivemind-rendezvous
  MAILBOXES                those that there may be (1000)
  RETALK_AUDIENCES         other spellings of this beacon's addresses that users
                           of retalk have written, of hosts in EXTERNAL_URLS or
                           of this machine (none)
  RELAY_PEERS              relays that push to this one and are pushed to, each
                           as https://two.example=KEY (none)
  RELAY_PRIVATE_KEY        the key by which this relay pushes, PKCS#8 in PEM or
                           base64, where RELAY_PEERS is set (none)
  REPLICATION_PEERS        relays of another fleet whose envelopes are taken,
                           each as https://peer.example=SECRET (none)

A relay of TURN's for peers that cannot connect directly:
  TURN_URLS, TURN_SECRET   its addresses, and the secret that it shares; both or
                           neither, and with COMMUNITIES (none)
  TURN_PER_DAY             credentials for it in a day, UTC (1000)

A directory of communities (a hub), where HUB_ORIGINS or HUB_PEERS is set:
  HUB_ORIGINS              public keys of origins that may list communities here
                           (none)
  HUB_PEERS                hubs that this one asks, and that may ask it, each as
                           https://hub.example=KEY (none)
  HUB_KEY                  the hub's own private key, PKCS#8 in base64, where
                           HUB_PEERS is set (none)
  HUB_PULL_SECONDS         after which a peer is asked again, 3 to 3600 (60)

Registration with an address of e-mail, where SMTP_HOST is set:
  SMTP_HOST                the server for mail, with TLS (none). Links in mails
                           begin with the first of EXTERNAL_URLS
  SMTP_PORT                (587) 465: TLS at once, elsewhere STARTTLS
  SMTP_USERNAME, SMTP_PASSWORD
                           how to log in there (not)
  SMTP_FROM                the sender (SMTP_USERNAME)
  SMTP_CA_FILE             the only authorities whose certificates count, in PEM
                           (Mozilla's)
  REGISTRATION_REQUIRED    communities that list registered keys alone; *,
                           alone: all (none)
  REGISTRATION_WEBHOOK, REGISTRATION_WEBHOOK_SECRET
                           an address that is told of each registration, and the
                           secret by which it knows who tells it (none)
  MAILS_PER_DAY            (200)

A relay of libp2p's (circuit relay v2):
  CIRCUIT_RELAY_ADDRESSES  the addresses of one that runs elsewhere, each with
                           /p2p/NAME at its end, which GET /relay tells (none)
  RELAY_PORT               the TCP port of one that runs beside the beacon, in a
                           program that is built with it (0: none)
  RELAY_KEY_FILE           the file with its key, which is made where it is
                           absent (data/relay.key)

goop2's peers, which sign nothing:
  GOOP2_COMMUNITIES        those that have a door at /goop2/COMMUNITY (none)
  GOOP2_RELAY              another relay's addresses for them
                           (CIRCUIT_RELAY_ADDRESSES)

Examples:
  PORT=0 rendezvous-beacon serve
      any free port; the first line of the log has its number
  rendezvous-beacon serve --lan
      for the local network, which finds it by itself
  HOST=0.0.0.0 PORT=$PORT EXTERNAL_URLS=https://beacon.example \\
    rendezvous-beacon serve
      on a platform that ends TLS and gives a port
  CLIENT_ADDRESS_HEADER=X-Real-IP EXTERNAL_URLS=https://beacon.example \\
    rendezvous-beacon serve --config /etc/rendezvous-beacon.toml
      behind a proxy on the same machine, which sets X-Real-IP";

/// A beacon that answers "who is online?" for browser peer-to-peer applications.
#[derive(Debug, Parser)]
#[command(name = "rendezvous-beacon", version, after_help = OVERVIEW, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serves a beacon until SIGTERM or SIGINT, then answers what is under way, writes its state and ends.
    #[command(after_help = "`--help` has all variables, and examples.", after_long_help = SERVE)]
    Serve(ServeArguments),
    /// Lists or removes what is registered with an address of e-mail.
    Registrations(RegistrationsCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// File of configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Prints what would be in force, as a file for --config that says where each value is from, and ends.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Announces the beacon in the local network, as LAN=on does.
    #[arg(long)]
    pub(crate) lan: bool,
}
