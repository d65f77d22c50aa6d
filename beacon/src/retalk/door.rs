//! What the operator decides of the door.

use rendezvous_protocol::origin::Origin;

use crate::config::{Config, ConfigError, Kind, MailDoor, Variable};
use crate::own_names::{OwnNames, name_of};

const AUDIENCES: &str = "RETALK_AUDIENCES";

/// The variables of the door, in the order in which they are explained.
pub const VARIABLES: [Variable; 1] = [Variable::new(AUDIENCES, Kind::List, "")];

/// The most addresses in all. A client does not say for which of them it has signed, so each may have to be tried.
const AUDIENCES_MAX: usize = 8;

/// Bytes of one address.
const AUDIENCE_MAX_BYTES: usize = 300;

const SPELLINGS: &str =
    "addresses of this beacon as users write them, separated by commas, with those of EXTERNAL_URLS at most 8";
const OTHER_HOST: &str = "of a host in EXTERNAL_URLS, or of this machine: requests for others are refused";
const NO_DOOR: &str = "nothing where DOORS has no retalk: there is no door for it";
const NO_ADDRESS: &str = "the addresses of this beacon where DOORS has retalk: its users sign for them";

/// Holds the addresses for which users sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    origins: Vec<Origin>,
    /// Other spellings, as they are.
    spellings: Vec<String>,
}

impl Door {
    /// Reads the door's variables. There is no door where none is opened. `names` are those that requests may be for.
    ///
    /// # Errors
    /// [`ConfigError`] names the first variable whose value is not of its kind.
    pub fn parse(
        config: &Config,
        names: &OwnNames,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, ConfigError> {
        let text = variable(AUDIENCES).unwrap_or_default().trim().to_owned();
        let error = |variable, value: &str, expected: &str| ConfigError {
            variable,
            value: value.to_owned(),
            expected: expected.to_owned(),
        };
        if !config.doors.contains(&MailDoor::Retalk) {
            return if text.is_empty() { Ok(None) } else { Err(error(AUDIENCES, &text, NO_DOOR)) };
        }
        let items = text.split(',').map(str::trim).filter(|_| !text.is_empty());
        let is_address = |item: &str| {
            (1..=AUDIENCE_MAX_BYTES).contains(&item.len()) && item.bytes().all(|byte| byte.is_ascii_graphic())
        };
        let spellings: Option<Vec<_>> = items.map(|item| is_address(item).then(|| item.to_owned())).collect();
        let origins = config.external_urls.clone();
        let spellings = spellings.filter(|spellings| spellings.len() + origins.len() <= AUDIENCES_MAX);
        let spellings = spellings.ok_or_else(|| error(AUDIENCES, &text, SPELLINGS))?;
        if let Some(other) =
            spellings.iter().find(|spelling| !host_of(spelling).is_some_and(|host| names.answers_to(host)))
        {
            return Err(error(AUDIENCES, other, OTHER_HOST));
        }
        if spellings.is_empty() && origins.is_empty() {
            return Err(error("EXTERNAL_URLS", "", NO_ADDRESS));
        }
        Ok(Some(Self { origins, spellings }))
    }

    /// Returns every text that a user may have signed for who sends a request to this path, with its query: each origin, with
    /// a slash and without, and the whole address. Those of the host that the request names are first, because the address at
    /// which a client asks is the one that it signs; behind a proxy that names another host it may be any of the others.
    pub(crate) fn audiences(&self, host: Option<&str>, path_and_query: &str) -> Audiences {
        let asked = host.and_then(name_of);
        let of_origin = |origin: &Origin| {
            let whole = Some(path_and_query).filter(|path| *path != "/");
            ["", "/"].into_iter().chain(whole).map(|rest| format!("{}{rest}", origin.as_str())).collect::<Vec<_>>()
        };
        let mut audiences = Audiences::default();
        for audience in self.origins.iter().flat_map(of_origin).chain(self.spellings.iter().cloned()) {
            let is_asked = asked.is_some() && host_of(&audience).and_then(name_of) == asked;
            let known = if is_asked { &mut audiences.first } else { &mut audiences.others };
            // Each is a signature to check.
            if !known.contains(&audience) {
                known.push(audience);
            }
        }
        if audiences.first.is_empty() { Audiences { first: audiences.others, others: Vec::new() } } else { audiences }
    }
}

/// Holds the texts that a user may have signed for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Audiences {
    /// Those that are tried first.
    pub(crate) first: Vec<String>,
    /// Those that are tried where none of these fits.
    pub(crate) others: Vec<String>,
}

/// Returns the host of an address, with its port, as clients ask for it.
pub(crate) fn host_of(address: &str) -> Option<&str> {
    let (_, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(authority.rsplit_once('@').map_or(authority, |(_, host)| host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::given;

    fn parse_on(listens_on: &str, variables: &[(&str, &str)]) -> Result<Option<Door>, ConfigError> {
        let config = Config::parse_for(&MailDoor::ALL, given(variables))?;
        Door::parse(&config, &OwnNames::new(&config, listens_on.parse().unwrap()), given(variables))
    }

    fn parse(variables: &[(&str, &str)]) -> Result<Option<Door>, ConfigError> {
        parse_on("127.0.0.1", variables)
    }

    #[test]
    fn a_door_is_open_where_it_is_opened_and_has_an_address() {
        let [open, url] = [("DOORS", "v1,retalk"), ("EXTERNAL_URLS", "https://a.example, http://b.example:8766")];
        assert_eq!(parse(&[url]).unwrap(), None);
        // Twice the same is once.
        let spellings = (AUDIENCES, "HTTPS://a.example,https://a.example/,HTTPS://a.example");
        let door = parse(&[open, url, spellings]).unwrap().unwrap();
        let roots = [
            "https://a.example",
            "https://a.example/",
            "http://b.example:8766",
            "http://b.example:8766/",
            "HTTPS://a.example",
        ];
        for host in [None, Some("127.0.0.1:8787"), Some("proxied"), Some("")] {
            let Audiences { first, others } = door.audiences(host, "/");
            assert_eq!((first, others), (roots.map(str::to_owned).to_vec(), Vec::new()), "{host:?}");
        }
        for (host, expected) in [("A.example.", &[0, 1, 4][..]), ("a.example:443", &[0, 1, 4]), ("b.example", &[2, 3])]
        {
            let Audiences { first, others } = door.audiences(Some(host), "/");
            assert_eq!(first, expected.iter().map(|at| roots[*at]).collect::<Vec<_>>(), "{host}");
            assert_eq!(first.len() + others.len(), roots.len());
        }
        let of_path = door.audiences(Some("b.example:8766"), "/x?y").first;
        assert_eq!(of_path, ["http://b.example:8766", "http://b.example:8766/", "http://b.example:8766/x?y"]);
        assert!(parse(&[open, (AUDIENCES, "http://localhost:8787")]).unwrap().is_some());
    }

    #[test]
    fn an_address_whose_requests_would_be_refused_is_none_for_which_users_sign() {
        let [open, url] = [("DOORS", "retalk"), ("EXTERNAL_URLS", "https://a.example")];
        for (address, on_loopback, on_all) in [
            ("HTTPS://A.example.:443/some?path", true, true),
            ("https://me@a.example#here", true, true),
            ("http://127.0.0.1:8787/", true, true),
            ("http://[::1]:8787", true, true),
            ("http://192.0.2.1:8787", false, true),
            ("http://c.example", false, false),
            ("https://a.example@c.example", false, false),
            ("https://c.example/a.example", false, false),
            ("a.example", false, false),
            ("https://", false, false),
        ] {
            for (listens_on, is_good) in [("127.0.0.1", on_loopback), ("0.0.0.0", on_all)] {
                let parsed = parse_on(listens_on, &[open, url, (AUDIENCES, address)]);
                let refused = parsed.err().map(|error| (error.variable, error.value));
                assert_eq!(refused, (!is_good).then(|| (AUDIENCES, address.to_owned())), "{address} on {listens_on}");
            }
        }
    }

    #[test]
    fn a_bad_value_is_named() {
        let open = ("DOORS", "retalk");
        let many = ["http://a.example"; AUDIENCES_MAX + 1].join(",");
        let cases: [(&[(&str, &str)], &str); 5] = [
            (&[open], "EXTERNAL_URLS"),
            (&[open, (AUDIENCES, &many)], AUDIENCES),
            (&[open, (AUDIENCES, "http://a.example,")], AUDIENCES),
            (&[open, (AUDIENCES, "http://a b")], AUDIENCES),
            (&[(AUDIENCES, "http://a.example")], AUDIENCES),
        ];
        for (variables, variable) in cases {
            assert_eq!(parse(variables).unwrap_err().variable, variable, "{variables:?}");
        }
        assert!(SPELLINGS.ends_with(&AUDIENCES_MAX.to_string()));
        let variable = |name: &str| (name == "DOORS").then(|| "v1,retalk".to_owned());
        assert_eq!(
            Config::parse(variable).unwrap_err().variable,
            "DOORS",
            "a host without the door refuses it by name"
        );
    }
}
