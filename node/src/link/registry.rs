//! All connections that are past TLS, by node: at most one session each, and a few that are being
//! made; of all nodes of a unit together not many.
//!
//! Invariants: a unit has no more memory here by naming more nodes on its card; whatever is in here
//! can be closed by name, so a removed peer loses its live connections; the lock is never held over
//! an await.

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quinn::Connection;
use relay_proto::ids::{NodeId, UnitId};
use tokio::{sync::Notify, time::Instant};

use super::{
    PeerBook,
    arbitrate::{Verdict, arbitrate},
    close::{CloseCode, Closed},
    session::{SessionCore, SessionId},
    settings::{CONNECTIONS_PER_UNIT_MAX, UNSETTLED_PER_NODE_MAX},
};

/// See the head of this file.
#[derive(Default)]
pub(super) struct Registry {
    /// Nodes are verified peers, so their number is bounded by the book.
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    /// Told of each new session.
    settled: Notify,
    /// Sessions so far.
    count: AtomicU64,
}

#[derive(Default)]
struct Peer {
    session: Option<Arc<SessionCore>>,
    unsettled: Vec<Unsettled>,
    /// The process that the newest session was made with.
    boot: Option<[u8; 16]>,
    /// Processes that others took over from, the last ones.
    gone: VecDeque<Gone>,
    /// When it was last asked why a session was taken from us.
    asked: Option<Instant>,
    alarmed: Option<Instant>,
    /// Log lines of the present minute, and since when it is counted.
    lines: Option<(Instant, u32)>,
}

struct Gone {
    boot: [u8; 16],
    /// When another one took over.
    since: Instant,
    /// It spoke after that.
    returned: bool,
}

struct Unsettled {
    id: SessionId,
    spki: Vec<u8>,
    connection: Connection,
}

impl Registry {
    /// Notes a connection that is past TLS, until the reservation is dropped.
    pub(super) fn reserve(
        &self,
        node: &NodeId,
        id: SessionId,
        spki: &[u8],
        connection: &Connection,
    ) -> Result<Reservation<'_>, Closed> {
        let mut peers = self.lock();
        let of_unit = connections_beside(&peers, node);
        let unsettled = &mut peers.entry(node.clone()).or_default().unsettled;
        if unsettled.len() >= UNSETTLED_PER_NODE_MAX || of_unit >= CONNECTIONS_PER_UNIT_MAX {
            return Err(Closed::by_us(CloseCode::Busy, ""));
        }
        unsettled.push(Unsettled { id, spki: spki.to_vec(), connection: connection.clone() });
        Ok(Reservation { registry: self, node: node.clone(), id })
    }

    /// Refuses a connection of another instance as soon as its Hello is known.
    pub(super) fn refuse_duplicate(&self, newer: &SessionCore) -> Result<(), Closed> {
        let peers = self.lock();
        let standing = peers.get(&newer.peer).and_then(Peer::live);
        match standing.map(|standing| arbitrate(&standing.claim, &newer.claim)) {
            Some(Verdict::Duplicate) => Err(Closed::by_us(CloseCode::DuplicateIdentity, "")),
            _ => Ok(()),
        }
    }

    /// Makes a connection that is complete on both sides the session of its node, or refuses it;
    /// `begun` is when it was past TLS.
    ///
    /// It answered a ping since it began. So a process from which another one took over before that
    /// still runs: two speak for one node. It is refused, and the other one is told once. What
    /// began before the other one took over may be the last word of a process that is gone.
    pub(super) fn settle(&self, newer: &Arc<SessionCore>, begun: Instant) -> Result<(), Closed> {
        let mut peers = self.lock();
        let peer = peers.entry(newer.peer.clone()).or_default();
        if let Some(gone) = peer.gone.iter_mut().find(|gone| gone.boot == newer.claim.boot) {
            if gone.since >= begun {
                return Err(Closed::by_us(CloseCode::Superseded, ""));
            }
            let is_told = std::mem::replace(&mut gone.returned, true);
            let standing = peer.session.clone().filter(|_| !is_told);
            drop(peers);
            if let Some(standing) = standing {
                standing.end(Closed::by_us(CloseCode::DuplicateIdentity, ""));
            }
            return Err(Closed::by_us(CloseCode::DuplicateIdentity, ""));
        }
        let verdict = peer.live().map(|standing| arbitrate(&standing.claim, &newer.claim));
        let code = match verdict {
            Some(Verdict::Duplicate) => {
                return Err(Closed::by_us(CloseCode::DuplicateIdentity, ""));
            }
            Some(Verdict::Yield) => return Err(Closed::by_us(CloseCode::Crossed, "")),
            Some(Verdict::Cross) => CloseCode::Crossed,
            Some(Verdict::Supersede) | None => CloseCode::Superseded,
        };
        let place = self.count.fetch_add(1, Ordering::AcqRel) + 1;
        newer.settled.store(place, Ordering::Release);
        let replaced = peer.session.replace(newer.clone());
        peer.runs(newer.claim.boot);
        peer.unsettled.retain(|unsettled| unsettled.id != newer.id);
        drop(peers);
        self.settled.notify_waiters();
        if let Some(replaced) = replaced {
            replaced.end(Closed::by_us(code, ""));
        }
        Ok(())
    }

    /// Forgets a session that ended; a newer one stays.
    pub(super) fn remove(&self, ended: &SessionCore) {
        let mut peers = self.lock();
        let Some(peer) = peers.get_mut(&ended.peer) else { return };
        if peer.session.as_ref().is_some_and(|session| session.id == ended.id) {
            peer.session = None;
        }
    }

    /// Whether an alarm about this node is due: one a minute, whatever the other instance does.
    pub(super) fn may_alarm(&self, node: &NodeId) -> bool {
        let mut peers = self.lock();
        let alarmed = &mut peers.entry(node.clone()).or_default().alarmed;
        let due = alarmed.is_none_or(|last| last.elapsed() >= ALARM_INTERVAL);
        if due {
            *alarmed = Some(Instant::now());
        }
        due
    }

    /// Whether one more line about this node may be logged: a peer that comes and goes without
    /// end fills no disk.
    pub(super) fn may_log(&self, node: &NodeId) -> bool {
        let mut peers = self.lock();
        let lines = &mut peers.entry(node.clone()).or_default().lines;
        let fresh = lines.filter(|(since, _)| since.elapsed() < ALARM_INTERVAL);
        let (since, count) = fresh.unwrap_or((Instant::now(), 0));
        *lines = Some((since, count.saturating_add(1)));
        count < LINES_MAX
    }

    /// Whether a node that says that another connection of ours took over is to be asked what that
    /// is: no other is there or is being made, and it was not asked within the last seconds.
    pub(super) fn may_ask(&self, node: &NodeId) -> bool {
        let mut peers = self.lock();
        let peer = peers.entry(node.clone()).or_default();
        let is_known = peer.live().is_some() || !peer.unsettled.is_empty();
        let due = !is_known && peer.asked.is_none_or(|last| last.elapsed() >= ASK_INTERVAL);
        if due {
            peer.asked = Some(Instant::now());
        }
        due
    }

    pub(super) fn live(&self) -> Vec<Arc<SessionCore>> {
        self.lock().values().filter_map(Peer::live).cloned().collect()
    }

    pub(super) fn session_of(&self, unit: &UnitId) -> Option<Arc<SessionCore>> {
        self.live().into_iter().find(|session| session.peer.unit() == unit)
    }

    /// Returns when there is a session with the unit.
    pub(super) async fn wait_for(&self, unit: &UnitId) {
        loop {
            let mut settled = pin!(self.settled.notified());
            // Registered before the look, so that nothing between the two is missed.
            settled.as_mut().enable();
            if self.session_of(unit).is_some() {
                return;
            }
            settled.await;
        }
    }

    pub(super) fn close_unit(&self, unit: &UnitId, code: CloseCode, text: &str) {
        self.close_where(code, text, |node, _| node.unit() == unit);
    }

    pub(super) fn recheck(&self, book: &dyn PeerBook) {
        self.close_where(CloseCode::Removed, "", |node, spki| {
            book.by_spki(spki).is_none_or(|peer| peer.node != *node)
        });
    }

    pub(super) fn close_all(&self, code: CloseCode) {
        self.close_where(code, "", |_, _| true);
    }

    fn close_where(&self, code: CloseCode, text: &str, matches: impl Fn(&NodeId, &[u8]) -> bool) {
        let mut sessions = Vec::new();
        let mut connections = Vec::new();
        for (node, peer) in &*self.lock() {
            sessions.extend(peer.session.iter().filter(|s| matches(node, &s.spki)).cloned());
            let unsettled = peer.unsettled.iter().filter(|one| matches(node, &one.spki));
            connections.extend(unsettled.map(|one| one.connection.clone()));
        }
        for session in sessions {
            session.end(Closed::by_us(code, text));
        }
        for connection in connections {
            code.close(&connection, text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Connections of a node's unit, its own session left out: a newer one takes its place, and a node
/// that restarts must come in while its old session is not lost yet.
fn connections_beside(peers: &BTreeMap<NodeId, Peer>, node: &NodeId) -> usize {
    let of_unit = peers.iter().filter(|(other, _)| other.unit() == node.unit());
    let each = of_unit.map(|(other, peer)| {
        let session = peer.live().is_some_and(|_| other != node);
        peer.unsettled.len() + usize::from(session)
    });
    each.sum()
}

impl Peer {
    /// A session whose connection is already lost stands in nobody's way.
    fn live(&self) -> Option<&Arc<SessionCore>> {
        self.session.as_ref().filter(|session| session.is_live())
    }

    /// A session was made with this process.
    fn runs(&mut self, boot: [u8; 16]) {
        let Some(before) = self.boot.replace(boot).filter(|before| *before != boot) else { return };
        if self.gone.len() >= GONE_MAX {
            self.gone.pop_front();
        }
        self.gone.push_back(Gone { boot: before, since: Instant::now(), returned: false });
    }
}

/// A place among the unsettled connections of a node.
pub(super) struct Reservation<'a> {
    registry: &'a Registry,
    node: NodeId,
    id: SessionId,
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if let Some(peer) = self.registry.lock().get_mut(&self.node) {
            peer.unsettled.retain(|unsettled| unsettled.id != self.id);
        }
    }
}

/// Processes of a node that are remembered after others took over from them.
const GONE_MAX: usize = 16;

/// How often a node is asked at most why a session was taken from us.
const ASK_INTERVAL: Duration = Duration::from_secs(10);

const ALARM_INTERVAL: Duration = Duration::from_secs(60);

/// Lines a node and minute: ten sessions that come and go.
const LINES_MAX: u32 = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Alarms and lines are bounded for each node apart, and due again after a minute.
    #[tokio::test(start_paused = true)]
    async fn lines_about_a_peer_are_bounded() {
        let registry = Registry::default();
        let (one, other) = ("xa.ncu/a".parse().unwrap(), "xb.ncu/a".parse().unwrap());
        for _ in 0..2 {
            let lines = (0..1000).filter(|_| registry.may_log(&one)).count();
            assert_eq!(u32::try_from(lines).unwrap(), LINES_MAX);
            assert!(registry.may_alarm(&one) && !registry.may_alarm(&one));
            assert!(registry.may_log(&other) && registry.may_alarm(&other));
            tokio::time::advance(ALARM_INTERVAL).await;
        }
    }
}
