//! The stream of events: the past from the engine's memory, then what happens.

use crate::answer::Failure;
use crate::app::App;
use crate::body;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use model::Timestamp;
use model::view::Event;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often a follower's thread looks whether its client is still there.
const LOOK_UP: Duration = Duration::from_millis(250);

pub(crate) async fn stream(State(app): State<App>, RawQuery(query): RawQuery) -> Result<Response, Failure> {
    let query = body::query(query.as_deref(), &["since", "follow"])?;
    let follow = body::switch(&query, "follow")?;
    let since = match query.get("since") {
        None => None,
        Some(text) => Some(text.parse().map(Timestamp).map_err(|_| {
            Failure::invalid(format!("invalid query parameter since={text:?}: milliseconds since 1970 expected"))
        })?),
    };
    // The subscription first: what happens in between is then seen twice, and dropped once.
    let live = follow.then(|| app.engine.subscribe());
    let past = match since {
        None if follow => Vec::new(),
        since => app.engine.events_since(since.unwrap_or(Timestamp(0))),
    };
    let (lines, outlet) = unbounded_channel();
    for event in &past {
        let _ = lines.send(line(event));
    }
    if let Some(live) = live {
        let forward = move || forward(&live, past, &lines);
        let started = std::thread::Builder::new().name("events".into()).spawn(forward);
        started.map_err(|error| {
            Failure::new(axum::http::StatusCode::SERVICE_UNAVAILABLE, format!("cannot follow events: {error}"))
        })?;
    }
    let mut stopping = app.stopping;
    let stopped = Box::pin(async move { drop(stopping.wait_for(|stop| *stop).await) });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(Lines { outlet, stopped })).into_response())
}

/// The answer's body: lines until there are no more, or the daemon stops. It ends with its connection, and all
/// that it waits for with it: no task stays behind on a thread that serves others next.
struct Lines {
    outlet: UnboundedReceiver<Bytes>,
    stopped: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl HttpBody for Lines {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.outlet.poll_recv(context) {
            Poll::Ready(line) => Poll::Ready(line.map(|line| Ok(Frame::data(line)))),
            Poll::Pending => self.stopped.as_mut().poll(context).map(|()| None),
        }
    }
}

/// Passes events on until the client is gone or the engine is.
fn forward(live: &Receiver<Event>, mut past: Vec<Event>, lines: &UnboundedSender<Bytes>) {
    while !lines.is_closed() {
        match live.recv_timeout(LOOK_UP) {
            Ok(event) => {
                if let Some(seen) = past.iter().position(|e| *e == event) {
                    past.swap_remove(seen);
                } else if lines.send(line(&event)).is_err() {
                    return;
                }
            }
            // All that could be seen twice was queued when the subscription began.
            Err(RecvTimeoutError::Timeout) => past.clear(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn line(event: &Event) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
