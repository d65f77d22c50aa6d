//! The calls of an object, and what they are as text.
//!
//! A text is lines. The first names the object, the second says what is asked and by what that is judged, and each further
//! one is a record in its normal form, or the sealed bytes in base64: none of these has a line feed in it.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rendezvous_protocol::mailbox::bytes::Address;
use rendezvous_protocol::mailbox::envelope::{Verified, VerifiedAck};
use rendezvous_protocol::mailbox::proof::Proof;
use rendezvous_protocol::mailbox::record::{
    Card, Claim, Close, Collect, Deposit, Policy, Prekeys, Record, RecordError, SlotQuestion,
};
use rendezvous_protocol::network::HandedOver;
use rendezvous_protocol::origin::Origin;

use crate::call::CallError;

/// Names an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectName {
    /// That of a mailbox.
    Mailbox(Address),
    /// That which counts mailboxes.
    Openings,
}

const MAILBOX: &str = "v1:";
const OPENINGS: &str = "openings";

impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mailbox(address) => write!(formatter, "{MAILBOX}{address}"),
            Self::Openings => formatter.write_str(OPENINGS),
        }
    }
}

impl FromStr for ObjectName {
    type Err = CallError;

    fn from_str(name: &str) -> Result<Self, CallError> {
        let unknown = CallError::Malformed("no object has this name");
        match name.strip_prefix(MAILBOX) {
            Some(address) => address.parse().map(Self::Mailbox).map_err(|_| unknown),
            None if name == OPENINGS => Ok(Self::Openings),
            None => Err(unknown),
        }
    }
}

/// Holds what an object is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectCall {
    /// What a mailbox is asked.
    Mailbox(Address, MailboxCall),
    /// What the count of mailboxes is asked.
    Openings(OpeningsCall),
}

/// Says what a mailbox is asked. The records have been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MailboxCall {
    /// To open, or to take a newer card or policy.
    Put {
        /// The card.
        card: Box<Verified<Card>>,
        /// The policy.
        policy: Box<Verified<Policy>>,
        /// The relay's own origins.
        origins: Vec<Origin>,
    },
    /// To show its card.
    Card,
    /// To take a message in.
    Deposit {
        /// What the sender signed.
        deposit: Box<Verified<Deposit>>,
        /// The sealed bytes, in base64.
        sealed: String,
        /// A stranger's proof of work.
        proof: Option<Proof>,
        /// Where the message comes from.
        network: HandedOver,
    },
    /// To hand over what waits, when it has taken these acknowledgements.
    Collect {
        /// The question.
        collect: Box<Verified<Collect>>,
        /// What came before.
        acks: Vec<VerifiedAck>,
    },
    /// To take acknowledgements.
    Acks(Vec<VerifiedAck>),
    /// To say what became of a slot's messages.
    Slot(Box<Verified<SlotQuestion>>),
    /// To take prekeys.
    Prekeys(Box<Verified<Prekeys>>),
    /// To hand out a prekey.
    Claim {
        /// The question.
        claim: Box<Verified<Claim>>,
        /// A stranger's proof of work.
        proof: Option<Proof>,
        /// Where the question comes from.
        network: HandedOver,
    },
    /// To end.
    Close(Box<Verified<Close>>),
}

/// Says what the count of mailboxes is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningsCall {
    /// Whether there is a place for this mailbox, which is taken.
    Take {
        /// The mailbox.
        address: Address,
        /// Where its owner is.
        network: HandedOver,
    },
    /// To let the place of a mailbox last on, if it has one.
    Renew {
        /// The mailbox.
        address: Address,
    },
    /// To free the place of a mailbox that its owner has closed.
    Free {
        /// The mailbox.
        address: Address,
    },
}

impl MailboxCall {
    const fn verb(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Card => "card",
            Self::Deposit { .. } => "deposit",
            Self::Collect { .. } => "collect",
            Self::Acks(_) => "acks",
            Self::Slot(_) => "slot",
            Self::Prekeys(_) => "prekeys",
            Self::Claim { .. } => "claim",
            Self::Close(_) => "close",
        }
    }
}

impl ObjectCall {
    /// Returns the name of the object.
    pub const fn object(&self) -> ObjectName {
        match self {
            Self::Mailbox(address, _) => ObjectName::Mailbox(*address),
            Self::Openings(_) => ObjectName::Openings,
        }
    }

    /// Writes the call as text.
    pub fn to_text(&self) -> String {
        let name = self.object();
        let call = match self {
            Self::Openings(OpeningsCall::Take { address, network }) => {
                return format!("{name}\ntake {address} {}", network.to_text());
            }
            Self::Openings(OpeningsCall::Renew { address }) => return format!("{name}\nrenew {address}"),
            Self::Openings(OpeningsCall::Free { address }) => return format!("{name}\nfree {address}"),
            Self::Mailbox(_, call) => call,
        };
        let mut words = vec![call.verb().to_owned()];
        let mut lines: Vec<Cow<'_, str>> = Vec::new();
        match call {
            MailboxCall::Put { card, policy, origins } => {
                words.extend(origins.iter().map(|origin| origin.as_str().to_owned()));
                lines.extend([card.as_json(), policy.as_json()].map(Cow::Borrowed));
            }
            MailboxCall::Card => {}
            MailboxCall::Deposit { deposit, sealed, proof, network } => {
                words.extend([network.to_text(), proof_text(*proof)]);
                lines.extend([deposit.as_json(), sealed.as_str()].map(Cow::Borrowed));
            }
            MailboxCall::Collect { collect, acks } => {
                lines.push(collect.as_json().into());
                lines.extend(acks.iter().map(|ack| ack.to_json().into()));
            }
            MailboxCall::Acks(acks) => lines.extend(acks.iter().map(|ack| ack.to_json().into())),
            MailboxCall::Slot(question) => lines.push(question.as_json().into()),
            MailboxCall::Prekeys(prekeys) => lines.push(prekeys.as_json().into()),
            MailboxCall::Claim { claim, proof, network } => {
                words.extend([network.to_text(), proof_text(*proof)]);
                lines.push(claim.as_json().into());
            }
            MailboxCall::Close(close) => lines.push(close.as_json().into()),
        }
        let head = format!("{name}\n{}", words.join(" "));
        std::iter::once(Cow::Owned(head)).chain(lines).collect::<Vec<_>>().join("\n")
    }

    /// Reads what [`ObjectCall::to_text`] wrote.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn parse(text: &str) -> Result<Self, CallError> {
        let mut lines = text.split('\n');
        let name: ObjectName = part(&mut lines)?.parse()?;
        let mut words = part(&mut lines)?.split(' ');
        let verb = words.next().unwrap_or_default();
        let call = match name {
            ObjectName::Openings => {
                let address = read_address(part(&mut words)?)?;
                Self::Openings(match verb {
                    "take" => OpeningsCall::Take { address, network: read_network(part(&mut words)?)? },
                    "renew" => OpeningsCall::Renew { address },
                    "free" => OpeningsCall::Free { address },
                    _ => return Err(CallError::Unknown),
                })
            }
            ObjectName::Mailbox(address) => {
                let call = match verb {
                    "put" => {
                        let origins = words.by_ref().map(Origin::parse).collect::<Option<_>>();
                        let origins = origins.ok_or(CallError::Malformed("not an origin"))?;
                        MailboxCall::Put {
                            card: record(part(&mut lines)?)?,
                            policy: record(part(&mut lines)?)?,
                            origins,
                        }
                    }
                    "card" => MailboxCall::Card,
                    "deposit" => {
                        let (network, proof) = (read_network(part(&mut words)?)?, read_proof(part(&mut words)?)?);
                        MailboxCall::Deposit {
                            deposit: record(part(&mut lines)?)?,
                            sealed: part(&mut lines)?.to_owned(),
                            proof,
                            network,
                        }
                    }
                    "collect" => {
                        let collect = record(part(&mut lines)?)?;
                        MailboxCall::Collect { collect, acks: read_acks(lines.by_ref())? }
                    }
                    "acks" => MailboxCall::Acks(read_acks(lines.by_ref())?),
                    "slot" => MailboxCall::Slot(record(part(&mut lines)?)?),
                    "prekeys" => MailboxCall::Prekeys(record(part(&mut lines)?)?),
                    "claim" => {
                        let (network, proof) = (read_network(part(&mut words)?)?, read_proof(part(&mut words)?)?);
                        MailboxCall::Claim { claim: record(part(&mut lines)?)?, proof, network }
                    }
                    "close" => MailboxCall::Close(record(part(&mut lines)?)?),
                    _ => return Err(CallError::Unknown),
                };
                Self::Mailbox(address, call)
            }
        };
        match (words.next(), lines.next()) {
            (None, None) => Ok(call),
            _ => Err(CallError::Malformed("a part too many")),
        }
    }
}

fn part<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Result<&'a str, CallError> {
    parts.next().ok_or(CallError::Malformed("a part is missing"))
}

fn record<T: Record>(line: &str) -> Result<Box<Verified<T>>, CallError> {
    let verified = Verified::trusted(line).map_err(|error: RecordError| CallError::Record(error))?;
    Ok(Box::new(verified))
}

fn read_acks<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Vec<VerifiedAck>, CallError> {
    lines.map(|line| VerifiedAck::trusted(line).map_err(CallError::Record)).collect()
}

fn read_address(text: &str) -> Result<Address, CallError> {
    text.parse().map_err(|_| CallError::Malformed("no address"))
}

fn read_network(text: &str) -> Result<HandedOver, CallError> {
    HandedOver::from_text(text).ok_or(CallError::Malformed("no network"))
}

const NO_PROOF: &str = "-";

fn proof_text(proof: Option<Proof>) -> String {
    proof.map_or_else(|| NO_PROOF.to_owned(), |Proof { day, solution }| format!("{day}:{solution}"))
}

fn read_proof(text: &str) -> Result<Option<Proof>, CallError> {
    if text == NO_PROOF {
        return Ok(None);
    }
    let (day, solution) = text.split_once(':').ok_or(CallError::Malformed("no proof"))?;
    let number = |text: &str| text.parse().map_err(|_| CallError::Malformed("no proof"));
    Ok(Some(Proof { day: number(day)?, solution: number(solution)? }))
}
