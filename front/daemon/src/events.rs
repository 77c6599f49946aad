//! The stream of events: the past from the engine's memory, then what happens.

use crate::answer::Failure;
use crate::app::App;
use crate::body;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::{Channel, Sender};
use model::Timestamp;
use model::view::Event;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

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
    let (sender, channel) = Channel::<Bytes, std::io::Error>::new(16);
    tokio::spawn(send(outlet, sender, app.stopping));
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::new(channel)).into_response())
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

async fn send(
    mut outlet: UnboundedReceiver<Bytes>,
    mut sender: Sender<Bytes, std::io::Error>,
    mut stopping: watch::Receiver<bool>,
) {
    let stopped = stopping.wait_for(|stopping| *stopping);
    let all = async {
        while let Some(line) = outlet.recv().await {
            if sender.send_data(line).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = all => {}
        _ = stopped => {}
    }
}

fn line(event: &Event) -> Bytes {
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}
