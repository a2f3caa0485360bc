//! NodeService: how this node stands, and its card.

use bytes::Bytes;
use relay_proto::{
    card::Card,
    v1::{self, node_service_server::NodeService},
};
use tonic::{Request, Response, Status};

use super::{
    Service,
    access::Caller,
    convert::instant,
    peers::{QUEUE_COUNT_MAX, time},
    status::Problem,
};
use crate::{
    config::Role,
    store::{
        ScrubStatus,
        records::{DamageRecord, ScrubRecord},
    },
    telemetry::Counter,
};

#[tonic::async_trait]
impl NodeService for Service {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::NodeStatus>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(self.blocking(move |service| service.node_status(&caller)).await?))
    }

    async fn get_card(
        &self,
        _: Request<v1::GetCardRequest>,
    ) -> Result<Response<v1::GetCardResponse>, Status> {
        let own = self.relay().directory().own();
        let (card, unit) = (Card::to_file(own.signed()).into(), own.unit().to_string());
        Ok(Response::new(v1::GetCardResponse { card, unit }))
    }

    async fn list_alarms(
        &self,
        request: Request<v1::ListAlarmsRequest>,
    ) -> Result<Response<v1::ListAlarmsResponse>, Status> {
        let request = request.into_inner();
        let listed = self.blocking(move |service| Service::list_alarms(service, &request));
        Ok(Response::new(listed.await?))
    }

    async fn clear_alarm(
        &self,
        request: Request<v1::ClearAlarmRequest>,
    ) -> Result<Response<v1::Alarm>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(self.clear(caller, request.into_inner()).await?))
    }
}

impl Service {
    fn node_status(&self, caller: &Caller) -> Result<v1::NodeStatus, Problem> {
        let relay = self.relay();
        let (store, own) = (relay.store(), relay.directory().own());
        let mut peers = Vec::new();
        for peer in relay.directory().snapshot().peers() {
            peers.push(self.peer(peer)?);
        }
        let Waiting { open: outbox_open, more: outbox_more, oldest } = self.outbox(&peers)?;
        let mut waiting = Vec::new();
        // Whoever is to take messages has to know of them.
        let shows = caller.has(Role::ReadAll) || caller.has(Role::Acknowledge);
        for digest in store.unacknowledged(if shows { NEEDS_SHOWN } else { 0 })? {
            if let Some(record) = store.message(&digest)? {
                waiting.push(self.message(&record, v1::MessageView::Basic)?);
            }
        }
        let mut store_status = self.store_status()?;
        if !caller.has(Role::ReadAll) && !caller.has(Role::Administer) {
            // Who wrote to whom is not everybody's to know.
            store_status.scrub.iter_mut().for_each(without_messages);
        }
        let (alarms, alarms_more) = self.alarms()?;
        let reading = relay.time();
        let name = own.value().names.first().map(|name| name.name.clone());
        let keys = own.keys().iter().chain(own.logs().iter().map(|log| &log.key));
        let keys = keys.chain(own.nodes().iter().flat_map(|node| &node.transport_keys));
        Ok(v1::NodeStatus {
            unit: own.unit().to_string(),
            node: relay.node().to_string(),
            software: relay.software().to_owned(),
            now: time(reading.now),
            start_time: time(self.shared.started),
            clock: Some(reading.state),
            display_name: name.unwrap_or_default(),
            store: Some(store_status),
            log: Some(self.log_status()),
            outbox_open,
            outbox_more,
            oldest_outbox_time: oldest,
            peers,
            inbox_unacknowledged: store
                .unacknowledged_counts()?
                .values()
                .map(|count| count.0)
                .sum(),
            needs_acknowledgement: waiting,
            inbox_full: relay.full_inboxes(),
            verify_failures: relay.counters().read(Counter::VerifyFailure),
            replays_answered: relay.counters().read(Counter::Duplicate),
            alarms,
            alarms_more,
            working_keys_expire_time: keys
                .map(|key| key.not_after.as_millis())
                .min()
                .and_then(instant),
        })
    }

    /// What waits, and since when: for peers, and for units that are peers no longer.
    fn outbox(&self, peers: &[v1::Peer]) -> Result<Waiting, Problem> {
        let (store, snapshot) = (self.relay().store(), self.relay().directory().snapshot());
        let mut open = peers.iter().map(|peer| peer.outbox_messages).sum();
        let mut more = peers.iter().any(|peer| peer.outbox_more);
        let mut times: Vec<_> = peers.iter().filter_map(|peer| peer.oldest_outbox_time).collect();
        for unit in store.waiting_units(UNITS_MAX)? {
            if snapshot.peer(&unit).is_none() {
                let queue = store.peer_queue(&unit, QUEUE_COUNT_MAX)?;
                open += queue.open;
                more |= queue.more;
                times.extend(queue.oldest.and_then(time));
            }
        }
        let oldest = times.into_iter().min_by_key(|time| (time.seconds, time.nanos));
        Ok(Waiting { open, more, oldest })
    }

    fn store_status(&self) -> Result<v1::StoreStatus, Problem> {
        let store = self.relay().store();
        let (p50, p99) = store.sync_percentiles();
        let state = if self.store_ended() { "STOPPED" } else { "OPEN" };
        let disk = store.disk_use()?;
        Ok(v1::StoreStatus {
            state: state.to_owned(),
            durable_seq: store.log_head().seq,
            indexed_seq: store.indexed_seq(),
            bytes: disk.map_or(0, |disk| disk.used),
            free_bytes: disk.map_or(0, |disk| disk.free),
            sync_p50_us: p50,
            sync_p99_us: p99,
            scrub: self.scrub_status()?,
            room: store.room().label().to_owned(),
        })
    }

    fn scrub_status(&self) -> Result<Option<v1::ScrubStatus>, Problem> {
        let ScrubStatus { last, running, bytes_total } = self.relay().store().scrub_status()?;
        // What was found once stays to be told when nothing is scrubbed any more.
        Ok((last.is_some() || running.is_some()).then(|| v1::ScrubStatus {
            last: last.map(scrub_round),
            running: running.map(scrub_round),
            total_bytes: bytes_total,
        }))
    }

    fn log_status(&self) -> v1::LogStatus {
        let head = self.relay().store().log_head();
        v1::LogStatus {
            origin: self.relay().tlog().origin().to_string(),
            size: head.size,
            root: Bytes::copy_from_slice(head.root.as_bytes()),
            held: self.relay().tlog().hold().map(|hold| hold.to_string()).unwrap_or_default(),
        }
    }
}

fn without_messages(scrub: &mut v1::ScrubStatus) {
    for round in [&mut scrub.last, &mut scrub.running].into_iter().flatten() {
        round.damages.clear();
    }
}

fn scrub_round(round: ScrubRecord) -> v1::ScrubRound {
    let damages_total = round.damages.len() as u64 + round.left_out;
    v1::ScrubRound {
        start_time: instant(round.started_at_ms),
        end_time: (round.ended_at_ms > 0).then(|| instant(round.ended_at_ms)).flatten(),
        bytes: round.bytes,
        records: round.records,
        segments: round.segments,
        complete: round.complete,
        damages: round.damages.into_iter().map(damage).collect(),
        damages_total,
    }
}

fn damage(record: DamageRecord) -> v1::Damage {
    let text = record.to_string();
    let DamageRecord { segment, offset, seq, last_seq, message, from, to, .. } = record;
    v1::Damage { text, segment, offset, first_seq: seq, last_seq, message_id: message, from, to }
}

/// What waits for peers.
struct Waiting {
    open: u64,
    /// There are more than were counted.
    more: bool,
    oldest: Option<prost_types::Timestamp>,
}

/// Units for which what waits is counted: more than there are states.
const UNITS_MAX: usize = 10_000;

/// Messages that nobody took, as a status shows them.
const NEEDS_SHOWN: usize = 10;
