//! What the operator decides of registration.

use std::fmt;

use rendezvous_protocol::community::Community;
use rendezvous_protocol::origin::Origin;
use rendezvous_protocol::registration::EmailAddress;
use rendezvous_protocol::sorted_set::SortedSet;

use crate::config::{Config, ConfigError, Kind, Variable};
use crate::own_names::is_own_machine;

const HOST: &str = "SMTP_HOST";
const PORT: &str = "SMTP_PORT";
const USERNAME: &str = "SMTP_USERNAME";
const PASSWORD: &str = "SMTP_PASSWORD";
const FROM: &str = "SMTP_FROM";
const CA_FILE: &str = "SMTP_CA_FILE";
const REQUIRED: &str = "REGISTRATION_REQUIRED";
const WEBHOOK: &str = "REGISTRATION_WEBHOOK";
const WEBHOOK_SECRET: &str = "REGISTRATION_WEBHOOK_SECRET";
const PER_DAY: &str = "MAILS_PER_DAY";

/// The variables of registration, in the order in which they are explained.
pub const VARIABLES: [Variable; 10] = [
    Variable::new(HOST, Kind::Text, ""),
    Variable::new(PORT, Kind::Number, "587"),
    Variable::new(USERNAME, Kind::Text, ""),
    Variable::new(PASSWORD, Kind::Secret, ""),
    Variable::new(FROM, Kind::Text, ""),
    Variable::new(CA_FILE, Kind::Text, ""),
    Variable::new(REQUIRED, Kind::List, ""),
    Variable::new(WEBHOOK, Kind::Text, ""),
    Variable::new(WEBHOOK_SECRET, Kind::Secret, ""),
    Variable::new(PER_DAY, Kind::Number, "200"),
];

const NO_HOST: &str = "the name of a server for mail where another variable of registration is set";
const SERVER: &str = "the name or the address of a server for mail, without a port";
const PORTS: &str = "a whole number from 1 to 65535";
const WITH_USERNAME: &str = "set where SMTP_USERNAME is, and nowhere else: at most 500 printable characters";
const WITH_PASSWORD: &str = "set where SMTP_PASSWORD is: at most 500 printable characters";
const SENDER: &str = "an address of e-mail such as beacon@a.example, unless SMTP_USERNAME is one";
const COMMUNITIES: &str = "names of communities that are served, separated by commas, or * alone for all";
const ORIGINS: &str = "an address that links in mails begin with, where SMTP_HOST is set";
const HOOK: &str = "an https address, or an http address of this machine, of at most 500 bytes";
const HOOK_SECRET: &str = "of 16 to 200 printable ASCII characters where REGISTRATION_WEBHOOK is set, and nowhere else";
const NOT_SHOWN: &str = "not shown";

/// Bytes of a user's name and of its password at the server for mail.
const CREDENTIAL_MAX_BYTES: usize = 500;

/// Bytes of the webhook's address.
const WEBHOOK_MAX_BYTES: usize = 500;

/// Bytes of the webhook's secret.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 16..=200;

/// The most mails in a day: what is counted of a day is then a few megabytes.
const PER_DAY_MAX: u32 = 100_000;

/// Holds how mail is sent.
#[derive(Clone, PartialEq, Eq)]
pub struct SmtpConfig {
    /// The server, by the name that its certificate is for.
    pub host: String,
    /// Its port. At 465 TLS comes first (RFC 8314), elsewhere `STARTTLS` does, without which nothing is sent.
    pub port: u16,
    /// The user's name and password, if it asks for them.
    pub credentials: Option<(String, String)>,
    /// The sender.
    pub from: EmailAddress,
    /// The file with the only authorities whose certificates count, in PEM; Mozilla's list, where absent.
    pub ca_file: Option<String>,
}

impl fmt::Debug for SmtpConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the credentials, which are for nobody to read.
        let Self { host, port, credentials: _, from, ca_file } = self;
        let mut fields = formatter.debug_struct("SmtpConfig");
        fields.field("host", host).field("port", port).field("from", from).field("ca_file", ca_file);
        fields.finish_non_exhaustive()
    }
}

/// Says which communities list registered keys alone.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Required {
    All,
    These(SortedSet<Community>),
}

/// Holds whom to tell that a key was registered, and the secret by which they know who tells them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Webhook {
    pub(super) url: String,
    pub(super) secret: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the secret; a part of the address may be one too.
        formatter.debug_struct("Webhook").finish_non_exhaustive()
    }
}

/// Holds everything that an operator decides of registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// How mail is sent.
    pub smtp: SmtpConfig,
    required: Required,
    pub(super) webhook: Option<Webhook>,
    pub(super) mails_per_day: u32,
    /// What links begin with. It is configured: a request's `Host` is whatever its sender writes there.
    pub(super) link: Origin,
}

impl RegistrationConfig {
    /// Reads the variables. There is no registration where none is opened.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind, and repeats no secret.
    pub fn parse(config: &Config, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ConfigError> {
        let default = |name: &str| VARIABLES.iter().find(|known| known.name == name).map(|known| known.default);
        let raw = |name: &str| variable(name).unwrap_or_else(|| default(name).unwrap_or_default().to_owned());
        let text = |name: &str| raw(name).trim().to_owned();
        let error = |variable: &'static str, expected: &str| {
            // Whoever reads the log need not be who may read these. A webhook's address may have a secret in its path.
            let is_shown = ![PASSWORD, WEBHOOK, WEBHOOK_SECRET].contains(&variable) || text(variable).is_empty();
            let value = if is_shown { text(variable) } else { NOT_SHOWN.to_owned() };
            ConfigError { variable, value, expected: expected.to_owned() }
        };
        let port = text(PORT).parse().ok().filter(|port| *port > 0).ok_or_else(|| error(PORT, PORTS))?;
        let most = || format!("a whole number from 1 to {PER_DAY_MAX}");
        let mails_per_day = text(PER_DAY).parse().ok().filter(|number| (1..=PER_DAY_MAX).contains(number));
        let mails_per_day = mails_per_day.ok_or_else(|| error(PER_DAY, &most()))?;
        let host = text(HOST);
        if host.is_empty() {
            let others = [USERNAME, PASSWORD, FROM, CA_FILE, REQUIRED, WEBHOOK, WEBHOOK_SECRET];
            let is_off = others.into_iter().all(|name| text(name).is_empty());
            return if is_off { Ok(None) } else { Err(error(HOST, NO_HOST)) };
        }
        if !is_host(&host) {
            return Err(error(HOST, SERVER));
        }
        let link = config.external_urls.first().cloned();
        let link = link.ok_or_else(|| ConfigError {
            variable: "EXTERNAL_URLS",
            value: String::new(),
            expected: ORIGINS.to_owned(),
        })?;
        let is_credential = |text: &str| text.len() <= CREDENTIAL_MAX_BYTES && !text.chars().any(char::is_control);
        // A password may begin with a space.
        let (username, password) = (text(USERNAME), raw(PASSWORD));
        let credentials = match (username.is_empty(), password.trim().is_empty()) {
            (true, true) => None,
            (true, false) => return Err(error(USERNAME, WITH_PASSWORD)),
            (false, _) if !is_credential(&username) => return Err(error(USERNAME, WITH_PASSWORD)),
            (false, false) if is_credential(&password) => Some((username.clone(), password)),
            (false, _) => return Err(error(PASSWORD, WITH_USERNAME)),
        };
        let from = match text(FROM).as_str() {
            "" => EmailAddress::parse(&username),
            from => EmailAddress::parse(from),
        };
        let from = from.ok_or_else(|| error(FROM, SENDER))?;
        let required = match text(REQUIRED).as_str() {
            "*" => Required::All,
            "" => Required::These(SortedSet::new()),
            names => {
                let served = |name: &str| Community::new(name.trim()).ok().filter(|community| config.serves(community));
                let names: Option<SortedSet<_>> = names.split(',').map(served).collect();
                Required::These(names.ok_or_else(|| error(REQUIRED, COMMUNITIES))?)
            }
        };
        let (url, secret) = (text(WEBHOOK), text(WEBHOOK_SECRET));
        let is_secret = SECRET_BYTES.contains(&secret.len()) && secret.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        let webhook = match (url.is_empty(), secret.is_empty()) {
            (true, true) => None,
            (false, _) if !is_webhook(&url) => return Err(error(WEBHOOK, HOOK)),
            (false, false) if is_secret => Some(Webhook { url, secret }),
            _ => return Err(error(WEBHOOK_SECRET, HOOK_SECRET)),
        };
        let ca_file = Some(text(CA_FILE)).filter(|path| !path.is_empty());
        let smtp = SmtpConfig { host, port, credentials, from, ca_file };
        Ok(Some(Self { smtp, required, webhook, mails_per_day, link }))
    }

    /// Returns whether a community lists registered keys alone.
    pub(super) fn requires(&self, community: &Community) -> bool {
        match &self.required {
            Required::All => true,
            Required::These(communities) => communities.contains(community),
        }
    }

    /// Returns the host of the address in links, for whoever has to say which machine sends a mail.
    pub fn own_host(&self) -> &str {
        self.link.host()
    }
}

/// Returns whether a text is a name or an address, and nothing beside it.
fn is_host(text: &str) -> bool {
    Origin::parse(&format!("smtp://{text}")).is_some_and(|origin| origin.host() == text.to_ascii_lowercase())
}

/// Returns whether a text is an address that may be told of registrations: by TLS, or on this machine, or anybody on the way
/// would read the addresses of people.
fn is_webhook(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some(origin) = Origin::parse(&format!("{scheme}://{authority}")) else { return false };
    let is_plain = text.len() <= WEBHOOK_MAX_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let is_private = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => is_own_machine(origin.host(), false),
        _ => false,
    };
    is_plain && is_private && !text.contains('#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    const SET: [(&str, &str); 3] =
        [(HOST, "mail.example"), (FROM, "beacon@a.example"), ("EXTERNAL_URLS", "https://b.example")];

    fn parse(variables: &[(&str, &str)]) -> Result<Option<RegistrationConfig>, ConfigError> {
        RegistrationConfig::parse(&Config::parse(given(variables)).unwrap(), given(variables))
    }

    fn with(variables: &[(&'static str, &'static str)]) -> Result<Option<RegistrationConfig>, ConfigError> {
        parse(&[&SET[..], variables].concat())
    }

    #[test]
    fn there_is_no_registration_unless_a_server_for_mail_is_named() {
        assert_eq!(parse(&[]).unwrap(), None);
        assert_eq!(parse(&[(REQUIRED, " "), (PORT, "465"), (PER_DAY, "5")]).unwrap(), None);
        let config = with(&[]).unwrap().unwrap();
        let SmtpConfig { host, port, credentials, from, ca_file } = config.smtp.clone();
        assert_eq!((host.as_str(), port, credentials, from.as_str()), ("mail.example", 587, None, "beacon@a.example"));
        assert_eq!((ca_file, config.mails_per_day, config.own_host()), (None, 200, "b.example"));
        let community = |name| Community::new(name).unwrap();
        assert!(!config.requires(&community("mainnet")));
        assert!(with(&[(REQUIRED, "mainnet")]).unwrap().unwrap().requires(&community("mainnet")));
        let all = with(&[(REQUIRED, "*"), ("COMMUNITIES", "*")]).unwrap().unwrap();
        assert!(all.requires(&community("whatever")));
    }

    #[test]
    fn who_sends_is_the_user_unless_another_address_is_named() {
        let credentials = [(USERNAME, "user@a.example"), (PASSWORD, " pass word ")];
        let config = with(&[(FROM, ""), credentials[0], credentials[1]]).unwrap().unwrap();
        assert_eq!(config.smtp.from.as_str(), "user@a.example");
        assert_eq!(config.smtp.credentials.as_ref().unwrap().1, " pass word ");
        assert_eq!(with(&credentials).unwrap().unwrap().smtp.from.as_str(), "beacon@a.example");
        let shown = format!("{config:?}");
        assert!(!shown.contains("pass word") && !shown.contains("user@"), "{shown}");
    }

    #[test]
    fn a_bad_value_is_named_and_no_secret_is_shown() {
        let hook = (WEBHOOK, "https://a.example/hook");
        let secret = (WEBHOOK_SECRET, "sesame sesame sesame");
        for (variables, variable) in [
            (&[(HOST, "mail.example:25")][..], HOST),
            (&[(HOST, "mail example")], HOST),
            (&[(HOST, "https://mail.example")], HOST),
            (&[(HOST, ""), (REQUIRED, "mainnet")], HOST),
            (&[(HOST, "")], HOST),
            (&[(PORT, "0")], PORT),
            (&[(PORT, "65536")], PORT),
            (&[(FROM, "beacon")], FROM),
            (&[(FROM, "")], FROM),
            (&[(FROM, "a@b.example\r\nBcc: c@d.example")], FROM),
            (&[(FROM, ""), (USERNAME, "user"), (PASSWORD, "sesame")], FROM),
            (&[(USERNAME, "user")], PASSWORD),
            (&[(USERNAME, "us\ner"), (PASSWORD, "sesame")], USERNAME),
            (&[(USERNAME, "user"), (PASSWORD, "sesame\nsesame")], PASSWORD),
            (&[(PASSWORD, "sesame")], USERNAME),
            (&[("EXTERNAL_URLS", "")], "EXTERNAL_URLS"),
            (&[(REQUIRED, "other")], REQUIRED),
            (&[(REQUIRED, "mainnet,")], REQUIRED),
            (&[(REQUIRED, "on")], REQUIRED),
            (&[(PER_DAY, "0")], PER_DAY),
            (&[(PER_DAY, "100001")], PER_DAY),
            (&[hook], WEBHOOK_SECRET),
            (&[secret], WEBHOOK_SECRET),
            (&[hook, (WEBHOOK_SECRET, "sesame")], WEBHOOK_SECRET),
            (&[(WEBHOOK, "http://a.example/sesame"), secret], WEBHOOK),
            (&[(WEBHOOK, "https://user:sesame@a.example/"), secret], WEBHOOK),
            (&[(WEBHOOK, "https://a.example/x y"), secret], WEBHOOK),
            (&[(WEBHOOK, "ftp://a.example/"), secret], WEBHOOK),
        ] {
            let error = with(variables).unwrap_err();
            assert_eq!(error.variable, variable, "{variables:?}: {error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
        for url in ["https://a.example:8443/hook?x=y", "http://127.0.0.1:9/", "http://localhost/x", "http://[::1]:9"] {
            let config = with(&[(WEBHOOK, url), secret]).unwrap().unwrap();
            assert_eq!(config.webhook.as_ref().unwrap().url, url);
            assert!(!format!("{config:?}").contains("sesame"));
        }
    }
}
