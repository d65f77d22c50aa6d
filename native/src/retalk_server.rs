//! The program under the name `retalk-server`: the variables and options of retalk's own server, as those of this program.
//!
//! Whoever has a script that starts that server links its name to this program. What its server limits or protects in a way
//! that is not offered here is refused by name: a relay that was closed is not opened in silence.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::path::Path;

use clap::Parser;
use rendezvous_protocol::origin::Origin;

use crate::settings::read_host;

const NAME: &str = "retalk-server";

/// What the names of its server's variables begin with, from 0.0.2 on.
const PREFIX: &str = "RETALK_SERVER_";

/// The addresses that users may have written. Each is up to two for this program, which takes eight.
const AUDIENCES_MAX: usize = 4;

const PORT: &str = "8766";
const HOST: &str = "0.0.0.0";
const DATABASE: &str = "server.db";

const HELP: &str = "\
rendezvous-beacon under this name serves the users of retalk: its doors are v1
and retalk. All of `rendezvous-beacon serve --help` can be set as well, and wins
over these variables; an argument wins over all.

  SERVER_AUDIENCE, RETALK_SERVER_AUDIENCE
             the address that users write, separated by commas where there are
             several, at most 4 (http:// with host and port, 127.0.0.1:8766)
  SERVER_HOST, RETALK_SERVER_HOST
             the address that it listens on (0.0.0.0)
  SERVER_PORT, RETALK_SERVER_PORT
             (8766)
  SERVER_DB, RETALK_SERVER_DB
             (server.db) what it keeps is in a directory of that name with .d at
             its end: it does not read the original's database

Other variables that begin with RETALK_SERVER_ are refused: limits are this
program's own, and there are no access keys.

Examples:
  SERVER_AUDIENCE=http://127.0.0.1:8766 retalk-server
      on this machine
  SERVER_HOST=127.0.0.1 SERVER_AUDIENCE=https://relay.example retalk-server
      behind a proxy that ends TLS";

/// A relay for the users of retalk.
#[derive(Debug, Default, Parser)]
#[command(name = NAME, version, after_help = HELP, max_term_width = 100)]
pub(crate) struct RetalkServerArguments {
    /// The address that users write.
    #[arg(long, value_name = "URL")]
    audience: Option<String>,
    /// The address that it listens on.
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port that it listens on.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// What the directory with its state is named after.
    #[arg(long, value_name = "FILE")]
    db: Option<String>,
}

/// Says why this program cannot stand in for that server.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RetalkServerError {
    #[error("{name} is not offered here, and this relay would be another one without it: unset it")]
    NotOffered { name: String },
    #[error("{what} is not UTF-8")]
    NotUnicode { what: String },
    #[error("the port (SERVER_PORT) is {value:?}: it must be a whole number from 1 to 65535")]
    Port { value: String },
    #[error("the host (SERVER_HOST) is {value:?}: it must be an IP address, or localhost")]
    Host { value: String },
    #[error("the audience (SERVER_AUDIENCE) has {value:?}: it must be an address such as https://relay.example")]
    Audience { value: String },
    #[error("the audience (SERVER_AUDIENCE) has more than {AUDIENCES_MAX} addresses")]
    TooManyAudiences,
    #[error("the audience (SERVER_AUDIENCE) is not set, and PORT is 0: nobody knows the address; set one of them")]
    AudienceUnknown,
}

/// Returns whether the program was called by that server's name.
pub(crate) fn is_called_so(program: Option<&OsStr>) -> bool {
    program.and_then(|program| Path::new(program).file_stem()).is_some_and(|name| name == NAME)
}

impl RetalkServerArguments {
    /// Returns the environment of this process, with what that server's options and variables mean.
    pub(crate) fn environment(&self) -> Result<Vec<(OsString, OsString)>, RetalkServerError> {
        self.translated(std::env::vars_os().collect())
    }

    /// Adds what that server's options and variables mean to an environment. An option takes the place of this program's own
    /// variable; that server's variables do not.
    fn translated(
        &self,
        mut environment: Vec<(OsString, OsString)>,
    ) -> Result<Vec<(OsString, OsString)>, RetalkServerError> {
        let is_set = |value: &OsStr| !value.to_string_lossy().trim().is_empty();
        environment.retain(|(_, value)| is_set(value));
        let known = ["AUDIENCE", "HOST", "PORT", "DB"];
        for (name, _) in &environment {
            let name = name.to_string_lossy();
            if name.strip_prefix(PREFIX).is_some_and(|rest| !known.contains(&rest)) {
                return Err(RetalkServerError::NotOffered { name: name.into_owned() });
            }
        }
        let variable = |name: &str| environment.iter().find(|(found, _)| *found == *name);
        let find = |argument: &Option<String>, name: &str| {
            let found = variable(&format!("{PREFIX}{name}")).or_else(|| variable(&format!("SERVER_{name}")));
            match (argument, found) {
                (Some(value), _) => Ok(Some(value.clone())),
                (None, None) => Ok(None),
                (None, Some((name, value))) => match value.to_str() {
                    Some(value) => Ok(Some(value.trim().to_owned())),
                    None => Err(RetalkServerError::NotUnicode { what: name.to_string_lossy().into_owned() }),
                },
            }
        };
        let host = find(&self.host, "HOST")?.unwrap_or_else(|| HOST.to_owned());
        let port = find(&self.port, "PORT")?.unwrap_or_else(|| PORT.to_owned());
        let address = read_host(&host).ok_or(RetalkServerError::Host { value: host })?;
        let port = port.parse().ok().filter(|port| *port > 0_u16).ok_or(RetalkServerError::Port { value: port })?;
        // What is no host or no port in this program's own variables is refused by their reader.
        let own = |name| variable(name).and_then(|(_, value)| value.to_str()).map(str::trim);
        let address_in_force =
            self.host.is_none().then(|| own("HOST").and_then(read_host)).flatten().unwrap_or(address);
        let own_port = || own("PORT").and_then(|port| port.parse().ok());
        let port_in_force = self.port.is_none().then(own_port).flatten().unwrap_or(port);
        let audience = match find(&self.audience, "AUDIENCE")? {
            Some(audience) => audience,
            None if port_in_force == 0 && own("EXTERNAL_URLS").is_none() => {
                return Err(RetalkServerError::AudienceUnknown);
            }
            None => reached_at(address_in_force, port_in_force),
        };
        let (origins, spellings) = read_audiences(&audience)?;
        let state = format!("{}.d", find(&self.db, "DB")?.unwrap_or_else(|| DATABASE.to_owned()));
        let has_audience = self.audience.is_some();
        for (name, value, is_argument) in [
            ("DOORS", "v1,retalk".to_owned(), false),
            ("EXTERNAL_URLS", origins.join(","), has_audience),
            ("RETALK_AUDIENCES", spellings.join(","), has_audience),
            ("HOST", address.to_string(), self.host.is_some()),
            ("PORT", port.to_string(), self.port.is_some()),
            ("STATE", state, self.db.is_some()),
        ] {
            if is_argument {
                environment.retain(|(found, _)| found != name);
            }
            if !environment.iter().any(|(found, _)| found == name) {
                environment.push((name.into(), value.into()));
            }
        }
        Ok(environment)
    }
}

/// Returns the address at which users on this machine reach what listens there.
fn reached_at(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => format!("http://127.0.0.1:{port}"),
        IpAddr::V6(address) if address.is_unspecified() => format!("http://[::1]:{port}"),
        IpAddr::V4(address) => format!("http://{address}:{port}"),
        IpAddr::V6(address) => format!("http://[{address}]:{port}"),
    }
}

/// Returns the origins of the addresses that users write, and those addresses that are more than an origin.
fn read_audiences(text: &str) -> Result<(Vec<String>, Vec<String>), RetalkServerError> {
    let (mut origins, mut spellings) = (Vec::new(), Vec::new());
    let items: Vec<_> = text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.len() > AUDIENCES_MAX {
        return Err(RetalkServerError::TooManyAudiences);
    }
    for item in items {
        let authority = item.split_once("://").map_or("", |(_, rest)| rest).split(['/', '?', '#']).next();
        let end = item.find("://").map_or(0, |at| at + "://".len()) + authority.map_or(0, str::len);
        let origin = item.get(..end).and_then(Origin::parse);
        let origin = origin.ok_or_else(|| RetalkServerError::Audience { value: item.to_owned() })?;
        let origin = origin.as_str().to_owned();
        if item != origin {
            spellings.push(item.to_owned());
        }
        if !origins.contains(&origin) {
            origins.push(origin);
        }
    }
    Ok((origins, spellings))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translated(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Vec<(String, String)>, RetalkServerError> {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let text = |text: OsString| text.into_string().unwrap();
        let arguments = RetalkServerArguments::try_parse_from([&[NAME], arguments].concat()).unwrap();
        let all = arguments.translated(variables)?;
        Ok(all.into_iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// Returns the value of the only variable of this name.
    fn value_by(arguments: &[&str], variables: &[(&str, &str)], name: &str) -> String {
        let mut values = translated(arguments, variables).unwrap();
        values.retain(|(found, _)| found == name);
        let [(_, value)] = &*values else { panic!("{name} is there once: {values:?}") };
        value.clone()
    }

    fn value(variables: &[(&str, &str)], name: &str) -> String {
        value_by(&[], variables, name)
    }

    #[test]
    fn it_goes_by_the_last_part_of_the_name() {
        for (name, expected) in [
            ("retalk-server", true),
            ("/usr/local/bin/retalk-server", true),
            ("retalk-server.exe", true),
            ("rendezvous-beacon", false),
            ("retalk-server/rendezvous-beacon", false),
        ] {
            assert_eq!(is_called_so(Some(OsStr::new(name))), expected, "{name}");
        }
        assert!(!is_called_so(None));
    }

    #[test]
    fn its_variables_are_read_in_both_spellings_after_our_own() {
        for (variables, name, expected) in [
            (&[][..], "PORT", "8766"),
            (&[], "HOST", "0.0.0.0"),
            (&[], "DOORS", "v1,retalk"),
            (&[], "EXTERNAL_URLS", "http://127.0.0.1:8766"),
            (&[], "STATE", "server.db.d"),
            (&[("SERVER_PORT", "9000"), ("SERVER_HOST", "::1")], "EXTERNAL_URLS", "http://[::1]:9000"),
            (&[("SERVER_PORT", "9000"), ("RETALK_SERVER_PORT", "9001")], "PORT", "9001"),
            (&[("SERVER_PORT", "9000"), ("PORT", "9002")], "PORT", "9002"),
            (&[("SERVER_PORT", " ")], "PORT", "8766"),
            (&[("SERVER_HOST", "localhost")], "HOST", "127.0.0.1"),
            (&[("SERVER_DB", "/var/lib/relay.db")], "STATE", "/var/lib/relay.db.d"),
        ] {
            assert_eq!(value(variables, name), expected, "{variables:?}");
        }
    }

    #[test]
    fn an_option_wins_over_every_variable() {
        let all = [
            ("PORT", "9002"),
            ("SERVER_PORT", "9001"),
            ("HOST", "192.0.2.1"),
            ("STATE", "elsewhere"),
            ("EXTERNAL_URLS", "https://other.example"),
            ("RETALK_AUDIENCES", "https://other.example/"),
        ];
        for (arguments, name, expected) in [
            (["--port", "9000"], "PORT", "9000"),
            (["--host", "127.0.0.1"], "HOST", "127.0.0.1"),
            (["--db", "relay.db"], "STATE", "relay.db.d"),
            (["--audience", "https://relay.example"], "EXTERNAL_URLS", "https://relay.example"),
            (["--audience", "https://relay.example"], "RETALK_AUDIENCES", ""),
            (["--audience", "https://relay.example"], "PORT", "9002"),
            (["--port", "9000"], "EXTERNAL_URLS", "https://other.example"),
        ] {
            assert_eq!(value_by(&arguments, &all, name), expected, "{arguments:?}");
        }
    }

    #[test]
    fn without_an_audience_it_is_that_of_the_host_and_the_port_in_force() {
        for (arguments, variables, expected) in [
            (&["--port", "9000"][..], &[][..], "http://127.0.0.1:9000"),
            (&["--port", "9000"], &[("PORT", "9002")], "http://127.0.0.1:9000"),
            (&[], &[("PORT", "9002"), ("SERVER_PORT", "9001")], "http://127.0.0.1:9002"),
            (&[], &[("HOST", "192.0.2.1"), ("SERVER_HOST", "::1")], "http://192.0.2.1:8766"),
            (&["--host", "::1"], &[("HOST", "192.0.2.1")], "http://[::1]:8766"),
        ] {
            assert_eq!(value_by(arguments, variables, "EXTERNAL_URLS"), expected, "{arguments:?} {variables:?}");
        }
        assert_eq!(translated(&[], &[("PORT", "0")]), Err(RetalkServerError::AudienceUnknown));
        let known = [("PORT", "0"), ("SERVER_AUDIENCE", "https://relay.example")];
        assert_eq!(value(&known, "EXTERNAL_URLS"), "https://relay.example");
        assert_eq!(
            value(&[("PORT", "0"), ("EXTERNAL_URLS", "https://a.example")], "EXTERNAL_URLS"),
            "https://a.example"
        );
    }

    #[test]
    fn an_address_is_taken_as_users_write_it() {
        for (audience, origins, spellings) in [
            ("http://127.0.0.1:8766", "http://127.0.0.1:8766", ""),
            ("HTTPS://Relay.example/", "https://relay.example", "HTTPS://Relay.example/"),
            (
                "https://relay.example/path?query, https://relay.example",
                "https://relay.example",
                "https://relay.example/path?query",
            ),
        ] {
            let variables = [("SERVER_AUDIENCE", audience)];
            assert_eq!(value(&variables, "EXTERNAL_URLS"), origins);
            assert_eq!(value(&variables, "RETALK_AUDIENCES"), spellings);
        }
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_its_name() {
        for (name, value, named) in [
            ("RETALK_SERVER_REQUIRE_API_KEY", "1", "RETALK_SERVER_REQUIRE_API_KEY"),
            ("RETALK_SERVER_MAX_MAILBOX", "10", "RETALK_SERVER_MAX_MAILBOX"),
            ("SERVER_PORT", "0", "SERVER_PORT"),
            ("SERVER_PORT", "http", "SERVER_PORT"),
            ("SERVER_HOST", "relay.example", "SERVER_HOST"),
            ("SERVER_AUDIENCE", "relay.example", "SERVER_AUDIENCE"),
            ("SERVER_AUDIENCE", "https://user@relay.example", "SERVER_AUDIENCE"),
            ("SERVER_AUDIENCE", "http://a,http://b,http://c,http://d,http://e", "SERVER_AUDIENCE"),
        ] {
            let error = translated(&[], &[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(named), "{name}={value}: {error}");
        }
    }
}
