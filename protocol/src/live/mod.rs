//! Live presence: what is pushed to viewers, how far each has come, and what one connection may do.
//!
//! In scope: the messages of `GET /live` (sections 15 and 16 of the specification), positions, the log of changes, the
//! rates of frames, messages and signals, acknowledgements, who gets a connection, the bytes by which a connection is bound
//! to a key, and what a receiver verifies of a signal. Out of scope: which connections there are, and what is sent to which
//! of them. That is the service's.
//!
//! A viewer holds a set of tickets and a [`Position`]. Every ticket ends by itself, so an expiry needs no message; whoever
//! leaves is taken off by its own signed goodbye; what a beacon says by itself (`out`) is a hint.

mod attachment;
mod binding;
mod changes;
mod message;
mod pace;
mod places;
mod position;
mod signal;

pub use attachment::{Attachment, AttachmentError};
pub use binding::{Binding, CHALLENGE_BYTES};
pub use changes::{Changes, Claim, Frame, LogHead};
pub use message::{
    AnnouncedMessage, BeaconMessage, BindMessage, BoundMessage, ClientMessage, CloseCode, DeliveredMessage,
    ErrorMessage, Hello, LeftMessage, MessageError, PING, PONG, TicketMessage,
};
pub use pace::{FrameRate, MessageRate, Penalties, SignalBudget, SignalRate, Urgency, Window};
pub use places::{Admission, LiveLimits, Seat, admit};
pub use position::{Position, PositionInvalid};
pub use signal::{Confirmation, SeenSignals, Signal, SignalError, SignalKind, SignalRules};
