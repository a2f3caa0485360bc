//! Dialling: one attempt at all addresses of a unit, when the relay says so. When to try again is
//! the relay's to say.
//!
//! Invariant: one dial a unit at a time, and each dial ends in a session or in one `DialFailed`.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use relay_proto::ids::UnitId;
use tokio::sync::watch;

use super::{
    DialTarget, LinkEvent, Shared,
    close::{CloseCode, Closed},
    endpoint,
    establish::{self, Established},
    settings::DIAL_ADDRESSES_MAX,
    tls::SERVER_NAME,
};
use crate::tasks::TaskKind;

/// The units that are being dialled, and where whoever waits is told of a failure.
#[derive(Clone, Default)]
pub(super) struct Dialling {
    units: Arc<Mutex<HashMap<UnitId, watch::Receiver<Option<Closed>>>>>,
}

impl Dialling {
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.units.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn enter(&self, unit: &UnitId) -> Option<Dial> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        if units.contains_key(unit) {
            return None;
        }
        let (failed, watched) = watch::channel(None);
        units.insert(unit.clone(), watched);
        Some(Dial { dialling: self.clone(), unit: unit.clone(), failed })
    }

    fn watch(&self, unit: &UnitId) -> Option<watch::Receiver<Option<Closed>>> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner).get(unit).cloned()
    }
}

/// One dial in work.
struct Dial {
    dialling: Dialling,
    unit: UnitId,
    failed: watch::Sender<Option<Closed>>,
}

impl Drop for Dial {
    fn drop(&mut self) {
        let mut units = self.dialling.units.lock().unwrap_or_else(PoisonError::into_inner);
        units.remove(&self.unit);
    }
}

/// Starts a dial, unless there is a session, another dial, or the link closes.
pub(super) fn spawn(shared: &Arc<Shared>, unit: &UnitId) {
    if shared.closing.is_cancelled() || shared.registry.session_of(unit).is_some() {
        return;
    }
    let Some(dial) = shared.dialling.enter(unit) else { return };
    let own = shared.clone();
    shared.tasks.spawn("link-dial", TaskKind::Session, async move {
        let dialled = tokio::select! {
            biased;
            () = own.closing.cancelled() => return,
            dialled = first_session(&own, &dial.unit) => dialled,
        };
        let unit = dial.unit.clone();
        let failed = dial.failed.clone();
        drop(dial);
        match dialled {
            Ok(established) => establish::run(&own, established).await,
            // The crossing connection is the session.
            Err(closed) if crossed(&own, &unit, &closed).await => {}
            Err(closed) => {
                failed.send_replace(Some(closed.clone()));
                let (reason, code, text) = (closed.reason(), closed.code, closed.text);
                tracing::debug!(%unit, ?code, text, "dial failed");
                own.tell(LinkEvent::DialFailed { unit, reason, text }).await;
            }
        }
    });
}

/// Returns when there is a session with the unit, dialling it if there is none; or says why the
/// dial gave none.
pub(super) async fn reach(shared: &Arc<Shared>, unit: &UnitId) -> Result<(), Closed> {
    spawn(shared, unit);
    let Some(mut failed) = shared.dialling.watch(unit) else {
        // There is a session, or the link closes.
        return match shared.registry.session_of(unit) {
            Some(_) => Ok(()),
            None => Err(Closed::by_us(CloseCode::Lost, "no session")),
        };
    };
    tokio::select! {
        biased;
        () = shared.registry.wait_for(unit) => Ok(()),
        failure = failed.wait_for(Option::is_some) => match failure {
            Ok(closed) => Err(closed.clone().unwrap_or(Closed::by_us(CloseCode::Lost, ""))),
            // The dial gave a session that has ended by now.
            Err(_) => Err(Closed::by_us(CloseCode::Lost, "session has ended")),
        },
    }
}

/// Whether there is a session all the same. When the peer says that dials crossed, it has the other
/// connection complete; here that one may still wait for its last answer.
async fn crossed(shared: &Shared, unit: &UnitId, closed: &Closed) -> bool {
    if closed.code != CloseCode::Crossed {
        return shared.registry.session_of(unit).is_some();
    }
    let session = shared.registry.wait_for(unit);
    tokio::time::timeout(shared.settings.hello, session).await.is_ok()
}

/// The first address that gives a session; else the last failure.
async fn first_session(shared: &Shared, unit: &UnitId) -> Result<Established, Closed> {
    let mut last = Closed::by_us(CloseCode::Lost, "no address is known");
    let mut left = DIAL_ADDRESSES_MAX;
    for target in shared.book.addresses(unit) {
        let addresses = match resolve(shared, &target.address).await {
            Ok(addresses) => addresses,
            Err(closed) => {
                last = closed;
                continue;
            }
        };
        for address in addresses {
            let Some(fewer) = left.checked_sub(1) else { return Err(last) };
            left = fewer;
            match one_address(shared, &target, address).await {
                Ok(established) => return Ok(established),
                Err(closed) => last = closed,
            }
            if last.code == CloseCode::Crossed || shared.registry.session_of(unit).is_some() {
                return Err(last);
            }
        }
    }
    Err(last)
}

async fn resolve(shared: &Shared, address: &str) -> Result<Vec<SocketAddr>, Closed> {
    if let Ok(address) = address.parse() {
        return Ok(vec![address]);
    }
    let lookup = tokio::net::lookup_host(address);
    let failed = |text: &str| Closed::by_us(CloseCode::Lost, format!("{address}: {text}"));
    let found = tokio::time::timeout(shared.settings.handshake, lookup).await;
    let found = found.map_err(|_| failed("name was not resolved in time"))?;
    let found = found.map_err(|error| failed(&error.to_string()))?;
    let found: Vec<_> = found.take(DIAL_ADDRESSES_MAX).collect();
    if found.is_empty() { Err(failed("name has no address")) } else { Ok(found) }
}

async fn one_address(
    shared: &Shared,
    target: &DialTarget,
    address: SocketAddr,
) -> Result<Established, Closed> {
    let failed = |text: String| Closed::by_us(CloseCode::Lost, format!("{address}: {text}"));
    let config = endpoint::client_config(shared, target).map_err(|e| failed(e.to_string()))?;
    let connecting = shared.endpoint.connect_with(config, address, SERVER_NAME);
    let connecting = connecting.map_err(|error| failed(error.to_string()))?;
    let connection = tokio::time::timeout(shared.settings.handshake, connecting).await;
    let connection = connection.map_err(|_| failed("no answer in time".to_owned()))?;
    let connection = connection.map_err(|error| located(address, error.into()))?;
    let established = establish::session(shared, &connection, Some(&target.node)).await;
    established.map_err(|closed| located(address, closed))
}

/// Says at which address it was.
fn located(address: SocketAddr, closed: Closed) -> Closed {
    Closed { text: format!("{address}: {}", closed.text), ..closed }
}
