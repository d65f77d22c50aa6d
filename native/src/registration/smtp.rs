//! Mail by SMTP (RFC 5321), with TLS always: a thread that sends one after the other.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, SmtpTransport};
use lettre::{Address, Transport as _};
use rendezvous_protocol::registration::{EmailAddress, MailOutcome};
use rendezvous_service::registration::{OutgoingMail, RegistrationConfig};

use crate::failure::Failure;
use crate::journal;

/// The port at which TLS comes before everything else (RFC 8314, section 3.3).
const IMPLICIT_TLS: u16 = 465;

/// Time for each answer of the server.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of the file of authorities: all of Mozilla's fit.
const CA_FILE_MAX_BYTES: u64 = 1024 * 1024;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// Sends mail.
pub(super) struct MailSender {
    transport: SmtpTransport,
    from: Mailbox,
    own_host: String,
}

impl MailSender {
    /// Makes a sender. No connection is opened before there is a mail.
    pub(super) fn new(config: &RegistrationConfig) -> Result<Self, Failure> {
        let smtp = &config.smtp;
        let mut tls = TlsParameters::builder(smtp.host.clone());
        if let Some(path) = &smtp.ca_file {
            let in_error = |cause: String| Failure::Authorities { path: path.clone(), cause };
            let pem = read(Path::new(path)).map_err(|error| in_error(error.to_string()))?;
            if pem.len() as u64 > CA_FILE_MAX_BYTES {
                return Err(in_error(format!("it is longer than {CA_FILE_MAX_BYTES} bytes")));
            }
            if !pem.contains(CERTIFICATE) {
                return Err(in_error(format!("there is no {CERTIFICATE} in it")));
            }
            let authorities = Certificate::from_pem(pem.as_bytes()).map_err(|error| in_error(error.to_string()))?;
            tls = tls.certificate_store(CertificateStore::None).add_root_certificate(authorities);
        }
        let tls = tls.build().map_err(Failure::MailTls)?;
        let own_host = config.own_host().to_owned();
        let transport = SmtpTransport::builder_dangerous(smtp.host.clone())
            .port(smtp.port)
            // Whatever the server says of itself: without TLS nothing is sent, no password and no address.
            .tls(if smtp.port == IMPLICIT_TLS { Tls::Wrapper(tls) } else { Tls::Required(tls) })
            .hello_name(client_id(&own_host))
            .timeout(Some(TIMEOUT));
        let transport = match &smtp.credentials {
            Some((username, password)) => transport.credentials(Credentials::new(username.clone(), password.clone())),
            None => transport,
        };
        let from = mailbox(&smtp.from).ok_or(Failure::MailSender)?;
        Ok(Self { transport: transport.build(), from, own_host })
    }

    /// Sends what it is told to, until nobody tells it any more.
    pub(super) fn run(&self, mails: &Receiver<OutgoingMail>, tell: impl Fn(OutgoingMail, MailOutcome) -> bool) {
        while let Ok(mail) = mails.recv() {
            let outcome = self.send(&mail);
            if !tell(mail, outcome) {
                return;
            }
        }
    }

    fn send(&self, mail: &OutgoingMail) -> MailOutcome {
        let Some(message) = self.message(mail) else {
            journal::failure("mail_failed", &"a mail cannot be written");
            return MailOutcome::Refused;
        };
        match self.transport.send(&message) {
            Ok(_) => MailOutcome::Sent,
            Err(error) => {
                journal::failure("mail_failed", &cause(&error));
                if is_final(&error) { MailOutcome::Refused } else { MailOutcome::Deferred }
            }
        }
    }

    fn message(&self, mail: &OutgoingMail) -> Option<Message> {
        let identifier = format!("<{:032x}@{}>", fastrand::u128(..), self.own_host);
        // So that no holiday answers (RFC 3834, section 5).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let message = Message::builder()
            .from(self.from.clone())
            .to(mailbox(mail.to())?)
            .subject(mail.subject.clone())
            .date_now()
            .message_id(Some(identifier))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.replace('\n', "\r\n"));
        message.ok()
    }
}

/// Reads a file, of which a byte more than it may have says that it is longer.
fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(CA_FILE_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    String::from_utf8(bytes).map_err(|_| std::io::Error::other("it is not UTF-8"))
}

fn mailbox(address: &EmailAddress) -> Option<Mailbox> {
    let address: Address = address.as_str().parse().ok()?;
    Some(Mailbox::new(None, address))
}

/// Says who greets: a name, or an address (RFC 5321, section 4.1.3).
fn client_id(host: &str) -> ClientId {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse() {
        Ok(std::net::IpAddr::V4(address)) => ClientId::Ipv4(address),
        Ok(std::net::IpAddr::V6(address)) => ClientId::Ipv6(address),
        Err(_) => ClientId::Domain(host.to_owned()),
    }
}

/// Returns whether the server will never take the mail: what it says of the address or of the text, not of who sends (RFC
/// 5321, section 4.2.3). An operator may mend a password.
fn is_final(error: &Error) -> bool {
    error.status().is_some_and(|code| matches!(u16::from(code), 550..=559))
}

/// Says what went wrong without what the server has said, which repeats addresses.
fn cause(error: &Error) -> String {
    match error.status() {
        Some(code) => format!("the server for mail answers {}", u16::from(code)),
        None if error.is_timeout() => "the server for mail does not answer in time".to_owned(),
        None if error.is_tls() => "no TLS with the server for mail: its certificate, or SMTP_CA_FILE".to_owned(),
        None if error.is_response() => "the server for mail does not speak SMTP".to_owned(),
        None if error.is_client() => {
            "the server for mail does not offer what is needed: STARTTLS, or a way to log in".to_owned()
        }
        None => "the server for mail cannot be reached, or has hung up".to_owned(),
    }
}
