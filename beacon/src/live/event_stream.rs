//! Event streams (HTML, section 9.2): the same messages, as events.

use rendezvous_protocol::live::Frame;

use crate::live::connection::Output;

/// The headers of an event stream, besides those of an answer without a body.
pub const STREAM_HEADERS: [(&str, &str); 2] = [
    ("Content-Type", "text/event-stream"),
    // Else a proxy would collect events until it has enough of them.
    ("X-Accel-Buffering", "no"),
];

/// What is after the text of a frame in its event.
pub const FRAME_EVENT_END: &str = "\n\n";

/// Writes what is before the text of a frame in its event, for a host that has the text beside the frame.
pub fn frame_event_start(frame: &Frame) -> String {
    let Frame { previous, position, .. } = frame;
    let event = if previous.is_some() { "delta" } else { "snapshot" };
    format!("event: {event}\nid: {position}\ndata: ")
}

/// Writes an output as an event of an event stream (HTML, section 9.2), where it is one.
pub fn stream_event(output: &Output) -> Option<String> {
    match output {
        // A client that sends nothing is answered nothing, so the one text is `hello`.
        Output::Text(hello) => Some(format!("retry: 3000\n\nevent: hello\ndata: {hello}\n\n")),
        Output::Frame(frame) => Some([&frame_event_start(frame), &*frame.text, FRAME_EVENT_END].concat()),
        Output::StreamPing => Some(": ping\n\n".to_owned()),
        Output::Close(code) => Some(format!("event: again\ndata: {}\n\n", code.reason())),
        Output::Ask(_) | Output::Verify(_) => None,
    }
}
