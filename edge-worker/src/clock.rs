//! The only clock of the edge, and deadlines on what it waits for.

use std::{future::Future, pin::pin, time::Duration};

use futures_util::future::{Either, select};
use shared::time::Timestamp;
use worker::{AbortController, Delay, Fetch, Request, Response, js_sys::Date};

/// The current time of the runtime.
pub fn now() -> Timestamp {
    Timestamp::from_unix_ms(Date::now() as i64)
}

/// The future's output, or `None` if it takes longer than `ms` milliseconds. The timer is dropped in either case: a running
/// timer would keep an object from hibernating.
pub async fn within<F: Future>(ms: u32, future: F) -> Option<F::Output> {
    let timer = pin!(Delay::from(Duration::from_millis(u64::from(ms))));
    match select(pin!(future), timer).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Sends the request. If the answer's headers take longer than `ms` milliseconds, the fetch is aborted, and the result is
/// `None`.
pub async fn fetch_within(ms: u32, request: Request) -> Option<worker::Result<Response>> {
    let abort = AbortController::default();
    let signal = abort.signal();
    let fetch = Fetch::Request(request);
    let outcome = within(ms, fetch.send_with_signal(&signal)).await;
    if outcome.is_none() {
        abort.abort();
    }
    outcome
}
