//! Accepting: who may begin a handshake, and what becomes of it.
//!
//! Invariant: a handshake may fail, the loop may not; strangers cost a bounded number of
//! handshakes, bounded memory and one log line a source and minute.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Counters, LinkEvent, Shared,
    close::{CloseCode, Closed},
    establish,
    sources::{Admission, Ticket},
};
use crate::tasks::TaskKind;

/// Starts the loop. It also runs in a node that only dials, to notice that the socket failed.
pub(super) fn spawn(shared: &Arc<Shared>) {
    let own = shared.clone();
    shared.tasks.spawn("link-accept", TaskKind::Process, async move {
        // Sessions outlive the stop token, until the link is shut down; so does this loop, to say
        // no.
        while let Some(incoming) = own.endpoint.accept().await {
            if own.closing.is_cancelled() {
                incoming.refuse();
            } else {
                admit(&own, incoming);
            }
        }
        if own.closing.is_cancelled() {
            own.tasks.stop_token().cancelled().await;
        } else {
            tracing::error!("socket of the link failed");
        }
    });
}

fn admit(shared: &Arc<Shared>, incoming: quinn::Incoming) {
    let address = incoming.remote_address();
    let validated = incoming.remote_address_validated();
    let is_on_card = || shared.book.names(address.ip());
    match shared.sources.admit(address.ip(), validated, is_on_card) {
        Admission::Refuse => {
            Counters::add(&shared.counters.handshakes_refused);
            incoming.refuse();
        }
        Admission::Retry => {
            Counters::add(&shared.counters.retries);
            if let Err(error) = incoming.retry() {
                error.into_incoming().refuse();
            }
        }
        Admission::Accept => {
            Counters::add(&shared.counters.handshakes);
            let ticket = shared.sources.enter(address.ip(), validated);
            let own = shared.clone();
            let task = async move { serve(&own, incoming, ticket).await };
            shared.tasks.spawn("link-session", TaskKind::Session, task);
        }
    }
}

async fn serve(shared: &Shared, incoming: quinn::Incoming, ticket: Ticket) {
    let (address, begun) = (incoming.remote_address(), Instant::now());
    let mut proven = incoming.remote_address_validated();
    let established = async {
        let handshake = async { Ok::<_, Closed>(incoming.accept()?.await?) };
        let late = |_| Err(Closed::by_us(CloseCode::HelloTimeout, "handshake took too long"));
        let patience = shared.sources.patience(shared.settings.handshake);
        let connection = tokio::time::timeout(patience, handshake).await;
        let connection = connection.unwrap_or_else(late)?;
        proven = true;
        establish::session(shared, &connection, None).await
    };
    let established = established.await;
    drop(ticket);
    match established {
        Ok(established) => establish::run(shared, established).await,
        // Not a failure of the source: both sides dialled at once.
        Err(closed) if closed.code == CloseCode::Crossed => {}
        Err(closed) => {
            if !proven && begun.elapsed() >= UNANSWERED_AFTER {
                tell_unanswered(shared, address, &closed).await;
            }
            Counters::add(&shared.counters.handshakes_failed);
            if shared.sources.failed(address.ip(), proven) {
                let (code, by_peer, text) = (closed.code, closed.by_peer, closed.text);
                tracing::info!(%address, ?code, by_peer, text, "incoming connection refused");
            }
        }
    }
}

/// Tells whose address it is where our answers do not arrive. A handshake that was refused, on
/// either side, was answered.
async fn tell_unanswered(shared: &Shared, address: SocketAddr, closed: &Closed) {
    if matches!(closed.code, CloseCode::HelloTimeout | CloseCode::Lost)
        && let Some(unit) = shared.book.unit_at(address)
    {
        shared.tell(LinkEvent::Unanswered { unit }).await;
    }
}

/// A handshake that ends sooner was given up for something else, a stop for example; no dial waits
/// less than a second for its answer.
const UNANSWERED_AFTER: Duration = Duration::from_millis(500);
