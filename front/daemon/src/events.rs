//! The stream of events: the past from the engine's memory, then what happens.
//!
//! Nothing on the way to a client grows with what the client leaves unread: its socket, hyper's buffer, and then the
//! channel here are full, the thread waits, and its place in the engine's log stays where it is (`engine::Follower`).

use crate::answer::Failure;
use crate::app::App;
use crate::body;
use api::ErrorBody;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use engine::{Follower, News};
use hyper::body::Frame;
use model::Timestamp;
use model::view::Event;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// How often a follower's thread looks whether its client is still there.
const LOOK_UP: Duration = Duration::from_millis(250);

/// Lines that the connection's thread finds when it wakes up, so that it need not for each.
const READY: usize = 64;

pub(crate) async fn stream(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = body::query(query.as_deref(), &["since", "follow"])?;
    let follow = body::switch(&query, "follow")?;
    let since = match query.get("since") {
        None => None,
        Some(text) => Some(text.parse().map(Timestamp).map_err(|_| {
            Failure::invalid(format!("invalid query parameter since={text:?}: milliseconds since 1970 expected"))
        })?),
    };
    let (past, live) = if follow {
        let (past, follower) = app.engine.follow_events(since);
        (past, Some(live(follower)?))
    } else {
        (app.engine.events_since(since.unwrap_or(Timestamp(0))), None)
    };
    let mut stopping = app.stopping;
    let stopped = Box::pin(async move { drop(stopping.wait_for(|stop| *stop).await) });
    let lines = Lines { past: past.into_iter(), live, stopped };
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(lines)).into_response())
}

/// The answer's body: lines until there are no more, or the daemon stops. It ends with its connection, and all
/// that it waits for with it: no task stays behind on a thread that serves others next.
struct Lines {
    past: std::vec::IntoIter<Arc<Event>>,
    live: Option<Receiver<Bytes>>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(event) = self.past.next() {
            return Poll::Ready(Some(Ok(Frame::data(line(&*event)))));
        }
        let Some(live) = &mut self.live else { return Poll::Ready(None) };
        match live.poll_recv(context) {
            Poll::Ready(line) => Poll::Ready(line.map(|line| Ok(Frame::data(line)))),
            Poll::Pending => self.stopped.as_mut().poll(context).map(|()| None),
        }
    }
}

/// What happens, line by line, from a thread that waits for it.
fn live(follower: Follower) -> Result<Receiver<Bytes>, Failure> {
    let (lines, outlet) = channel(READY);
    let started = std::thread::Builder::new().name("events".into()).spawn(move || forward(follower, &lines));
    started.map_err(|error| Failure::new(StatusCode::SERVICE_UNAVAILABLE, format!("cannot follow events: {error}")))?;
    Ok(outlet)
}

/// Passes events on until the client is gone, the engine is, or the client has read so slowly that some are lost.
fn forward(mut follower: Follower, lines: &Sender<Bytes>) {
    while !lines.is_closed() {
        let line = match follower.next(LOOK_UP) {
            News::Event(event) => line(&*event),
            News::Nothing => continue,
            News::Behind => {
                // Gone already, it need not know.
                let _ = lines.blocking_send(line(&behind()));
                return;
            }
            News::End => return,
        };
        if lines.blocking_send(line).is_err() {
            return;
        }
    }
}

fn behind() -> ErrorBody {
    let kept = engine::EVENTS_KEPT;
    let error = format!(
        "this follower fell more than {kept} events behind, and the next are lost: begin again, with --since for those that are kept"
    );
    ErrorBody { error, reason: None }
}

fn line(value: &impl Serialize) -> Bytes {
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
