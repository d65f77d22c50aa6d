//! How many streams the relay opens on one connection, by which others come to the peer that is reached there.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::{AsyncRead, AsyncWrite};
use libp2p_core::muxing::{StreamMuxer, StreamMuxerEvent};

/// Streams of one connection that the relay has opened, at once. libp2p's relay negotiates as many circuits with one peer,
/// and loses track of those above.
pub(super) const OUTBOUND_STREAMS: usize = 10;

/// Lets streams wait that the relay would open above its limit. At a limit of its own, Yamux ends the connection: whoever
/// asked for enough circuits to one peer would have it lose its reservation, and all circuits.
pub(super) struct BoundedMuxer<M> {
    muxer: M,
    /// Has one reference more than there are open streams.
    outbound: Arc<()>,
}

/// Is a stream that counts, if the relay has opened it, for as long as this is there.
pub(super) struct CountedStream<S> {
    // First: where the end of the stream wakes the connection, it counts no longer.
    _outbound: Option<Arc<()>>,
    stream: S,
}

impl<M> BoundedMuxer<M> {
    pub(super) fn new(muxer: M) -> Self {
        Self { muxer, outbound: Arc::new(()) }
    }
}

impl<M> StreamMuxer for BoundedMuxer<M>
where
    M: StreamMuxer<Substream: Unpin> + Unpin,
{
    type Substream = CountedStream<M::Substream>;
    type Error = M::Error;

    fn poll_inbound(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<Self::Substream, Self::Error>> {
        let stream = ready!(Pin::new(&mut self.muxer).poll_inbound(context))?;
        Poll::Ready(Ok(CountedStream { _outbound: None, stream }))
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        if Arc::strong_count(&self.outbound) > OUTBOUND_STREAMS {
            // The end of a stream has the muxer wake the connection, which then asks again. Whoever waits has a time-out.
            return Poll::Pending;
        }
        let stream = ready!(Pin::new(&mut self.muxer).poll_outbound(context))?;
        Poll::Ready(Ok(CountedStream { _outbound: Some(Arc::clone(&self.outbound)), stream }))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Pin::new(&mut self.muxer).poll_close(context)
    }

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        Pin::new(&mut self.muxer).poll(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CountedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(context, bytes)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read_vectored(context, parts)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CountedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use libp2p_core::upgrade::InboundConnectionUpgrade as _;
    use libp2p_tcp::tokio::TcpStream;
    use rendezvous_service::circuit_relay::STREAMS;
    use tokio::net::TcpListener;

    use super::*;

    type Muxer = libp2p_yamux::Muxer<TcpStream>;

    /// Asks for a stream once.
    async fn open<M: StreamMuxer + Unpin>(muxer: &mut M) -> Poll<Result<M::Substream, M::Error>> {
        poll_fn(|context| {
            let stream = Pin::new(&mut *muxer).poll_outbound(context);
            // What has ended is forgotten when the muxer goes on.
            let _ = Pin::new(&mut *muxer).poll(context);
            Poll::Ready(stream)
        })
        .await
    }

    async fn connect() -> (Muxer, tokio::net::TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let mut config = libp2p_yamux::Config::default();
        config.set_max_num_streams(STREAMS);
        (config.upgrade_inbound(TcpStream(server), "").await.unwrap(), client)
    }

    #[tokio::test]
    async fn more_circuits_to_a_peer_than_there_are_wait_and_do_not_end_its_connection() {
        let (mut unbounded, _client) = connect().await;
        let mut streams = Vec::new();
        while let Poll::Ready(Ok(stream)) = open(&mut unbounded).await {
            streams.push(stream);
        }
        assert_eq!(streams.len(), STREAMS);
        assert!(matches!(open(&mut unbounded).await, Poll::Ready(Err(_))), "without the bound it ends");

        let (muxer, _client) = connect().await;
        let mut bounded = BoundedMuxer::new(muxer);
        let mut streams = Vec::new();
        for _ in 0..3 * STREAMS {
            if let Poll::Ready(stream) = open(&mut bounded).await {
                streams.push(stream.unwrap());
            }
        }
        assert_eq!(streams.len(), OUTBOUND_STREAMS);
        for _ in 0..3 * STREAMS {
            drop(streams.pop());
            let Poll::Ready(stream) = open(&mut bounded).await else { panic!("one that ends leaves its place") };
            streams.push(stream.unwrap());
        }
    }
}
