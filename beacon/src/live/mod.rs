//! Live presence: what the object pushes, and what one connection does with it.
//!
//! Two halves that talk in values. [`Connection`] is where the client is: it limits and reads what the client sends, and
//! counts what was not acknowledged. The object, of which [`CommunityObject`](crate::community::CommunityObject) is the
//! face, knows which connections there are, and pushes one frame to all of them. A connection that cannot take a frame
//! skips it, and later asks for everything since its own position: so nothing queues up, wherever a client is slow. A
//! signal goes from one connection to another by way of the object, as the text that came, or it is refused.

mod call;
mod connection;
mod event_stream;
mod object;

pub use call::{ConnectionId, LiveCall, LiveFull, Opening, Push, Pushed, SignalCall};
pub use connection::{Checks, Connection, Output, Verify};
pub(crate) use connection::{Kind, Opened};
pub use event_stream::{FRAME_EVENT_END, STREAM_HEADERS, frame_event_start, stream_event};
pub(crate) use object::{ConnectionCounts, LiveObject};
