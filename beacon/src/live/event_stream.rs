//! Event streams (HTML, section 9.2): the same messages, as events.

use rendezvous_protocol::live::Frame;

use crate::live::connection::Output;

/// Writes an output as an event of an event stream (HTML, section 9.2), where it is one.
pub fn stream_event(output: &Output) -> Option<String> {
    match output {
        // A client that sends nothing is answered nothing, so the one text is `hello`.
        Output::Text(hello) => Some(format!("retry: 3000\n\nevent: hello\ndata: {hello}\n\n")),
        Output::Frame(frame) => {
            let Frame { previous, position, text, .. } = &**frame;
            let event = if previous.is_some() { "delta" } else { "snapshot" };
            Some(format!("event: {event}\nid: {position}\ndata: {text}\n\n"))
        }
        Output::StreamPing => Some(": ping\n\n".to_owned()),
        Output::Close(code) => Some(format!("event: again\ndata: {}\n\n", code.reason())),
        Output::Ask(_) | Output::Verify(_) => None,
    }
}
