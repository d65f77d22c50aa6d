//! The settings: environment beats file beats default, and whatever cannot be read is an error that names it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rendezvous_protocol::goop2::CircuitRelay;
use rendezvous_protocol::safe_text;
use rendezvous_service::circuit_relay::{self, OwnRelay};
use rendezvous_service::config::{
    Config, ConfigError, Kind, MailDoor, VARIABLES, Variable, list_text, near_miss, shown,
};
use rendezvous_service::directory::{self, HubConfig};
use rendezvous_service::mailbox::{self, Peers};
use rendezvous_service::mesh::{self, EnvelopeDoor};
use rendezvous_service::own_names::OwnNames;
use rendezvous_service::registration::{self, RegistrationConfig, RegistrationDoor};
use rendezvous_service::{goop2, retalk};
use toml::{Table, Value};

/// The variables of this program, besides those of the service.
const OWN: [Variable; 8] = [
    Variable::new("HOST", Kind::Text, "127.0.0.1"),
    Variable::new("PORT", Kind::Number, "8787"),
    Variable::new("STATE", Kind::Text, ".beacon"),
    Variable::new("LAN", Kind::Text, OFF),
    Variable::new("METRICS_ADDRESS", Kind::Text, ""),
    Variable::new("ADMIN_ADDRESS", Kind::Text, ""),
    Variable::new("THREADS", Kind::Number, ""),
    Variable::new(TEMPLATES_DIR, Kind::Text, TEMPLATES),
];

const TEMPLATES_DIR: &str = "TEMPLATES_DIR";

/// The folder of templates where nothing is said. It need not be there, nor have templates of sites in it.
const TEMPLATES: &str = "templates";

/// The values of `LAN`.
const OFF: &str = "off";
const ON: &str = "on";

/// The address to listen on where `LAN` is on and nothing is said of it: else nobody in the network would reach the beacon.
const LAN_HOST: &str = "0.0.0.0";

/// Bytes of a file of configuration. Thousands of keys fit.
const FILE_MAX_BYTES: u64 = 1024 * 1024;

/// The most event loops.
const THREADS_MAX: usize = 256;

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{path} cannot be read: {error}")]
    File { path: String, error: io::Error },
    #[error("{path} is longer than {FILE_MAX_BYTES} bytes")]
    TooLong { path: String },
    #[error("{path}, line {line}, is not TOML: {message}")]
    NotToml { path: String, line: usize, message: String },
    #[error("{path}: {field} is not a setting{}", meant.map(|meant| format!(": {meant} is")).unwrap_or_default())]
    UnknownField { path: String, field: String, meant: Option<&'static str> },
    #[error("{path}: {field} is {found}: it must be {expected}")]
    WrongType { path: String, field: &'static str, found: &'static str, expected: &'static str },
    #[error(
        "{path}: the list {field} has the item {}: an item is a text that is not empty and has no comma",
        shown(item)
    )]
    WrongItem { path: String, field: &'static str, item: String },
    #[error("the environment variable {found} is not a setting of this program: {meant} is")]
    NearMiss { found: String, meant: &'static str },
    #[error("the environment variable {name} is not UTF-8")]
    NotUnicode { name: &'static str },
    #[error("{error} (set by {source_name})")]
    Value { error: ConfigError, source_name: String },
}

impl SettingsError {
    /// Returns what to do about it, where that does not go without saying.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        match self {
            Self::UnknownField { .. } => Some("`rendezvous-beacon serve --print-config` has all settings"),
            Self::NearMiss { .. } => Some("rename it, or unset it"),
            Self::NotToml { .. } => Some("`rendezvous-beacon serve --print-config` shows how a file looks"),
            _ => None,
        }
    }
}

/// Holds the doors that this host has and the Worker has not, those that are opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct NativeDoors {
    pub(crate) goop2: Option<goop2::Door>,
    pub(crate) retalk: Option<retalk::Door>,
    /// The relays that push to this one, and that it pushes to.
    pub(crate) peers: Option<Arc<Peers>>,
    /// For another fleet's envelopes.
    pub(crate) envelopes: Option<Arc<EnvelopeDoor>>,
    /// Where keys are registered.
    pub(crate) registration: Option<Arc<RegistrationDoor>>,
}

/// Holds everything that is set.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) doors: NativeDoors,
    /// The hub, if there is one.
    pub(crate) hub: Option<HubConfig>,
    pub(crate) listen: SocketAddr,
    /// Whether the beacon is announced in the local network.
    pub(crate) lan: bool,
    pub(crate) state: PathBuf,
    pub(crate) metrics: Option<SocketAddr>,
    /// Where the operator is served; there is a password then.
    pub(crate) admin: Option<SocketAddr>,
    /// Event loops.
    pub(crate) threads: usize,
    /// The folder of templates, if there is to be one.
    pub(crate) templates: Option<TemplatesFolder>,
    /// The relay of libp2p's that runs beside the beacon, if one does.
    pub(crate) own_relay: Option<OwnRelay>,
    values: Values,
    file: Option<String>,
}

/// Names the folder of templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TemplatesFolder {
    pub(crate) path: PathBuf,
    /// Whether it is the default one, which need not be there, and may be another program's.
    pub(crate) is_default: bool,
}

impl TemplatesFolder {
    /// Reads a value, which is empty where no templates are offered. Where a file says the default, as the one does that is
    /// shipped, nothing else is meant.
    fn parse(value: &str) -> Option<Self> {
        let path = value.trim();
        (!path.is_empty()).then(|| Self { path: path.into(), is_default: path == TEMPLATES })
    }
}

/// A value, and who has set it.
#[derive(Clone)]
struct Set {
    value: String,
    source: Source,
}

impl fmt::Debug for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value may be the password.
        formatter.debug_struct("Set").field("source", &self.source).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Default,
    File,
    Environment,
    Argument,
}

fn variables() -> impl Iterator<Item = Variable> {
    let of_doors =
        goop2::VARIABLES.into_iter().chain(retalk::VARIABLES).chain(mailbox::VARIABLES).chain(mesh::VARIABLES);
    OWN.into_iter()
        .chain(VARIABLES)
        .chain(circuit_relay::VARIABLES)
        .chain(of_doors)
        .chain(directory::VARIABLES)
        .chain(registration::VARIABLES)
}

impl Settings {
    /// Reads the environment of this process, and the file. `lan` says that an argument has set `LAN`.
    pub(crate) fn of_process(file: Option<&Path>, lan: bool) -> Result<Self, SettingsError> {
        let (mut values, file) = read_values(read_file(file)?, std::env::vars_os())?;
        if lan {
            values.insert("LAN", Set { value: ON.to_owned(), source: Source::Argument });
        }
        Self::of_values(values, file)
    }

    /// Reads an environment, and a file, given as its name and its text.
    pub(crate) fn parse(
        file: Option<(String, String)>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, SettingsError> {
        let (values, file) = read_values(file, environment)?;
        Self::of_values(values, file)
    }

    fn of_values(mut values: Values, file: Option<String>) -> Result<Self, SettingsError> {
        let lan = read_lan(&mut values).map_err(|error| wrong_value(&values, file.as_deref(), error))?;
        let in_error = |error| wrong_value(&values, file.as_deref(), error);
        let text = |name: &str| values.get(name).map(|set| set.value.clone());
        let config = Config::parse_for(&MailDoor::ALL, text).map_err(in_error)?;
        let one = |variable, expected: &str, text: Option<&str>| {
            let value = values.get(variable).map(|set| set.value.clone()).unwrap_or_default();
            in_error(ConfigError { variable, value: text.unwrap_or(&value).to_owned(), expected: expected.to_owned() })
        };
        let trimmed = |variable: &str| text(variable).unwrap_or_default().trim().to_owned();
        let host = read_host(&trimmed("HOST"));
        let host = host.ok_or_else(|| one("HOST", "an IP address, or localhost", None))?;
        let registration = RegistrationConfig::parse(&config, text).map_err(in_error)?;
        let doors = NativeDoors {
            goop2: goop2::Door::parse(&config, text).map_err(in_error)?,
            retalk: retalk::Door::parse(&config, &OwnNames::new(&config, host), text).map_err(in_error)?,
            peers: Peers::parse(&config, text).map_err(in_error)?.map(Arc::new),
            envelopes: EnvelopeDoor::parse(text).map_err(in_error)?.map(Arc::new),
            registration: registration.map(|registration| Arc::new(RegistrationDoor::new(&config, registration))),
        };
        let hub = HubConfig::parse(&config, text).map_err(in_error)?;
        let own_relay = OwnRelay::parse(&config, host, text).map_err(in_error)?;
        let port = trimmed("PORT").parse().map_err(|_| one("PORT", "a whole number from 0 to 65535", None))?;
        let state = read_state(&values).map_err(in_error)?;
        let address = |variable, example: &str| match trimmed(variable).as_str() {
            "" => Ok(None),
            address => {
                let expected = format!("an IP address and a port, such as {example}, or nothing");
                address.parse().map(Some).map_err(|_| one(variable, &expected, None))
            }
        };
        let metrics = address("METRICS_ADDRESS", "127.0.0.1:9090")?;
        let admin = address("ADMIN_ADDRESS", "127.0.0.1:8786")?;
        match (config.notice.admin_password(), admin) {
            (Some(_), None) => {
                let expected = "an IP address and a port, such as 127.0.0.1:8786, where ADMIN_PASSWORD is set";
                return Err(one("ADMIN_ADDRESS", expected, None));
            }
            (None, Some(_)) => {
                return Err(one("ADMIN_PASSWORD", "of at least 16 characters where ADMIN_ADDRESS is set", None));
            }
            (Some(_), Some(_)) | (None, None) => {}
        }
        let threads = match trimmed("THREADS").as_str() {
            "" => std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(THREADS_MAX),
            number => {
                let number = number.parse().ok().filter(|threads| (1..=THREADS_MAX).contains(threads));
                number.ok_or_else(|| one("THREADS", "a whole number from 1 to 256, or nothing", None))?
            }
        };
        Ok(Self {
            config,
            doors,
            hub,
            listen: SocketAddr::new(host, port),
            lan,
            state,
            metrics,
            admin,
            threads,
            templates: TemplatesFolder::parse(&trimmed(TEMPLATES_DIR)),
            own_relay,
            values,
            file,
        })
    }

    /// Has everybody told of the relay that runs beside the beacon, but guests for whom the operator names another.
    #[must_use]
    pub(crate) fn with_circuit_relay(mut self, relay: &Arc<CircuitRelay>) -> Self {
        self.config = self.config.with_circuit_relay(Arc::clone(relay));
        self.doors.goop2 = self.doors.goop2.map(|door| door.with_default_relay(Arc::clone(relay)));
        self
    }

    /// Writes what is in force as a file of configuration.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = "# What is in force, and where each value is from. A file for --config.\n".to_owned();
        let file = self.file.as_deref().map_or_else(|| "the file".to_owned(), |file| safe_text::hide(file, &[]));
        for Variable { name, kind, .. } in variables() {
            let Some(Set { value, source }) = self.values.get(name) else { continue };
            let source = match source {
                Source::Default => "the default",
                Source::File => &file,
                Source::Environment => "the environment",
                Source::Argument => "an argument",
            };
            let (value, source) = (to_value(kind, value), source.escape_debug());
            // Writing to a string cannot fail.
            let _ = match kind {
                // As a comment, so that the file that this makes does not set another secret.
                Kind::Secret if value != Value::String(String::new()) => {
                    writeln!(text, "# {name}, not shown, # {source}")
                }
                _ => writeln!(text, "{name} = {value} # {source}"),
            };
        }
        text
    }
}

/// Reads where the state is, for what needs nothing else: the other variables may be set for the service alone, as a password
/// often is, and are not judged.
pub(crate) fn state_of_process(file: Option<&Path>) -> Result<PathBuf, SettingsError> {
    let (values, file) = read_values(read_file(file)?, std::env::vars_os())?;
    read_state(&values).map_err(|error| wrong_value(&values, file.as_deref(), error))
}

fn read_state(values: &Values) -> Result<PathBuf, ConfigError> {
    let value = values.get("STATE").map(|set| set.value.clone()).unwrap_or_default();
    if value.trim().is_empty() {
        return Err(ConfigError { variable: "STATE", value, expected: "a directory".to_owned() });
    }
    Ok(value.into())
}

/// Reads whether the beacon is announced in the local network, and sets what follows from that.
fn read_lan(values: &mut Values) -> Result<bool, ConfigError> {
    let value = |name: &str| values.get(name).map(|set| set.value.clone()).unwrap_or_default();
    let wrong =
        |variable, expected: &str| Err(ConfigError { variable, value: value(variable), expected: expected.to_owned() });
    match value("LAN").trim() {
        OFF => return Ok(false),
        ON => {}
        _ => return wrong("LAN", "on or off"),
    }
    // Else whoever is in the network would write the header.
    if !value("CLIENT_ADDRESS_HEADER").trim().is_empty() {
        return wrong(
            "CLIENT_ADDRESS_HEADER",
            "nothing where LAN is on, because clients in that network come without a proxy",
        );
    }
    match values.get("HOST") {
        Some(Set { source: Source::Default, .. }) | None => {
            values.insert("HOST", Set { value: LAN_HOST.to_owned(), source: Source::Default });
        }
        Some(Set { value: host, .. }) => {
            if read_host(host.trim()).is_some_and(|host| host.to_canonical().is_loopback()) {
                return wrong("HOST", "an address that the local network reaches, such as 0.0.0.0, where LAN is on");
            }
        }
    }
    Ok(true)
}

/// Says who has set a value that is wrong.
fn wrong_value(values: &Values, file: Option<&str>, error: ConfigError) -> SettingsError {
    let source_name = match values.get(error.variable).map(|set| set.source) {
        Some(Source::File) => file.unwrap_or_default(),
        Some(Source::Environment) => "the environment",
        Some(Source::Argument) => "an argument",
        Some(Source::Default) | None => "default",
    };
    SettingsError::Value { error, source_name: source_name.to_owned() }
}

fn read_file(path: Option<&Path>) -> Result<Option<(String, String)>, SettingsError> {
    path.map(|path| Ok((path.display().to_string(), read(path)?))).transpose()
}

type Values = BTreeMap<&'static str, Set>;

/// Returns the value of every variable, and the name of the file.
fn read_values(
    file: Option<(String, String)>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<(Values, Option<String>), SettingsError> {
    let default =
        |variable: Variable| (variable.name, Set { value: variable.default.to_owned(), source: Source::Default });
    let mut values: Values = variables().map(default).collect();
    let mut set = |name, value, source| values.insert(name, Set { value, source });
    let (file, text) = file.unzip();
    if let (Some(path), Some(text)) = (&file, text) {
        for (name, value) in read_fields(path, &text)? {
            set(name, value, Source::File);
        }
    }
    for (name, value) in read_environment(environment)? {
        set(name, value, Source::Environment);
    }
    Ok((values, file))
}

fn to_value(kind: Kind, text: &str) -> Value {
    let number = || text.trim().parse().ok().map(Value::Integer);
    let items = || text.split(',').map(|item| Value::String(item.trim().to_owned())).collect();
    match kind {
        Kind::Number => number().unwrap_or_else(|| Value::String(text.to_owned())),
        // Alone it is not an item of a list but what stands in the place of one.
        Kind::List if text.trim() == "*" => Value::String("*".to_owned()),
        Kind::List if text.trim().is_empty() => Value::Array(Vec::new()),
        Kind::List => Value::Array(items()),
        Kind::Text | Kind::Secret => Value::String(text.to_owned()),
    }
}

fn read(path: &Path) -> Result<String, SettingsError> {
    let name = || path.display().to_string();
    let in_error = |error| SettingsError::File { path: name(), error };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(in_error)?;
    file.take(FILE_MAX_BYTES + 1).read_to_string(&mut text).map_err(in_error)?;
    if text.len() as u64 > FILE_MAX_BYTES { Err(SettingsError::TooLong { path: name() }) } else { Ok(text) }
}

/// Returns the fields of a file as the texts of variables.
fn read_fields(path: &str, text: &str) -> Result<Vec<(&'static str, String)>, SettingsError> {
    let path = || path.to_owned();
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        // Not the line itself, which may be that of the password.
        let before = error.span().and_then(|at| text.get(..at.start)).unwrap_or_default();
        SettingsError::NotToml {
            path: path(),
            line: before.lines().count().max(1),
            message: error.message().to_owned(),
        }
    })?;
    let mut fields = Vec::new();
    for (field, value) in table {
        let Some(Variable { name, kind, .. }) = variables().find(|variable| variable.name == field) else {
            let meant = near_miss(&field, variables().map(|variable| variable.name));
            return Err(SettingsError::UnknownField { path: path(), field, meant });
        };
        let text = match (kind, value) {
            (_, Value::String(text)) => text,
            (Kind::Number, Value::Integer(number)) => number.to_string(),
            (Kind::List, Value::Array(items)) => {
                let items: Result<Vec<_>, _> = items.iter().map(|item| item.as_str().ok_or(item.type_str())).collect();
                let items = items.map_err(|found| SettingsError::WrongType {
                    path: path(),
                    field: name,
                    found: of_type(found),
                    expected: "a list of texts",
                })?;
                list_text(items).map_err(|item| SettingsError::WrongItem {
                    path: path(),
                    field: name,
                    item: item.to_owned(),
                })?
            }
            (kind, value) => {
                let expected = match kind {
                    Kind::Text | Kind::Secret => "a text",
                    Kind::Number => "a whole number",
                    Kind::List => "a list of texts",
                };
                let found = of_type(value.type_str());
                return Err(SettingsError::WrongType { path: path(), field: name, found, expected });
            }
        };
        fields.push((name, text));
    }
    Ok(fields)
}

fn of_type(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "float" => "a number with a point",
        "boolean" => "true or false",
        "datetime" => "a date",
        "array" => "a list",
        _ => "a table",
    }
}

/// Returns the variables that are set. One that is empty, or nothing but white space, is not: that is how containers
/// pass what is not set.
fn read_environment(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(&'static str, String)>, SettingsError> {
    let mut values = Vec::new();
    for (name, value) in environment {
        // A name that is not text is not one of ours, and not near to one.
        let (Ok(found), false) = (name.into_string(), value.to_string_lossy().trim().is_empty()) else { continue };
        match variables().find(|variable| variable.name == found) {
            Some(Variable { name, .. }) => {
                values.push((name, value.into_string().map_err(|_| SettingsError::NotUnicode { name })?));
            }
            None => {
                if let Some(meant) = near_miss(&found, variables().map(|variable| variable.name)) {
                    return Err(SettingsError::NearMiss { found, meant });
                }
            }
        }
    }
    Ok(values)
}

/// Reads an IP address, in brackets or not, or `localhost`.
pub(crate) fn read_host(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare == "localhost" { Some(IpAddr::from([127, 0, 0, 1])) } else { bare.parse().ok() }
}
