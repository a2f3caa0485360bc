//! PeerService: the local directory and how each peer stands.
//!
//! Invariant: every change goes through the directory's verbs, and the relay is told of it.

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use relay_proto::{
    card::Card,
    ids::UnitId,
    reason::Reason,
    timestamp::Timestamp,
    v1::{self, peer_service_server::PeerService},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{Service, access::Caller, args, convert::instant, status::Problem, token};
use crate::{
    directory::{DirectoryError, Heard, Peer, Trust},
    relay::recover::AcceptRollback,
    store::{
        Filter,
        records::{AlarmRecord, MessageRecord},
    },
};

#[tonic::async_trait]
impl PeerService for Service {
    async fn add_peer(
        &self,
        request: Request<v1::AddPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        self.note_change(&caller, "AddPeer", added_name(&request.card)).await?;
        let now = self.relay().clock().now();
        let added = self.relay().directory().add(&request.card, now).await;
        Ok(Response::new(self.changed(added).await?))
    }

    async fn verify_peer(
        &self,
        request: Request<v1::VerifyPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let unit = args::unit(&request.unit)?;
        let by = args::person("by", &request.by)?;
        let heard = heard(&request)?;
        self.note_change(&caller, "VerifyPeer", peer_name(&unit)).await?;
        let now = self.relay().clock().now();
        // The comparison costs 100,000 hashes; it is rare, and the digits were shown before.
        let verified = self.relay().directory().verify(&unit, &heard, &by, now).await;
        Ok(Response::new(self.changed(verified).await?))
    }

    async fn get_peer(
        &self,
        request: Request<v1::GetPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let unit = args::unit(&request.into_inner().unit)?;
        let peer = self.relay().directory().snapshot().peer(&unit).cloned();
        let peer = peer.ok_or_else(|| no_peer(&unit))?;
        Ok(Response::new(self.whole_peer(peer).await?))
    }

    async fn list_peers(
        &self,
        request: Request<v1::ListPeersRequest>,
    ) -> Result<Response<v1::ListPeersResponse>, Status> {
        let request = request.into_inner();
        Ok(Response::new(self.blocking(move |service| service.peers(&request)).await?))
    }

    async fn ping_peer(
        &self,
        request: Request<v1::PingPeerRequest>,
    ) -> Result<Response<v1::PingPeerResponse>, Status> {
        let unit = args::unit(&request.into_inner().unit)?;
        let trust = self.relay().directory().snapshot().peer(&unit).map(|peer| peer.trust);
        if let Some(refusal) = trust.ok_or_else(|| no_peer(&unit))?.refusal() {
            return Err(not_trusted(&unit, refusal).into());
        }
        let unreachable = |text: String| Problem::text(Reason::PeerUnreachable, text);
        if let Some(Err((reason, text))) = self.relay().reach(&unit).await {
            // A peer that refuses us is there: what helps is another thing than for one that is
            // not.
            let text = format!("{unit}: {text}");
            return Err(match reason {
                Reason::NotVerifiedThere | Reason::DuplicateIdentity => Problem::text(reason, text),
                _ => unreachable(text),
            }
            .into());
        }
        let pong = self.relay().ping(&unit).await;
        let pong = pong.ok_or_else(|| unreachable("the link does not run".to_owned()))?;
        let rtt = pong.map_err(|error| unreachable(format!("{unit}: {error}")))?;
        let status = self.relay().peer_status(&unit);
        Ok(Response::new(v1::PingPeerResponse {
            rtt_us: u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX),
            key_exchange: status.key_exchange,
            clock_skew_ms: status.clock_skew_ms,
            software: status.software,
        }))
    }

    async fn suspend_peer(
        &self,
        request: Request<v1::SuspendPeerRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let unit = args::unit(&request.unit)?;
        let (by, why) =
            (args::person("by", &request.by)?, args::person("reason", &request.reason)?);
        self.note_change(&caller, "SuspendPeer", peer_name(&unit)).await?;
        let now = self.relay().clock().now();
        let suspended = self.relay().directory().suspend(&unit, &by, &why, now).await;
        Ok(Response::new(self.changed(suspended).await?))
    }

    async fn accept_rollback(
        &self,
        request: Request<v1::AcceptRollbackRequest>,
    ) -> Result<Response<v1::Peer>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        let request_id = args::request_id(&request.request_id)?;
        let unit = args::unit(&request.unit)?;
        let by = args::person("by", &request.by)?;
        self.note_change(&caller, "AcceptRollback", peer_name(&unit)).await?;
        let accept = AcceptRollback { principal: caller.principal, request_id, unit, by };
        let accepted = self.relay().accept_rollback(accept).await;
        Ok(Response::new(self.changed(accepted).await?))
    }

    async fn remove_peer(
        &self,
        request: Request<v1::RemovePeerRequest>,
    ) -> Result<Response<v1::RemovePeerResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let request = request.into_inner();
        args::request_id(&request.request_id)?;
        let unit = args::unit(&request.unit)?;
        self.note_change(&caller, "RemovePeer", peer_name(&unit)).await?;
        let now = self.relay().clock().now();
        self.relay().directory().remove(&unit, now).await.map_err(Problem::from)?;
        self.relay().directory_changed();
        Ok(Response::new(v1::RemovePeerResponse {}))
    }
}

fn peer_name(unit: &UnitId) -> String {
    format!("peers/{unit}")
}

/// The peer that a card would add; nothing where it is no card.
fn added_name(card: &[u8]) -> String {
    Card::from_file(card).map(|card| peer_name(card.unit())).unwrap_or_default()
}

impl Service {
    async fn changed(&self, peer: Result<Peer, DirectoryError>) -> Result<v1::Peer, Problem> {
        let peer = peer?;
        self.relay().directory_changed();
        self.whole_peer(peer).await
    }

    /// A peer with what is costly to know.
    async fn whole_peer(&self, peer: Peer) -> Result<v1::Peer, Problem> {
        self.blocking(move |service| {
            let mut shown = service.peer(&peer)?;
            shown.fingerprint = service.fingerprint(&peer);
            shown.received_24h = service.received_lately(&shown.unit)?;
            Ok(shown)
        })
        .await
    }

    fn fingerprint(&self, peer: &Peer) -> String {
        let key = *peer.card.identity().as_bytes();
        if let Some(known) = self.fingerprints().get(&key) {
            return known.clone();
        }
        let digits = self.relay().directory().fingerprint(peer).join(" ");
        let mut known = self.fingerprints();
        if known.len() >= FINGERPRINTS_MAX {
            known.clear();
        }
        known.insert(key, digits.clone());
        digits
    }

    fn peers(&self, request: &v1::ListPeersRequest) -> Result<v1::ListPeersResponse, Problem> {
        let size = args::page_size(request.page_size)?;
        let after = token::read(PEERS_QUERY, &request.page_token)?;
        let snapshot = self.relay().directory().snapshot();
        let later = |peer: &&Peer| {
            after
                .as_ref()
                .is_none_or(|after| peer.card.unit().as_str().as_bytes() > after.as_slice())
        };
        let mut waiting = snapshot.peers().filter(later);
        let mut response = v1::ListPeersResponse::default();
        for peer in waiting.by_ref().take(size) {
            response.peers.push(self.peer(peer)?);
        }
        if waiting.next().is_some() {
            let last = response.peers.last().map(|peer| peer.unit.as_bytes()).unwrap_or_default();
            response.next_page_token = token::write(PEERS_QUERY, last);
        }
        Ok(response)
    }

    /// A peer as lists show it.
    pub(super) fn peer(&self, peer: &Peer) -> Result<v1::Peer, Problem> {
        let (unit, store) = (peer.card.unit(), self.relay().store());
        let status = self.relay().peer_status(unit);
        let backoff = store.backoff(unit)?.unwrap_or_default();
        let queue = store.peer_queue(unit, QUEUE_COUNT_MAX)?;
        let unanswered = |at: Instant| at.elapsed() < ONE_WAY_FOR;
        let state = match (status.up, status.last_contact) {
            (true, _) => v1::PeerState::Up,
            _ if status.unanswered.is_some_and(unanswered) => v1::PeerState::OneWay,
            (false, Some(_)) => v1::PeerState::Down,
            // Not in this run, but perhaps in an earlier one.
            (false, None) if self.was_met(unit)? => match status.dial_failed {
                true => v1::PeerState::Down,
                false => v1::PeerState::Idle,
            },
            (false, None) => v1::PeerState::Never,
        };
        let nodes = peer.card.nodes().iter();
        let suspended = peer.suspended.as_ref();
        let put_off = status.put_off(self.relay().clock().now());
        let addresses = nodes.flat_map(|node| node.addresses.iter().cloned()).collect();
        Ok(v1::Peer {
            name: peer_name(unit),
            unit: unit.to_string(),
            trust: v1::PeerTrust::from(peer.trust).into(),
            state: state.into(),
            card: Some(peer.card.value().clone()),
            addresses,
            last_contact_time: status.last_contact.and_then(time),
            next_attempt_time: match (status.up, put_off) {
                _ if peer.trust != Trust::Verified => None,
                (true, put_off) => put_off.and_then(|(_, until)| time(until)),
                (false, _) => self.upcoming(backoff.next_try_ms),
            },
            last_reason: match (status.up, put_off) {
                (true, put_off) => {
                    put_off.map(|(reason, _)| reason.label().to_owned()).unwrap_or_default()
                }
                (false, _) => backoff.reason,
            },
            rtt_us: status.rtt_us,
            key_exchange: status.key_exchange,
            outbox_messages: queue.open,
            outbox_more: queue.more,
            oldest_outbox_time: queue.oldest.and_then(time),
            received_24h: 0,
            clock_skew_ms: status.clock_skew_ms,
            software: status.software,
            verified_by: peer.verified_by.clone(),
            verified_time: peer.verified_at.and_then(time),
            fingerprint: String::new(),
            alarms: self.alarms_of(unit)?,
            suspended_time: suspended.and_then(|suspended| suspended.at).and_then(time),
            suspended_by: suspended.map(|one| one.by.clone()).unwrap_or_default(),
            suspend_reason: suspended.map(|one| one.why.clone()).unwrap_or_default(),
            rollback: peer.next_card.as_deref().map(rollback).unwrap_or_default(),
            rollback_accepted_by: peer.rollback_by.clone(),
        })
    }

    /// The alarms of one peer: that of its clock, then the newest of the others; when, what.
    fn alarms_of(&self, unit: &UnitId) -> Result<Vec<String>, Problem> {
        let clock = self.clock_alarms().filter(|alarm| alarm.peer == unit.as_str());
        let others = self.relay().store().alarms_about(unit, ALARMS_SHOWN)?;
        let text = |alarm: AlarmRecord| {
            format!("{} {} {}", alarm.reason, Timestamp::from_millis(alarm.at_ms), alarm.detail)
        };
        Ok(clock.chain(others).take(ALARMS_SHOWN).map(text).collect())
    }

    /// The alarms of all: those of clocks, those of our own unit, then the newest of the others,
    /// few of each peer, so that none hides what another did or what is wrong here. And whether
    /// there are more.
    pub(super) fn alarms(&self) -> Result<(Vec<String>, bool), Problem> {
        let store = self.relay().store();
        let own = self.relay().directory().own().unit().clone();
        let mut others = store.alarms(ALARMS_SHOWN + 1)?;
        let mut more = others.len() > ALARMS_SHOWN;
        let snapshot = self.relay().directory().snapshot();
        let known: BTreeSet<&str> =
            snapshot.peers().map(|peer| peer.card.unit().as_str()).collect();
        others.retain(|alarm| alarm.peer != own.as_str() && !known.contains(alarm.peer.as_str()));
        for peer in snapshot.peers() {
            let about = store.alarms_about(peer.card.unit(), ALARMS_OF_A_PEER + 1)?;
            more |= about.len() > ALARMS_OF_A_PEER;
            others.extend(about.into_iter().take(ALARMS_OF_A_PEER));
        }
        others.sort_by_key(|alarm| Reverse(alarm.at_ms));
        let own = store.alarms_about(&own, ALARMS_SHOWN + 1)?;
        let all: Vec<AlarmRecord> = self.clock_alarms().chain(own).chain(others).collect();
        more |= all.len() > ALARMS_SHOWN;
        let text = |alarm: AlarmRecord| {
            let at = Timestamp::from_millis(alarm.at_ms);
            format!("{} {at} {}: {}", alarm.reason, alarm.peer, alarm.detail)
        };
        Ok((all.into_iter().take(ALARMS_SHOWN).map(text).collect(), more))
    }

    /// Alarms of clocks as they stand.
    fn clock_alarms(&self) -> impl Iterator<Item = AlarmRecord> {
        let at_ms = self.relay().clock().now().as_millis();
        self.relay().clock_alarms().into_iter().map(move |(reason, about, detail)| {
            let (reason, peer) = (reason.label().to_owned(), about.to_string());
            AlarmRecord { reason, peer, detail, at_ms, ..Default::default() }
        })
    }

    fn was_met(&self, unit: &UnitId) -> Result<bool, Problem> {
        let store = self.relay().store();
        Ok(store.transfers_in(unit)?.contiguous > 0 || store.counter("receipts-have", unit)? > 0)
    }

    /// Messages of the last day, counted up to a bound.
    fn received_lately(&self, unit: &str) -> Result<u64, Problem> {
        let filter = Filter {
            direction: Some(MessageRecord::IN),
            peer: Some(unit.to_owned()),
            since_ms: self.relay().clock().now().before(DAY).as_millis(),
            ..Filter::default()
        };
        let (mut count, mut place) = (0, None);
        for _ in 0..RECEIVED_PAGES {
            let listed = self.relay().store().list(&filter, place.as_deref(), RECEIVED_PAGE)?;
            count += listed.messages.len() as u64;
            place = listed.next;
            if place.is_none() {
                break;
            }
        }
        Ok(count)
    }
}

/// All sixty digits, or the groups that were heard; not both.
fn heard(request: &v1::VerifyPeerRequest) -> Result<Heard, Problem> {
    let wrong = |text| Problem::field(Reason::InvalidContent, "fingerprint", text);
    match (request.fingerprint.trim(), request.heard.as_slice()) {
        ("", []) => Err(wrong("is missing: state the digits that you heard")),
        (digits, []) => Ok(Heard::All(digits.to_owned())),
        ("", groups) if groups.len() <= GROUPS_MAX => Ok(Heard::Groups(
            groups.iter().map(|heard| (heard.group, heard.digits.clone())).collect(),
        )),
        ("", _) => Err(wrong("has more than twelve groups")),
        _ => Err(wrong("state either all digits or groups, not both")),
    }
}

/// The log of a card that waits to be accepted.
fn rollback(card: &relay_proto::card::Card) -> String {
    let open = card.logs().iter().find(|log| log.state == v1::LogState::Open);
    open.map(|log| log.origin.to_string()).unwrap_or_default()
}

fn no_peer(unit: &UnitId) -> Problem {
    Problem::text(Reason::NotFound, format!("{unit} is no peer of this node"))
        .with("unit", unit.as_str())
}

/// Nothing is exchanged with this unit.
pub(super) fn not_trusted(unit: &UnitId, reason: Reason) -> Problem {
    Problem::text(reason, format!("{unit}: {}", reason.meaning())).with("unit", unit.as_str())
}

/// An instant of the API.
pub(super) fn time(at: Timestamp) -> Option<prost_types::Timestamp> {
    instant(at.as_millis())
}

/// What a token of a list of peers is bound to.
const PEERS_QUERY: &str = "peers";

/// Entries of a peer's lane that are counted.
pub(super) const QUEUE_COUNT_MAX: usize = 10_000;

/// A peer dials at least so often while mail waits there: twice the longest wait for ROUTINE.
const ONE_WAY_FOR: Duration = Duration::from_secs(10 * 60);

const ALARMS_SHOWN: usize = 20;
/// Among them, of one peer.
const ALARMS_OF_A_PEER: usize = 3;
const FINGERPRINTS_MAX: usize = 1024;
const GROUPS_MAX: usize = 12;
const DAY: Duration = Duration::from_secs(24 * 3600);
const RECEIVED_PAGE: usize = 500;
const RECEIVED_PAGES: usize = 20;
