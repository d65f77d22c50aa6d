//! A request: carries out the steps that the service asks for.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body as _, Incoming};
use hyper::header::{
    AsHeaderName, CONNECTION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH,
    InvalidHeaderValue, ORIGIN, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use rendezvous_protocol::limits::{BODY_MAX_BYTES, BODY_MAX_READ_BYTES, BODY_TIMEOUT, GUEST_BODY_MAX_BYTES};
use rendezvous_protocol::network::{Client, read_address};
use rendezvous_protocol::request::RequestError;
use rendezvous_service::answer::{Answer, Content, Outcome};
use rendezvous_service::bodies::ArrivingBody;
use rendezvous_service::call::ObjectError;
use rendezvous_service::directory::DirectoryStep;
use rendezvous_service::edge::{Head, Step};
use rendezvous_service::goop2::GuestStep;
use rendezvous_service::hivemind::{AskHivemind, HivemindNext, HivemindStep, Recipient};
use rendezvous_service::live::STREAM_HEADERS;
use rendezvous_service::mailbox::{
    MailboxStep, NoRoom, ROOM_AWAITED_FOR, ROOM_LOOKED_FOR_EVERY, ReadPush, UnreadAnswer, UnreadAnswers,
};
use rendezvous_service::mesh::{HMAC_HEADER, URL_HEADER};
use rendezvous_service::platform::AddressSource;
use rendezvous_service::problem::{hub_failed, internal, registration_failed};
use rendezvous_service::registration::RegistrationStep;
use rendezvous_service::retalk::{AskRetalk, RetalkStep};
use rendezvous_service::templates::TemplateAnswer;

use crate::admission::Admitted;
use crate::clock::unix_now;
use crate::connections::ResponseBody;
use crate::directory::domain_of;
use crate::event_loop::{EventLoop, in_time};
use crate::goop2::GuestTask;
use crate::hivemind::verify_signature;
use crate::journal;
use crate::live::{self, Live, NotOpened};
use crate::mailboxes::{ListenerTask, MailCall};
use crate::page;

/// Where an event stream that broke off is to go on (HTML, section 9.2.4).
const LAST_EVENT_ID: &str = "Last-Event-ID";

/// From where a page asks (W3C Fetch Metadata Request Headers).
const SEC_FETCH_SITE: &str = "Sec-Fetch-Site";

/// Answers a request.
pub(crate) async fn respond(
    event_loop: Rc<EventLoop>,
    client: IpAddr,
    admitted: Rc<Admitted>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let received = Instant::now();
    let upgrade = request.headers().contains_key(UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let answered = answer(&event_loop, client, &head, body).await;
    let outcome = match &answered {
        Answered::Answer(answer) | Answered::Counted(answer, _) => answer.outcome,
        Answered::Template(template) => template.answer.outcome,
        Answered::Live(_) | Answered::Guest(_) | Answered::Listener(_) => Outcome::Served,
    };
    event_loop.measurements.borrow_mut().count(head.uri.path(), outcome, received.elapsed());
    let mut response = match (answered, upgrade) {
        (Answered::Answer(answer), _) => to_response(answer).map(Either::Left),
        (Answered::Counted(answer, unread), _) => to_counted_response(answer, unread).map(Either::Left),
        (Answered::Template(template), _) => to_template_response(*template).map(Either::Left),
        (Answered::Live(live), Some(upgrade)) => {
            tokio::task::spawn_local(live.serve_socket(upgrade, admitted));
            switching_protocols(&head.headers)
        }
        (Answered::Live(live), None) => event_stream(live.serve_stream(admitted)),
        (Answered::Listener(listener), Some(upgrade)) => {
            tokio::task::spawn_local(listener.serve(upgrade, admitted));
            switching_protocols(&head.headers)
        }
        // The service opens none without an upgrade.
        (Answered::Listener(_), None) => to_response(internal(unix_now())).map(Either::Left),
        (Answered::Guest(guest), Some(upgrade)) if guest.is_socket() => {
            tokio::task::spawn_local(guest.serve_socket(upgrade, admitted));
            switching_protocols(&head.headers)
        }
        (Answered::Guest(guest), _) => event_stream(guest.serve_stream(admitted)),
    };
    // A length beside chunks is dropped by hyper. Whatever another reader of this connection takes for the rest of the
    // body, or for the next request, is not read as either (RFC 9112, section 6.1).
    if head.headers.contains_key(TRANSFER_ENCODING) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a request comes to.
enum Answered {
    Answer(Answer),
    /// One that counts until its client has read it.
    Counted(Answer, UnreadAnswer),
    Template(Box<TemplateAnswer>),
    Live(Box<Live>),
    Guest(Box<GuestTask>),
    Listener(Box<ListenerTask>),
}

impl Answered {
    fn held((answer, unread): (Answer, Option<UnreadAnswer>)) -> Self {
        match unread {
            Some(unread) => Self::Counted(answer, unread),
            None => Self::Answer(answer),
        }
    }
}

async fn answer(event_loop: &Rc<EventLoop>, client: IpAddr, head: &Parts, body: Incoming) -> Answered {
    let shared = &event_loop.shared;
    let (origin, host) = (origin(&head.headers), host(head));
    if let Some(answer) = shared.names.refuse(unix_now(), host, origin) {
        return Answered::Answer(answer);
    }
    let address = match shared.platform.address_source(&shared.config) {
        AddressSource::Connection => Some(client),
        AddressSource::Header(name) => {
            head.headers.get_all(name).iter().next_back().and_then(|value| read_address(value.to_str().ok()?))
        }
    };
    let of_client = Client { address, autonomous_system: None };
    let edge = shared.edge_of(address);
    let first = {
        let if_none_match = header(&head.headers, IF_NONE_MATCH).unwrap_or_default();
        let read = Head {
            method: head.method.as_str(),
            url: head.uri.path_and_query().map_or("/", |url| url.as_str()),
            address,
            autonomous_system: "",
            if_none_match: &if_none_match,
            origin,
            host,
            upgrade: live::upgrade_of(&head.headers),
            last_event_id: head.headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default()),
            body_bytes: body.size_hint().exact(),
        };
        shared.with_edge(edge, |edge| edge.receive(unix_now(), &read))
    };
    let (mut step, mut body) = (first, Some(body));
    loop {
        step = match step {
            None => return Answered::Answer(internal(unix_now())),
            Some(Step::Answer(answer)) => return Answered::Answer(answer),
            Some(Step::Template(template)) => return Answered::Template(template),
            Some(Step::Asset(asset)) => return Answered::Answer(asset.answer(page::content(asset.file).to_owned())),
            Some(Step::ReadHeaders(read)) => shared.with_edge(edge, |edge| {
                read.resume(edge, unix_now(), |name| header(&head.headers, name).map(Cow::into_owned))
            }),
            Some(Step::OpenLive(open)) => match Live::open(event_loop, edge, open).await {
                Ok(live) => return Answered::Live(Box::new(live)),
                Err((_, NotOpened::Full(full))) => return Answered::Answer(full.answer(unix_now())),
                Err((open, NotOpened::Failed(error))) => {
                    shared.with_edge(edge, |edge| open.failed(edge, unix_now(), &error))
                }
            },
            Some(Step::ReadBody(read)) => {
                let body = read_body(&mut body, BODY_MAX_BYTES, shared.bodies.begin(of_client)).await;
                shared.with_edge(edge, |edge| read.resume(edge, unix_now(), body))
            }
            Some(Step::Guest(guest)) => match *guest {
                GuestStep::ReadPresence(read) => {
                    let body = read_body(&mut body, GUEST_BODY_MAX_BYTES, shared.bodies.begin(of_client)).await;
                    shared.with_edge(edge, |edge| edge.read_presence(read, body))
                }
                GuestStep::Ask(ask) => {
                    let community = ask.community().to_string();
                    let answer = event_loop.ask_room(&community, ask.into_call()).await;
                    return Answered::Answer(answer.unwrap_or_else(|error| {
                        journal::failure("request_failed", &error);
                        internal(unix_now())
                    }));
                }
                GuestStep::Open(open) => {
                    return match GuestTask::open(event_loop, edge, open).await {
                        Ok(guest) => Answered::Guest(Box::new(guest)),
                        Err(answer) => Answered::Answer(answer),
                    };
                }
            },
            Some(Step::Mailbox(mailbox)) => match *mailbox {
                MailboxStep::ReadBody(read) => {
                    let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                    shared.with_edge(edge, |edge| edge.read_records(unix_now(), read, body))
                }
                MailboxStep::Verify(verify) => {
                    let fit = verify.verify_signatures();
                    shared.with_edge(edge, |edge| edge.records_verified(unix_now(), verify, fit))
                }
                MailboxStep::Replicate(read) => {
                    let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                    return Answered::Answer(replicate(event_loop, read, body).await);
                }
                MailboxStep::Listen(open) => {
                    return Answered::Listener(Box::new(ListenerTask::open(event_loop, edge, open)));
                }
                MailboxStep::Ask(ask) => {
                    let (call, next) = ask.into_calls();
                    match event_loop.ask_mailbox(MailCall::Own(call)).await {
                        Ok(answer) => match next.filter(|_| answer.status == 200) {
                            Some(next) => Some(Step::Mailbox(Box::new(MailboxStep::Ask(next)))),
                            None => match shared.unread.hold(of_client, answer) {
                                Ok(held) => return Answered::held(held),
                                Err(full) => {
                                    let refusal = full.answer(unix_now());
                                    shared.with_edge(edge, |edge| edge.answer_in_place(refusal))
                                }
                            },
                        },
                        Err(error) => shared.with_edge(edge, |edge| edge.mailbox_failed(unix_now(), &error)),
                    }
                }
            },
            Some(Step::Retalk(retalk)) => match *retalk {
                RetalkStep::ReadBody(read) => {
                    let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                    shared.with_edge(edge, |edge| edge.read_retalk(unix_now(), read, body))
                }
                RetalkStep::Verify(verify) => {
                    // Not in the lock: this is most of the work.
                    let fit = verify.verify_signatures();
                    shared.with_edge(edge, |edge| edge.retalk_verified(unix_now(), verify, fit))
                }
                RetalkStep::Ask(ask) => {
                    let is_send = ask.is_send();
                    // What is read is deleted: it is not asked for where there is no room for it.
                    let reserved = match ask.deletes() {
                        Some(most) => reserve(&shared.unread, of_client, most).await.map(Some),
                        None => Ok(None),
                    };
                    let held = match reserved {
                        Err(full) => Ok(Err(full)),
                        Ok(reserved) => ask_retalk(event_loop, ask).await.map(|answer| match reserved {
                            Some(reserved) => Ok(reserved.hold(answer)),
                            None => shared.unread.hold(of_client, answer),
                        }),
                    };
                    match held {
                        Ok(Ok(held)) => return Answered::held(held),
                        Ok(Err(full)) => shared.with_edge(edge, |edge| edge.answer_in_place(full.answer_to_retalk())),
                        Err(error) => shared.with_edge(edge, |edge| edge.retalk_failed(unix_now(), is_send, &error)),
                    }
                }
            },
            Some(Step::Hivemind(hivemind)) => match *hivemind {
                HivemindStep::ReadBody(read) => {
                    let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                    shared.with_edge(edge, |edge| edge.read_hivemind(unix_now(), read, body))
                }
                HivemindStep::Verify(verify) => {
                    // Not in the lock: this is most of the work.
                    let fits = verify.proof().is_none_or(verify_signature);
                    shared.with_edge(edge, |edge| edge.hivemind_verified(verify, fits))
                }
                HivemindStep::Ask(ask) => {
                    // What is handed over is so once: it is not asked for where there is no room for it.
                    let reserved = match ask.hands_over() {
                        Some(most) => reserve(&shared.unread, of_client, most).await.map(Some),
                        None => Ok(None),
                    };
                    match reserved {
                        Err(full) => shared.with_edge(edge, |edge| edge.answer_in_place(full.answer_to_hivemind())),
                        Ok(reserved) => match ask_hivemind(event_loop, ask).await {
                            Ok(answer) => {
                                return match reserved {
                                    Some(reserved) => Answered::held(reserved.hold(answer)),
                                    None => Answered::Answer(answer),
                                };
                            }
                            Err(error) => shared.with_edge(edge, |edge| edge.hivemind_failed(&error)),
                        },
                    }
                }
            },
            Some(Step::Directory(directory)) => match *directory {
                DirectoryStep::ReadBody(read) => {
                    let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                    shared.with_edge(edge, |edge| edge.read_record(unix_now(), read, body))
                }
                DirectoryStep::Verify(verify) => {
                    let verified = verify.verify(unix_now(), domain_of);
                    shared.with_edge(edge, |edge| edge.record_verified(verified))
                }
                DirectoryStep::Ask(call) => {
                    let answer = match &shared.doors.hub {
                        Some(hub) => hub.ask(*call).await,
                        // An edge without a hub never comes so far.
                        None => hub_failed(unix_now()),
                    };
                    match shared.unread.hold(of_client, answer) {
                        Ok(held) => return Answered::held(held),
                        Err(full) => {
                            let refusal = full.answer(unix_now());
                            shared.with_edge(edge, |edge| edge.answer_in_place(refusal))
                        }
                    }
                }
            },
            Some(Step::Registration(registration)) => {
                let call = match *registration {
                    RegistrationStep::ReadBody(read) => {
                        let body = read_body(&mut body, read.most(), shared.bodies.begin(of_client)).await;
                        let (kind, site) = (header(&head.headers, CONTENT_TYPE), header(&head.headers, SEC_FETCH_SITE));
                        read.resume(unix_now(), kind.as_deref(), site.as_deref(), body)
                    }
                    RegistrationStep::Ask(call) => Ok(*call),
                };
                return Answered::Answer(match (call, &shared.doors.registration) {
                    (Ok(call), Some(registration)) => registration.ask(call).await,
                    // An edge without registration never comes so far.
                    (Ok(_), None) => registration_failed(unix_now()),
                    (Err(answer), _) => answer,
                });
            }
            Some(Step::Envelope(request)) => {
                let body = read_body(&mut body, request.most(), shared.bodies.begin(of_client)).await;
                let text = |name| header(&head.headers, name).unwrap_or_default();
                let call = request.resume(unix_now(), &text(URL_HEADER), &text(HMAC_HEADER), body);
                let Some(envelopes) = &shared.doors.envelopes else { return Answered::Answer(internal(unix_now())) };
                return Answered::Answer(match call {
                    // Why there is none is in the log.
                    Ok(call) => envelopes.ask(call).await.unwrap_or_else(|| internal(unix_now())),
                    Err(answer) => answer,
                });
            }
            Some(Step::Verify(verify)) => {
                // Not in the lock: this is most of the work.
                let holds = verify.ticket().verify_signature();
                shared.with_edge(edge, |edge| verify.resume(edge, unix_now(), holds))
            }
            Some(Step::Relay(relay)) => {
                let (object, left) = (relay.object(), relay.time_left(unix_now()));
                let (call, unanswered) = relay.into_call();
                match in_time(left, event_loop.call(object, call)).await {
                    Ok(answer) => return Answered::Answer(answer),
                    Err(error) => shared.with_edge(edge, |edge| unanswered.failed(edge, unix_now(), &error)),
                }
            }
            Some(Step::FetchList(fetch)) => {
                let left = fetch.time_left(unix_now());
                let list = event_loop.fetch_list(fetch.object(), fetch.patience(), left).await;
                shared.with_edge(edge, |edge| fetch.resume(edge, unix_now(), || (*list).clone()))
            }
        };
    }
}

/// Asks the mailbox of one of retalk's users, and before and after it whom the service says.
async fn ask_retalk(event_loop: &EventLoop, ask: AskRetalk) -> Result<Answer, ObjectError> {
    if let Some(place) = ask.place() {
        let answer = event_loop.ask_mailbox(MailCall::Own(place)).await?;
        if answer.status != 200 {
            return Ok(AskRetalk::no_place(&answer.body));
        }
    }
    let (call, then) = ask.into_calls();
    let answer = event_loop.ask_mailbox(MailCall::Retalk(call)).await?;
    if let Some(then) = then
        && let Err(error) = event_loop.ask_mailbox(MailCall::Retalk(then)).await
    {
        // The answer is the client's all the same: an error would say that the message was not taken.
        journal::failure("request_failed", &error);
    }
    Ok(answer)
}

/// Asks one object after the other for one of hivemind-rendezvous' users, as the service says.
async fn ask_hivemind(event_loop: &EventLoop, mut ask: AskHivemind) -> Result<Answer, ObjectError> {
    loop {
        let call = match ask.recipient() {
            Recipient::Openings(call) => MailCall::Own(call),
            Recipient::Hivemind(call) => MailCall::Hivemind(call),
        };
        match ask.resume(event_loop.ask_mailbox(call).await?) {
            HivemindNext::Ask(next) => ask = next,
            HivemindNext::Answer(answer) => return Ok(answer),
        }
    }
}

/// Answers a push of a peer.
async fn replicate(event_loop: &EventLoop, read: ReadPush, body: Result<Vec<u8>, RequestError>) -> Answer {
    let taken = read.resume(unix_now(), body).and_then(|verify| {
        let fits = verify.verify_signature();
        let Some(replication) = &event_loop.shared.doors.replication else { return Err(internal(unix_now())) };
        let items = replication.with_limits(|limits| verify.resume(unix_now(), fits, limits))?;
        // Not in the lock: this is most of the work.
        items.verify(unix_now())
    });
    match taken {
        Err(answer) => answer,
        Ok(call) => event_loop.ask_mailbox(MailCall::Push(call)).await.unwrap_or_else(|error| {
            journal::failure("request_failed", &error);
            internal(unix_now())
        }),
    }
}

/// Makes the answer after which a connection is a WebSocket.
fn switching_protocols(headers: &HeaderMap) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Left(Full::default()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = live::handshake(headers);
    response
}

/// Makes the answer that is an event stream. Its connection ends with it.
fn event_stream(body: Channel<Bytes, Infallible>) -> Response<ResponseBody> {
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    *headers = headers_of(Content::Nothing);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in STREAM_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Reads the body, keeping at most so many bytes, and no more than there is room for.
async fn read_body(
    body: &mut Option<Incoming>,
    most: usize,
    mut arriving: ArrivingBody,
) -> Result<Vec<u8>, RequestError> {
    // No step reads a second time.
    let mut body = body.take().ok_or(RequestError::BodyBrokenOff)?;
    let most_read = most.saturating_mul(2).max(BODY_MAX_READ_BYTES);
    let read = async {
        let (mut kept, mut length, mut room) = (Vec::new(), 0_usize, Ok(()));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| RequestError::BodyBrokenOff)?;
            let Some(data) = frame.data_ref() else { continue };
            length = length.saturating_add(data.len());
            if length <= most && room.is_ok() {
                room = arriving.grow_to(length);
                match room {
                    Ok(()) => kept.extend_from_slice(data),
                    Err(_) => kept = Vec::new(),
                }
            } else if length > most_read {
                // A client that is still sending when the answer comes sees a broken connection, not the answer. So what
                // is somewhat too long, or has no room, is read to its end.
                break;
            }
        }
        if length > most {
            return Err(RequestError::BodyTooLarge);
        }
        room.map(|()| kept)
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.unwrap_or(Err(RequestError::BodyTimeout))
}

/// Counts an answer that is still to be made, as soon as there is room for it.
async fn reserve(unread: &UnreadAnswers, client: Client, most: usize) -> Result<UnreadAnswer, NoRoom> {
    let until = Instant::now() + ROOM_AWAITED_FOR;
    loop {
        match unread.reserve(client, most) {
            Err(NoRoom) if Instant::now() < until => tokio::time::sleep(ROOM_LOOKED_FOR_EVERY).await,
            reserved => return reserved,
        }
    }
}

/// Returns the one host that a request names: that of a target in absolute form, else the header's (RFC 9112, section
/// 3.2.2).
fn host(head: &Parts) -> Option<&str> {
    let mut headers = head.headers.get_all(HOST).iter();
    let header = headers.next();
    if headers.next().is_some() {
        return None;
    }
    head.uri.authority().map(|authority| authority.as_str()).or_else(|| header?.to_str().ok())
}

/// Returns the origin. One that is empty, written twice or not text is not none.
fn origin(headers: &HeaderMap) -> Option<&str> {
    let mut origins = headers.get_all(ORIGIN).iter();
    let origin = origins.next()?;
    let is_one = origins.next().is_none();
    Some(origin.to_str().ok().filter(|origin| is_one && !origin.is_empty()).unwrap_or("null"))
}

/// Returns a header, its lines as one. A line that is not text is empty, which names nothing that is known here.
pub(crate) fn header(headers: &HeaderMap, name: impl AsHeaderName) -> Option<Cow<'_, str>> {
    let mut lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let first = lines.next()?;
    Some(match lines.next() {
        Some(second) => Cow::Owned([first, second].into_iter().chain(lines).collect::<Vec<_>>().join(", ")),
        None => Cow::Borrowed(first),
    })
}

/// The headers of every answer with each kind of content. Made once: most of them are the same in all answers.
static HEADERS: LazyLock<[HeaderMap; Content::ALL.len()]> = LazyLock::new(|| Content::ALL.map(headers_of));

fn headers_of(content: Content) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for &(name, value) in content.headers() {
        set(&mut headers, name, HeaderValue::try_from(value));
    }
    headers
}

/// Sets a header of the service, all of which are ones that HTTP can carry.
fn set(headers: &mut HeaderMap, name: &'static str, value: Result<HeaderValue, InvalidHeaderValue>) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), value) {
        headers.insert(name, value);
    }
}

/// Holds the body of an answer that counts until it is dropped, as it is when the last of it has gone to the system.
struct CountedBody {
    body: String,
    _unread: UnreadAnswer,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        self.body.as_bytes()
    }
}

fn to_counted_response(mut answer: Answer, unread: UnreadAnswer) -> Response<Full<Bytes>> {
    let body = CountedBody { body: std::mem::take(&mut answer.body), _unread: unread };
    to_response(answer).map(|_| Full::new(Bytes::from_owner(body)))
}

fn to_template_response(TemplateAnswer { answer, body }: TemplateAnswer) -> Response<Full<Bytes>> {
    to_response(answer).map(|_| Full::new(Bytes::from_owner(body)))
}

pub(crate) fn to_response(answer: Answer) -> Response<Full<Bytes>> {
    let [nothing, json, problem, page] = &*HEADERS;
    let headers = match answer.content {
        Content::Nothing => nothing,
        Content::Json => json,
        Content::Problem => problem,
        Content::Page => page,
    };
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    // Every status of the service is one of HTTP's.
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers.clone();
    for (name, value) in answer.headers {
        set(response.headers_mut(), name, HeaderValue::try_from(value));
    }
    response
}
