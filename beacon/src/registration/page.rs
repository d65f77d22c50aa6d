//! The pages of registration: plain HTML without scripts, in which whatever comes from elsewhere is text.

use std::fmt::Write as _;

use rendezvous_protocol::registration::{Confirmed, Token};

use crate::answer::{Answer, Content, Outcome};
use crate::html::{self, escaped, paragraph};

/// Where a registration is handed in.
pub(super) const REGISTER: &str = "/register";

/// Where a link leads to.
pub(super) const VERIFY: &str = "/verify";

/// A page of this kind sends its form to its own beacon, and runs nothing.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; \
                      frame-ancestors 'none'";

/// Makes the answer with a page. `main` is HTML.
fn answer(status: u16, title: &str, main: &str) -> Answer {
    let body = html::page(title, &format!("<section class=\"card\">\n{main}</section>\n"));
    let headers = vec![
        ("Content-Type", "text/html; charset=utf-8".to_owned()),
        ("Content-Security-Policy", POLICY.to_owned()),
        // The address has the secret of a link in it: neither a cache nor another site gets it. The form's own beacon has to
        // see where the form is from, which `no-referrer` would hide.
        ("Cache-Control", "no-store".to_owned()),
        ("Referrer-Policy", "same-origin".to_owned()),
    ];
    Answer { status, content: Content::Page, outcome: Outcome::Served, headers, body }
}

/// Makes the page on which a registration is handed in.
pub(super) fn form() -> Answer {
    let mut main = paragraph(
        "A community of this beacon may list only keys whose owner has confirmed an address of e-mail. Your application \
         asks for that itself: with the program capsule by “capsule register”, in a browser by register of \
         rendezvous-beacon/registration. One that cannot ask signs a registration with its key: paste it here, and the beacon \
         sends you a link. Your address is told to the \
         beacon's operator, and is in no list.",
    );
    // Writing to a string cannot fail.
    let _ = write!(
        main,
        "<form method=\"post\" action=\"{REGISTER}\">\n<div class=\"field\">\n\
         <label for=\"registration\">Registration</label>\n\
         <textarea id=\"registration\" name=\"registration\" rows=\"8\" cols=\"60\" required spellcheck=\"false\"></textarea>\n\
         </div>\n<button>Send me the link</button>\n</form>\n"
    );
    answer(200, "Register a key", &main)
}

/// Makes the page that says that a registration was taken, whatever becomes of it.
pub(super) fn taken() -> Answer {
    let text = "If a mail may go to the address, it is on its way. Its link is good for one hour, and once. Of several mails \
                about one key the newest counts.";
    answer(202, "Look into your mail", &paragraph(text))
}

fn facts(Confirmed { subject, email }: &Confirmed) -> String {
    let rows = [
        ("Address", email.as_str()),
        ("Community", subject.community.as_str()),
        ("Key", &subject.public_key.to_string()),
    ];
    let row = |(name, value): &(&str, &str)| format!("<dt>{name}</dt>\n<dd>{}</dd>\n", escaped(value));
    format!("<dl>\n{}</dl>\n", rows.iter().map(row).collect::<String>())
}

/// Makes the page that a link leads to, with the button that confirms.
pub(super) fn question(confirmed: &Confirmed, token: Token) -> Answer {
    let main = format!(
        "{}{}<form method=\"post\" action=\"{VERIFY}\">\n<input type=\"hidden\" name=\"token\" value=\"{}\">\n\
         <button>Yes, it is mine</button>\n</form>\n{}",
        paragraph("Is this your address, and your key? Then the community may list the key."),
        facts(confirmed),
        token.to_text(),
        paragraph("If not, close this page: nothing is registered without the button."),
    );
    answer(200, "Confirm your address", &main)
}

/// Makes the page that says that a link was good.
pub(super) fn confirmed(confirmed: &Confirmed) -> Answer {
    let main = format!(
        "{}{}",
        facts(confirmed),
        paragraph(
            "This key is registered with this address. You can close this page: your application is listed soon."
        )
    );
    answer(200, "Confirmed", &main).with_outcome(Outcome::Accepted)
}

/// Makes the page that says what is wrong.
pub(crate) fn problem(status: u16, code: &'static str, detail: &str) -> Answer {
    let main = format!("<p class=\"problem\">{}</p>\n", escaped(detail));
    answer(status, "This did not work", &main).with_outcome(Outcome::Refused(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_elsewhere_is_text() {
        let page = problem(400, "MALFORMED", "<script>alert(1)</script>").body;
        assert!(!page.contains("<script") && page.contains("&lt;script&gt;"), "{page}");
    }
}
