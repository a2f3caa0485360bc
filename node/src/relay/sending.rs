//! One peer's lanes at work: what the outbox decided to send is read and sent here, each lane by a
//! task of its own.
//!
//! Invariant: a lane that stands still, because the link is slow or the peer does not read it,
//! holds up neither another lane nor the worker that decides. What waits is bounded by the outbox's
//! window of the lane.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::{outbox::Input, share::PerPriority};
use relay_proto::{
    envelope::Priority,
    ids::{Digest, UnitId},
    v1,
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, warn};

use super::{
    Context,
    alarms::unreadable,
    attachments::{Brought, LATER, bring},
    peers::Live,
};
use crate::{
    faults::{self, Point},
    link::{CloseCode, Lane, SessionId},
    store::{Content, StoreError, records::MessageRecord},
    tasks::TaskKind,
};

/// The lanes of one peer.
pub(super) struct Sending {
    session: watch::Receiver<Option<Live>>,
    lanes: PerPriority<mpsc::UnboundedSender<Order>>,
}

/// A transfer to be sent. It is void when the session that it was ordered for is over: the outbox
/// orders it anew for the next.
struct Order {
    session: SessionId,
    number: u64,
    digest: Digest,
    recovered: bool,
    /// Its attachments are there.
    brought: bool,
}

impl Sending {
    /// Starts the lanes' tasks.
    pub fn start(
        ctx: &Arc<Context>,
        unit: &UnitId,
        session: watch::Receiver<Option<Live>>,
    ) -> Self {
        let lane = |priority| {
            // Bounded by the window: an entry is in flight once, and sent again after a long wait.
            let (orders, received) = mpsc::unbounded_channel();
            let back = orders.clone();
            let bringing = Bringing { orders: back, under_way: Arc::default() };
            let orders_of = (received, bringing);
            let work = run(Arc::clone(ctx), unit.clone(), priority, session.clone(), orders_of);
            ctx.parts.tasks.spawn("peer-lane", TaskKind::Process, work);
            orders
        };
        let lanes = PerPriority::new(lane);
        Self { session, lanes }
    }

    /// Has a transfer sent on the present session; `recovered` when the peer's log lost the receipt
    /// of an earlier one.
    pub fn order(&self, lane: Priority, number: u64, digest: Digest, recovered: bool) {
        let Some(session) = self.session.borrow().as_ref().map(|live| live.id) else { return };
        // A lane that is gone stopped with the node.
        let order = Order { session, number, digest, recovered, brought: false };
        let _ = self.lanes.of(lane).send(order);
    }
}

async fn run(
    ctx: Arc<Context>,
    unit: UnitId,
    priority: Priority,
    session: watch::Receiver<Option<Live>>,
    (mut orders, bringing): (mpsc::UnboundedReceiver<Order>, Bringing),
) {
    let stop = ctx.parts.tasks.stop_token();
    loop {
        let order = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            order = orders.recv() => order,
        };
        let Some(order) = order else { return };
        let live = session.borrow().clone().filter(|live| live.id == order.session);
        let Some(live) = live else { continue };
        let frame = match frame(&ctx, &unit, &order).await {
            Ok(Some(Ready::Frame(frame))) => *frame,
            Ok(Some(Ready::Brings(record, content))) => {
                bringing.begin(&ctx, &unit, live, order, (record, content));
                continue;
            }
            Ok(None) => continue,
            Err(error) => {
                // The index failed: the daemon ends the process.
                warn!(%error, "lane stopped");
                return;
            }
        };
        // A session that ended meanwhile makes the entry due again: SessionDown is on its way.
        faults::at(Point::Send);
        let sent = live.sender.send(lane_of(priority), frame);
        let sent = tokio::time::timeout(SEND_WAIT, sent).await;
        faults::at(Point::Sent);
        if sent.is_err()
            && let Some(link) = ctx.peers.link()
        {
            // A peer that reads nothing must not hold its lane for ever.
            if let Some(left_out) = ctx.quotas.meter(&unit).line() {
                warn!(peer = %unit, left_out, "lane stands still, session ended");
            }
            link.close_peer(&unit, CloseCode::Slow, "lane stands still");
        }
    }
}

/// What an order comes to.
enum Ready {
    Frame(Box<v1::frame::Kind>),
    /// What the message lists goes first.
    Brings(Box<MessageRecord>, Box<Content>),
}

/// The attachments of a lane's messages: brought beside it, so that it does not wait for them.
struct Bringing {
    /// Back to the lane, once they are there.
    orders: mpsc::UnboundedSender<Order>,
    /// Numbers of the messages whose attachments are being brought, with their sessions. Bounded by
    /// the window.
    under_way: Arc<Mutex<BTreeSet<(SessionId, u64)>>>,
}

impl Bringing {
    /// Begins, unless it is under way already: the outbox orders again what takes long.
    fn begin(
        &self,
        ctx: &Arc<Context>,
        unit: &UnitId,
        live: Live,
        order: Order,
        (record, content): (Box<MessageRecord>, Box<Content>),
    ) {
        let place = (order.session, order.number);
        if !lock(&self.under_way).insert(place) {
            return;
        }
        let (orders, under_way) = (self.orders.clone(), Arc::clone(&self.under_way));
        let (ctx, unit, tasks) = (Arc::clone(ctx), unit.clone(), ctx.parts.tasks.clone());
        tasks.spawn("peer-attachments", TaskKind::Session, async move {
            let number = order.number;
            let brought = bring(&ctx, &unit, &live.attachments, &record, &content).await;
            lock(&under_way).remove(&place);
            let advice = match brought {
                Ok(Brought::All) => {
                    let _ = orders.send(Order { brought: true, ..order });
                    return;
                }
                Ok(Brought::Later(reason)) => {
                    Input::Deferred { number: Some(number), reason, wait: LATER }
                }
                Ok(Brought::Fault(reason)) => Input::Fault { number, reason },
                // Out of the window, in which others go on; the next session tries it again.
                Ok(Brought::Damaged) => {
                    return ctx.peers.input(&unit, Input::Settled(vec![number]));
                }
                // With the session: SessionDown is on its way. Without: it is sent again later.
                Ok(Brought::Ended) => return,
                Err(error) => return warn!(%error, "attachments not brought"),
            };
            ctx.peers.advise(&unit, advice);
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is sent; nothing for a message that is gone or cannot be read.
async fn frame(ctx: &Context, unit: &UnitId, order: &Order) -> Result<Option<Ready>, StoreError> {
    let store = &ctx.parts.store;
    let (number, digest) = (order.number, order.digest);
    let Some(record) = store.message(&digest)? else { return Ok(None) };
    let content = match store.content(&record) {
        Ok(content) => content,
        Err(error) => {
            unreadable(ctx, &record, &error).await?;
            // Out of the window, in which others go on; the next session tries it again.
            ctx.peers.input(unit, Input::Settled(vec![number]));
            return Ok(None);
        }
    };
    if !record.attachments.is_empty() && !order.brought && content.payload.is_some() {
        return Ok(Some(Ready::Brings(Box::new(record), Box::new(content))));
    }
    let Some(payload) = content.payload else {
        // The content was erased on order: this number stays empty on this hop.
        let void = v1::Void { number, reason: "ERASED".to_owned() };
        return Ok(Some(Ready::Frame(Box::new(v1::frame::Kind::Void(void)))));
    };
    debug!(peer = %unit, number, message = %digest, "transfer sent");
    let transfer = v1::frame::Kind::Transfer(v1::Transfer {
        number,
        passed: Vec::new(),
        envelope: Some(v1::Envelope {
            header: Some(content.header),
            payload: Some(v1::envelope::Payload::Clear(payload)),
            wraps: Vec::new(),
        }),
        recovered: order.recovered,
    });
    Ok(Some(Ready::Frame(Box::new(transfer))))
}

/// The lane of a priority.
fn lane_of(priority: Priority) -> Lane {
    match priority {
        Priority::Emergency => Lane::Emergency,
        Priority::Urgent => Lane::Urgent,
        Priority::Routine => Lane::Routine,
    }
}

/// A lane that takes no frame for so long stands still.
const SEND_WAIT: Duration = Duration::from_secs(60);
