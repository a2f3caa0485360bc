//! What is remembered of addresses that are not yet authenticated: handshakes in work, failures,
//! when last logged; and where peers were met.
//!
//! Invariants: bounded whatever comes; a source causes at most one log line a minute; when the
//! table is full, new sources are served but neither remembered nor logged; strangers never take
//! the places that are kept for peers' addresses.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::settings::{
    CROWDED_HANDSHAKE, HANDSHAKES_KEPT, HANDSHAKES_MAX, HANDSHAKES_PER_SOURCE_MAX, RETRY_FROM,
};

/// The table of sources; a clone is the same table.
#[derive(Clone, Default)]
pub(super) struct Sources {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    in_work: usize,
    sources: HashMap<IpAddr, Source>,
    /// Where sessions were made, the newest last: cards often name hosts, not addresses.
    peers: VecDeque<IpAddr>,
}

struct Source {
    in_work: usize,
    failures: u32,
    since: Instant,
    /// When it last caused a line: counted apart, for one late in a minute and one early in the
    /// next are two within seconds.
    logged: Option<Instant>,
}

/// What to do with a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Begin it.
    Accept,
    /// Let the source prove its address first.
    Retry,
    /// Say no.
    Refuse,
}

impl Sources {
    /// Decides about a handshake from `address`; `is_on_card` says whether a verified card names
    /// it, and is asked only when that decides.
    pub(super) fn admit(
        &self,
        address: IpAddr,
        validated: bool,
        is_on_card: impl FnOnce() -> bool,
    ) -> Admission {
        let mut table = self.lock();
        let in_work = table.in_work;
        if validated && (HANDSHAKES_OPEN..HANDSHAKES_MAX).contains(&in_work) {
            let is_known = table.peers.contains(&source_of(address)) || is_on_card();
            if !is_known {
                return Admission::Refuse;
            }
        }
        let source = table.fresh(address, Instant::now());
        let (of_source, failures) = source.map_or((0, 0), |one| (one.in_work, one.failures));
        decide(in_work, of_source, failures, validated)
    }

    /// A peer was met at this address.
    pub(super) fn met(&self, address: IpAddr) {
        let (mut table, source) = (self.lock(), source_of(address));
        table.peers.retain(|known| *known != source);
        if table.peers.len() >= PEERS_MAX {
            table.peers.pop_front();
        }
        table.peers.push_back(source);
    }

    /// How long a handshake may take that begins now: less while there are many, for one that goes
    /// nowhere keeps a place from others.
    pub(super) fn patience(&self, usual: Duration) -> Duration {
        let crowded = self.lock().in_work > RETRY_FROM;
        if crowded { usual.min(CROWDED_HANDSHAKE) } else { usual }
    }

    /// Counts a handshake in work until the ticket is dropped. An address that was not proven may
    /// be another's: what is done in its name does not count against it.
    pub(super) fn enter(&self, address: IpAddr, validated: bool) -> Ticket {
        let mut table = self.lock();
        table.in_work += 1;
        let source = table.fresh(address, Instant::now()).filter(|_| validated);
        let counted = source.map(|source| source.in_work += 1);
        Ticket { sources: self.clone(), address: counted.map(|()| address) }
    }

    /// Counts a failed handshake; says whether it may be logged.
    pub(super) fn failed(&self, address: IpAddr, validated: bool) -> bool {
        let (mut table, now) = (self.lock(), Instant::now());
        let Some(source) = table.fresh(address, now) else { return false };
        source.failures = source.failures.saturating_add(validated.into());
        let may_log = source.logged.is_none_or(|last| now - last >= PERIOD);
        if may_log {
            source.logged = Some(now);
        }
        may_log
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// The source's entry of the present minute; none when the table is full.
    fn fresh(&mut self, address: IpAddr, now: Instant) -> Option<&mut Source> {
        let key = source_of(address);
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&key) {
            self.sources.retain(|_, one| one.in_work > 0 || one.is_of(now));
            if self.sources.len() >= SOURCES_MAX {
                return None;
            }
        }
        let new = Source { in_work: 0, failures: 0, since: now, logged: None };
        let source = self.sources.entry(key).or_insert(new);
        if now - source.since >= PERIOD {
            (source.failures, source.since) = (0, now);
        }
        Some(source)
    }
}

impl Source {
    /// Whether anything of it still counts.
    fn is_of(&self, now: Instant) -> bool {
        let counts = |since: Instant| now - since < PERIOD;
        counts(self.since) || self.logged.is_some_and(counts)
    }
}

/// A handshake in work.
pub(super) struct Ticket {
    sources: Sources,
    address: Option<IpAddr>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut table = self.sources.lock();
        table.in_work = table.in_work.saturating_sub(1);
        let source = self.address.and_then(|a| table.sources.get_mut(&source_of(a)));
        if let Some(source) = source {
            source.in_work = source.in_work.saturating_sub(1);
        }
    }
}

/// Pure: how busy we are, how busy with this source, its failures of this minute, whether its
/// address is proven.
fn decide(in_work: usize, of_source: usize, failures: u32, validated: bool) -> Admission {
    if in_work >= HANDSHAKES_MAX {
        return Admission::Refuse;
    }
    if in_work < RETRY_FROM {
        // While there is room everybody is heard: an address may be shared with a peer.
        return Admission::Accept;
    }
    if !validated {
        return Admission::Retry;
    }
    if of_source >= HANDSHAKES_PER_SOURCE_MAX || failures >= FAILURES_MAX {
        return Admission::Refuse;
    }
    Admission::Accept
}

/// One customer of a provider has a whole /64 of IPv6 addresses.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
        address => address,
    }
}

/// Handshakes in work up to which it does not matter whose address it is.
const HANDSHAKES_OPEN: usize = HANDSHAKES_MAX - HANDSHAKES_KEPT;

/// Addresses of peers that are remembered: more than there are units.
const PEERS_MAX: usize = 256;

/// Sources remembered; some 100 KiB.
const SOURCES_MAX: usize = 1024;

/// How long failures and log lines count.
const PERIOD: Duration = Duration::from_secs(60);

/// Failed handshakes a minute from which on a source has to wait while we are busy.
const FAILURES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]
    use super::*;

    #[test]
    fn the_table_of_admission() {
        use Admission::{Accept, Refuse, Retry};
        assert_eq!(decide(0, 0, 0, false), Accept);
        assert_eq!(decide(RETRY_FROM - 1, 15, 99, false), Accept);
        assert_eq!(decide(RETRY_FROM, 0, 0, false), Retry);
        assert_eq!(decide(RETRY_FROM, 0, 0, true), Accept);
        assert_eq!(decide(RETRY_FROM, HANDSHAKES_PER_SOURCE_MAX, 0, true), Refuse);
        assert_eq!(decide(RETRY_FROM, 0, FAILURES_MAX, true), Refuse);
        assert_eq!(decide(HANDSHAKES_MAX, 0, 0, true), Refuse);
    }

    /// Strangers find the last places taken, whatever they prove; who stands on a card or was met
    /// as a peer has them, eight a source, and has to prove its address like everybody else.
    #[tokio::test]
    async fn places_are_kept_for_peers() {
        let sources = Sources::default();
        let of = |number: u32| IpAddr::from(number.to_be_bytes());
        let (stranger, on_card, met) = (of(1), of(2), of(3));
        sources.met(met);
        let _flood: Vec<_> =
            (0..HANDSHAKES_OPEN).map(|n| sources.enter(of(100 + n as u32 / 8), true)).collect();
        let by_card = |address| sources.admit(address, true, || address == on_card);
        assert_eq!(by_card(stranger), Admission::Refuse);
        assert_eq!(sources.admit(stranger, false, || panic!("not asked")), Admission::Retry);
        let mut tickets = Vec::new();
        for peer in [on_card, met] {
            assert_eq!(sources.admit(peer, false, || panic!("not asked")), Admission::Retry);
            for _ in 0..HANDSHAKES_PER_SOURCE_MAX {
                assert_eq!(by_card(peer), Admission::Accept);
                tickets.push(sources.enter(peer, true));
            }
            assert_eq!(by_card(peer), Admission::Refuse, "its share is used up");
        }
        let kept = HANDSHAKES_KEPT - tickets.len();
        tickets.extend((0..kept).map(|n| sources.enter(of(200 + n as u32), true)));
        assert_eq!(sources.admit(of(9), true, || true), Admission::Refuse, "all places are taken");
    }

    /// The newest addresses of peers are remembered, those that come again as new ones.
    #[tokio::test]
    async fn peers_are_remembered_within_a_bound() {
        let sources = Sources::default();
        let of = |number: u32| IpAddr::from(number.to_be_bytes());
        for number in 0..10_000 {
            sources.met(of(7));
            sources.met(of(number));
        }
        let table = sources.lock();
        assert_eq!(table.peers.len(), PEERS_MAX);
        assert!(table.peers.contains(&of(7)) && table.peers.contains(&of(9_999)));
        assert!(!table.peers.contains(&of(9_000)));
    }

    /// One line a source and minute; the table stays bounded under any number of sources.
    #[tokio::test(start_paused = true)]
    async fn lines_and_memory_are_bounded() {
        let sources = Sources::default();
        let of = |number: u32| IpAddr::from(number.to_be_bytes());
        assert!(sources.failed(of(1), true));
        assert!(!sources.failed(of(1), true));
        let lines = (2..50_000).filter(|number| sources.failed(of(*number), true)).count();
        assert_eq!(lines, SOURCES_MAX - 1);
        assert_eq!(sources.lock().sources.len(), SOURCES_MAX);
        tokio::time::advance(PERIOD).await;
        assert!(sources.failed(of(1), true));
        assert!(sources.failed(of(60_000), true));
    }

    /// A source that was first seen without a failure, and fails at the end of its minute, causes
    /// no second line at the beginning of the next one.
    #[tokio::test(start_paused = true)]
    async fn no_two_lines_within_a_minute() {
        let sources = Sources::default();
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        sources.admit(source, true, || false);
        let mut lines = Vec::new();
        for second in 0..300u64 {
            if second >= 59 && sources.failed(source, true) {
                lines.push(second);
            }
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(lines, [59, 119, 179, 239, 299]);
    }

    /// Handshakes and failures in the name of a peer's address, which their sender could not prove,
    /// are no reason to refuse the peer.
    #[tokio::test]
    async fn a_forged_address_is_not_blamed() {
        let sources = Sources::default();
        let peer: IpAddr = "192.0.2.1".parse().unwrap();
        let _forged: Vec<_> = (0..RETRY_FROM).map(|_| sources.enter(peer, false)).collect();
        for _ in 0..=FAILURES_MAX {
            sources.failed(peer, false);
        }
        assert_eq!(sources.admit(peer, false, || false), Admission::Retry);
        assert_eq!(sources.admit(peer, true, || false), Admission::Accept);
        for _ in 0..=FAILURES_MAX {
            sources.failed(peer, true);
        }
        assert_eq!(sources.admit(peer, true, || false), Admission::Refuse);
    }

    /// Tickets count down, and addresses of one /64 are one source.
    #[tokio::test]
    async fn tickets_are_given_back() {
        let sources = Sources::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let other: IpAddr = "2001:db8::2:3".parse().unwrap();
        let tickets: Vec<_> = (0..RETRY_FROM).map(|_| sources.enter(one, true)).collect();
        assert_eq!(sources.admit(other, true, || false), Admission::Refuse);
        assert_eq!(sources.admit("192.0.2.1".parse().unwrap(), true, || false), Admission::Accept);
        drop(tickets);
        assert_eq!(sources.admit(other, false, || false), Admission::Accept);
        assert_eq!(sources.lock().in_work, 0);
    }
}
