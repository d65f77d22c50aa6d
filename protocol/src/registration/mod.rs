//! Registration: a ticket key's owner shows that mail to an address reaches them, so that a community knows whom it lists.
//!
//! [`Registration`] is what the key signs, [`Registrations`] what a beacon remembers: who has asked, which link was sent, who
//! has confirmed. In scope: shapes, signatures, times, tokens and every limit on mail (section 21 of the specification). Out
//! of scope: sending mail, pages, and whether an address belongs to a person.

mod email;
pub mod limits;
mod record;
mod state;

pub use email::EmailAddress;
pub use record::{Registration, RegistrationError, RegistrationPayload};
pub use state::{
    Confirmed, Due, MailOutcome, NotConfirmed, Registered, RegistrationWrite, Registrations, Subject, Token,
    TokenInvalid, TooManyMails, UnreadableRow, Unsent,
};
