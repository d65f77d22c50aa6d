//! `/admin`: figures for the operator alone.
//!
//! Basic authentication (RFC 7617), user `admin`. Whoever guesses is limited by path as all clients are, with far fewer
//! attempts, and a page of elsewhere cannot let its visitors guess. No figure is an address or says who anybody is.

use std::fmt::Write as _;

use rendezvous_protocol::base64;
use rendezvous_protocol::secret::Secret;
use rendezvous_protocol::time::UnixMillis;

use crate::answer::{Answer, Content, Outcome};
use crate::config::Config;
use crate::info::comma;
use crate::problem::Problem;
use crate::survey::{Summary, Survey};

/// The path.
pub(crate) const PATH: &str = "/admin";

/// Attempts a minute that one address may make, right ones too.
pub(crate) const ATTEMPTS_PER_ADDRESS: u32 = 10;

/// Attempts a minute that one IPv4 /24 or IPv6 /56 may make.
pub(crate) const ATTEMPTS_PER_NETWORK: u32 = 40;

/// Counts what was refused, by code. There are some thirty codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals(Vec<(&'static str, u64)>);

impl Refusals {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        if let Outcome::Refused(code) = outcome {
            self.add_to(code, 1);
        }
    }

    pub(crate) fn add(&mut self, others: &Self) {
        for (code, count) in &others.0 {
            self.add_to(code, *count);
        }
    }

    fn add_to(&mut self, code: &'static str, more: u64) {
        match self.0.iter_mut().find(|(counted, _)| *counted == code) {
            Some((_, count)) => *count += more,
            None => self.0.push((code, more)),
        }
    }
}

/// Checks the header `Sec-Fetch-Site`.
///
/// # Errors
/// [`Problem::CrossSite`].
pub(crate) fn check_site(fetch_site: Option<&str>) -> Result<(), Problem> {
    // Programs send none. A browser that does not is one of before 2023, and reads no answer for a page of elsewhere.
    if matches!(fetch_site, None | Some("same-origin" | "none")) { Ok(()) } else { Err(Problem::CrossSite) }
}

/// Checks the header `Authorization`.
///
/// # Errors
/// [`Problem::PasswordWrong`].
pub(crate) fn check(secret: &Secret, password: &str, authorization: Option<&str>) -> Result<(), Problem> {
    let right = base64::encode(&[b"admin:", password.as_bytes()].concat());
    let given = authorization.and_then(credentials).unwrap_or_default();
    // An empty text is not the right one: the user's name is in it.
    if secret.are_equal(given.as_bytes(), right.as_bytes()) { Ok(()) } else { Err(Problem::PasswordWrong) }
}

/// Returns the credentials, in base64, of which one text has one spelling.
fn credentials(authorization: &str) -> Option<&str> {
    let (scheme, credentials) = authorization.split_at_checked("Basic ".len())?;
    scheme.eq_ignore_ascii_case("Basic ").then_some(credentials)
}

/// Returns the answer that says what is wrong, which no page of elsewhere may read.
pub(crate) fn refuse(now: UnixMillis, problem: &Problem) -> Answer {
    let mut answer = in_window(problem.answer_without_list(now), "application/problem+json; charset=utf-8");
    if matches!(problem, Problem::PasswordWrong) {
        answer.headers.push(("WWW-Authenticate", r#"Basic realm="rendezvous-beacon", charset="UTF-8""#.to_owned()));
    }
    answer
}

/// Makes the answer from what was found out about the communities that are known.
pub(crate) fn answer(now: UnixMillis, config: &Config, refusals: &Refusals, survey: &Survey) -> Answer {
    let (mut refused, mut communities) = (String::new(), String::new());
    for (code, count) in &refusals.0 {
        // Writing to a string cannot fail.
        let _ = write!(refused, "{}\"{code}\":{count}", comma(&refused));
    }
    for (community, summary) in survey.summaries(config) {
        let _ = write!(communities, "{}{{\"name\":\"{community}\"", comma(&communities));
        if let Some(Summary { live, networks: [providers, sites, households], of_itself }) = summary {
            let _ = write!(
                communities,
                r#","live":{live},"providers":{providers},"sites":{sites},"households":{households}"#
            );
            if !of_itself.is_empty() {
                let _ = write!(communities, ",\"activity\":{of_itself}");
            }
        }
        communities.push('}');
    }
    let omitted = survey.omitted(config);
    let figures = format!(
        r#"{{"ok":true,"serverTime":{now},"refused":{{{refused}}},"communities":[{communities}],"omitted":{omitted}}}"#
    );
    in_window(Answer::of_json(figures), "application/json; charset=utf-8")
}

/// Returns the same answer for a window of the beacon's own, and for no cache.
fn in_window(mut answer: Answer, media_type: &str) -> Answer {
    answer.headers.push(("Content-Type", media_type.to_owned()));
    answer.headers.push(("Cache-Control", "no-store".to_owned()));
    Answer { content: Content::Page, ..answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "correct horse battery staple";

    fn outcome(fetch_site: Option<&str>, authorization: Option<&str>) -> u16 {
        let config = Config::parse(|name| (name == "ADMIN_PASSWORD").then(|| PASSWORD.to_owned())).unwrap();
        let (secret, now) = (Secret::from_bytes([7; 16]), UnixMillis::saturating(0));
        let password = config.notice.admin_password().unwrap();
        check_site(fetch_site)
            .and_then(|()| check(&secret, password, authorization))
            .map_or_else(|problem| refuse(now, &problem).status, |()| 200)
    }

    fn basic(credentials: &str) -> String {
        format!("Basic {}", base64::encode(credentials.as_bytes()))
    }

    #[test]
    fn the_user_admin_with_the_password_is_let_in() {
        for (expected, credentials) in [
            (200, format!("admin:{PASSWORD}")),
            (401, format!("Admin:{PASSWORD}")),
            (401, format!("root:{PASSWORD}")),
            (401, format!("admin:{PASSWORD} ")),
            (401, format!("admin:{}", PASSWORD.trim_start_matches('c'))),
            (401, "admin:".to_owned()),
            (401, PASSWORD.to_owned()),
            (401, String::new()),
        ] {
            assert_eq!(outcome(None, Some(&basic(&credentials))), expected, "{credentials}");
        }
        let right = basic(&format!("admin:{PASSWORD}"));
        assert_eq!(outcome(None, Some(&right.replace("Basic", "bAsIc"))), 200);
        for other in ["", "Basic", "Basic ", "Basic !", &right.replace("Basic ", ""), &right.replace("Basic", "Bearer")]
        {
            assert_eq!(outcome(None, Some(other)), 401, "{other}");
        }
        assert_eq!(outcome(None, Some(&basic(&"x".repeat(100_000)))), 401);
        assert_eq!(outcome(None, None), 401);
    }

    #[test]
    fn a_page_of_elsewhere_is_refused_before_its_guess_is_looked_at() {
        let right = basic(&format!("admin:{PASSWORD}"));
        for (expected, site) in [
            (200, "none"),
            (200, "same-origin"),
            (403, "same-site"),
            (403, "cross-site"),
            (403, ""),
            (403, "none, none"),
        ] {
            assert_eq!(outcome(Some(site), Some(&right)), expected, "{site}");
        }
        assert_eq!(outcome(Some("cross-site"), None), 403);
    }
}
