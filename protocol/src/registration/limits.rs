//! Every limit of registration, with its unit.

use std::time::Duration;

use crate::backoff::Backoff;

/// Bytes of an address of e-mail (RFC 5321, section 4.5.3.1.3: a path of 256 with its angle brackets).
pub const EMAIL_MAX_BYTES: usize = 254;

/// Bytes of what stands before the `@` (RFC 5321, section 4.5.3.1.1).
pub const LOCAL_PART_MAX_BYTES: usize = 64;

/// For so long after its `issuedAt` a registration is taken.
pub const REGISTRATION_LIFETIME: Duration = Duration::from_secs(15 * 60);

/// For so long a link is good; and so long a mail is tried.
pub const TOKEN_LIFETIME: Duration = Duration::from_secs(3_600);

/// Random bytes of a link.
pub const TOKEN_BYTES: usize = 32;

/// Mails to one mailbox in a day, whoever asks for them.
pub const MAILS_PER_MAILBOX: u32 = 6;

/// Of these, mails that one site asks for.
pub const MAILS_PER_MAILBOX_AND_SITE: u32 = 2;

/// A site has this part of what all others have left of a day's mails, rounded down, but never less than
/// [`MAILS_PER_MAILBOX_AND_SITE`]. Of the whole day, sixteen sites would leave nothing to anybody; of what is
/// left of 200, it takes 48 sites, of 16 providers, at least.
pub const SITES_IN_A_DAY: u32 = 16;

/// A provider has this part of what all others have left, with the same lower bound.
pub const PROVIDERS_IN_A_DAY: u32 = 4;

/// Keys of one community that one mailbox confirms.
pub const KEYS_PER_MAILBOX: usize = 16;

/// Registrations that a beacon remembers: at about 500 bytes each, 10 MB.
pub const REGISTRATIONS_MAX: usize = 20_000;

/// How often a mail is tried.
pub const MAIL_TRIES: u32 = 5;

/// The wait between two tries.
pub const MAIL_BACKOFF: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(600) };

/// Bytes of a request body. A registration has at most some 900.
pub const BODY_MAX_BYTES: usize = 4_096;
