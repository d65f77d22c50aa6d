//! A peer that is put into the capsule only while something answers (`--probe`).

use rendezvous_protocol::ticket::PeerId;

use crate::fetch::parse_url;

/// A peer that is put into the capsule only while something answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The peer.
    pub(super) peer_id: PeerId,
    /// What has to answer.
    pub(super) url: String,
}

/// `PEER_ID=URL`. A peerId may have a `=` in it too.
pub(super) fn parse_probe(text: &str) -> Result<Probe, String> {
    const MUST: &str = "must be a peerId, `=` and an address, like my-server=https://my-server.example.org/healthz";
    let position = ["=https://", "=http://"].iter().filter_map(|scheme| text.find(scheme)).min().ok_or(MUST)?;
    let (peer_id, url) = text.split_at(position);
    let url = url.strip_prefix('=').unwrap_or(url);
    let peer_id = PeerId::new(peer_id).ok_or(MUST)?;
    parse_url(url).map_err(|error| format!("{MUST}: {error}"))?;
    Ok(Probe { peer_id, url: url.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_peer_and_an_address() {
        for (text, peer_id, url) in [
            ("a=https://a.example/", "a", "https://a.example/"),
            ("a=b==http://a.example/?x=https://b.example", "a=b=", "http://a.example/?x=https://b.example"),
        ] {
            let probe = parse_probe(text).unwrap();
            assert_eq!((probe.peer_id.as_str(), probe.url.as_str()), (peer_id, url));
        }
        for text in ["", "a", "a=", "=https://a.example", "a=ftp://a.example", "a=https://", "a=https://u:p@a.example"]
        {
            let error = parse_probe(text).unwrap_err();
            assert!(error.starts_with("must be a peerId") && !error.contains("u:p"), "{error}");
        }
    }
}
