//! Who is announced.

use crate::community::Community;
use crate::key::PrivateKey;
use crate::ticket::{PeerData, PeerId, UserId};

/// Says who is to be announced.
#[derive(Debug)]
pub struct Identity {
    /// The key that signs the peer's tickets.
    pub key: PrivateKey,
    /// The peer.
    pub peer_id: PeerId,
    /// The peer's user.
    pub user_id: UserId,
    /// What the peer says about itself.
    pub data: Option<PeerData>,
    /// The community. Every ticket names it, so that none can be carried elsewhere.
    pub community: Community,
}
