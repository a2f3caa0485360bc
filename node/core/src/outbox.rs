//! What one peer is owed: which entry to send now, which waits and why, when to dial.
//!
//! `handle(now, input) -> actions`; the driver performs all actions of one call before the next.
//! The store holds the entries; this machine keeps only what a restart can rebuild: the window of
//! entries in flight and where each lane's reading stands. Invariants: an entry is in flight at
//! most once; at most the window is in flight per lane; every open entry is in flight, deferred to
//! an instant, or will be claimed again.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use relay_proto::{envelope::Priority, ids::Digest, reason::Reason, timestamp::Timestamp};

use crate::share::PerPriority;

mod types;

pub use types::{Action, Entry, Input, Settings, WINDOW_BYTES, WINDOW_MESSAGES};

/// The queue of one peer.
#[derive(Debug)]
pub struct Outbox {
    settings: Settings,
    session: bool,
    dialling: bool,
    draining: bool,
    attempts: u32,
    next_try: Option<Timestamp>,
    hold_until: Option<Timestamp>,
    lanes: PerPriority<Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    /// Entries up to this number were claimed in this session.
    claimed_up_to: u64,
    /// A claim is under way.
    claiming: bool,
    /// The store may hold entries above `claimed_up_to`.
    more: bool,
    in_flight: BTreeMap<u64, InFlight>,
    in_flight_bytes: usize,
    /// Deferred entries by the instant of their next try.
    deferred: BTreeSet<(Timestamp, u64)>,
    waiting: BTreeMap<u64, InFlight>,
}

#[derive(Debug, Clone)]
struct InFlight {
    digest: Digest,
    bytes: usize,
    attempts: u32,
    sent_at: Timestamp,
}

impl Outbox {
    /// An empty queue; the store is asked when a session is up.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            session: false,
            dialling: false,
            draining: false,
            attempts: 0,
            next_try: None,
            hold_until: None,
            lanes: PerPriority::default(),
        }
    }

    /// Entries sent and without receipt, all lanes together.
    pub fn in_flight(&self) -> usize {
        self.lanes.iter().map(|(_, lane)| lane.in_flight.len()).sum()
    }

    /// Takes one input and says what to do. `open` tells the most urgent priority that waits, if
    /// any does; `random` is uniform over its range.
    pub fn handle(
        &mut self,
        now: Timestamp,
        input: Input,
        open: Option<Priority>,
        random: u32,
    ) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Started { attempts, next_try } => {
                self.attempts = attempts;
                self.next_try = next_try;
            }
            Input::Woken => self.lanes.iter_mut().for_each(|(_, lane)| lane.more = true),
            Input::SessionUp => self.session_up(&mut actions),
            Input::SessionDown => self.session_down(now, open, random, &mut actions),
            Input::DialFailed(reason) => self.failed(now, reason, open, random, &mut actions),
            Input::Claimed { lane, entries, asked } => {
                self.claimed(now, lane, entries, asked, &mut actions);
            }
            Input::Settled(numbers) => {
                for (_, lane) in self.lanes.iter_mut() {
                    numbers.iter().for_each(|number| lane.settle(*number));
                }
            }
            Input::Fault { number, reason } => {
                self.fault(now, number, reason, random, &mut actions);
            }
            Input::Deferred { number: Some(number), reason, wait } => {
                self.defer(now, number, reason, now.after(wait), &mut actions);
            }
            Input::Deferred { number: None, reason, wait } => {
                let not_before = now.after(wait.min(DEFERRAL_MAX));
                self.hold_until = Some(not_before);
                actions.push(Action::SaveBackoff {
                    attempts: self.attempts,
                    next_try: Some(not_before),
                    reason: Some(reason),
                });
            }
            Input::Timer => {}
            Input::Drain => self.draining = true,
            Input::RetryNow => {
                self.dialling = false;
                self.hold_until = None;
                self.next_try = None;
                self.attempts = 0;
                self.lanes.iter_mut().for_each(|(_, lane)| lane.retry_all(now));
            }
        }
        self.advance(now, open, &mut actions);
        actions
    }

    /// What follows from the state, whatever the input was.
    fn advance(&mut self, now: Timestamp, open: Option<Priority>, actions: &mut Vec<Action>) {
        if self.hold_until.is_some_and(|until| until <= now) {
            self.hold_until = None;
        }
        if self.draining {
            return;
        }
        let mut wake: Option<Timestamp> = self.hold_until;
        if !self.session {
            if open.is_some() && !self.dialling {
                match self.next_try {
                    Some(at) if at > now => wake = earliest(wake, Some(at)),
                    _ => {
                        self.dialling = true;
                        actions.push(Action::Dial);
                    }
                }
            }
        } else if self.hold_until.is_none() {
            let settings = self.settings;
            for (priority, lane) in self.lanes.iter_mut() {
                lane.resend(now, priority, &settings, actions);
                lane.claim(priority, &settings, actions);
                wake = earliest(wake, lane.next_instant(&settings));
            }
        }
        if let Some(at) = wake {
            actions.push(Action::Wake(at));
        }
    }

    fn session_up(&mut self, actions: &mut Vec<Action>) {
        self.session = true;
        self.dialling = false;
        if self.attempts > 0 || self.next_try.is_some() {
            actions.push(Action::SaveBackoff { attempts: 0, next_try: None, reason: None });
        }
        // Contact clears the back-off, whoever dialled.
        self.attempts = 0;
        self.next_try = None;
        self.lanes.iter_mut().for_each(|(_, lane)| lane.restart());
    }

    fn session_down(
        &mut self,
        now: Timestamp,
        open: Option<Priority>,
        random: u32,
        actions: &mut Vec<Action>,
    ) {
        if self.session {
            self.session = false;
            // What was in flight is due again; the store still has it.
            self.lanes.iter_mut().for_each(|(_, lane)| lane.restart());
            self.failed(now, Reason::PeerUnreachable, open, random, actions);
        }
    }

    fn failed(
        &mut self,
        now: Timestamp,
        reason: Reason,
        open: Option<Priority>,
        random: u32,
        actions: &mut Vec<Action>,
    ) {
        self.dialling = false;
        if self.session {
            return;
        }
        self.attempts = self.attempts.saturating_add(1);
        let priority = open.unwrap_or(Priority::Routine);
        let next = self.settings.schedule.next(now, self.attempts, priority, random);
        self.next_try = Some(next);
        actions.push(Action::SaveBackoff {
            attempts: self.attempts,
            next_try: Some(next),
            reason: Some(reason),
        });
    }

    fn claimed(
        &mut self,
        now: Timestamp,
        lane: Priority,
        entries: Vec<Entry>,
        asked: usize,
        actions: &mut Vec<Action>,
    ) {
        let (live, bytes_max) = (self.session, self.settings.window_bytes);
        let state = self.lanes.of_mut(lane);
        state.claiming = false;
        if !live {
            return;
        }
        state.more |= entries.len() >= asked;
        for entry in entries {
            if state.in_flight_bytes >= bytes_max {
                // The rest is claimed when there is room.
                state.more = true;
                break;
            }
            state.claimed_up_to = state.claimed_up_to.max(entry.number);
            if state.in_flight.contains_key(&entry.number) {
                continue;
            }
            let flight = InFlight {
                digest: entry.digest,
                bytes: entry.bytes,
                attempts: entry.attempts,
                sent_at: now,
            };
            if entry.not_before > now {
                state.deferred.insert((entry.not_before, entry.number));
                state.waiting.insert(entry.number, flight);
            } else {
                state.send(lane, entry.number, flight, now, actions);
            }
        }
    }

    fn fault(
        &mut self,
        now: Timestamp,
        number: u64,
        reason: Reason,
        random: u32,
        actions: &mut Vec<Action>,
    ) {
        let found = self.lanes.iter().find_map(|(priority, lane)| {
            lane.in_flight.get(&number).map(|flight| (priority, flight.clone()))
        });
        let Some((priority, flight)) = found else { return };
        if flight.attempts >= self.settings.faults_alarm {
            actions.push(Action::AlarmFaults { digest: flight.digest, reason });
        }
        let next = self.settings.schedule.next(now, flight.attempts, priority, random);
        self.defer(now, number, reason, next, actions);
    }

    fn defer(
        &mut self,
        now: Timestamp,
        number: u64,
        reason: Reason,
        not_before: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        // A peer can delay its own mail, not for ever: the entry's expiry keeps running.
        let not_before = not_before.clamp(now.after(DEFERRAL_MIN), now.after(DEFERRAL_MAX));
        for (priority, lane) in self.lanes.iter_mut() {
            let Some(flight) = lane.in_flight.remove(&number) else { continue };
            lane.in_flight_bytes = lane.in_flight_bytes.saturating_sub(flight.bytes);
            actions.push(Action::SaveDeferral {
                lane: priority,
                number,
                digest: flight.digest,
                reason,
                not_before,
                attempts: flight.attempts,
            });
            lane.deferred.insert((not_before, number));
            lane.waiting.insert(number, flight);
            return;
        }
    }
}

impl Lane {
    /// Forgets what a restart can rebuild.
    fn restart(&mut self) {
        *self = Self { more: true, claiming: self.claiming, ..Self::default() };
    }

    fn settle(&mut self, number: u64) {
        if let Some(flight) = self.in_flight.remove(&number) {
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(flight.bytes);
        }
        if self.waiting.remove(&number).is_some() {
            self.deferred.retain(|(_, waiting)| *waiting != number);
        }
    }

    fn retry_all(&mut self, now: Timestamp) {
        self.deferred = self.deferred.iter().map(|(_, number)| (now, *number)).collect();
    }

    fn send(
        &mut self,
        lane: Priority,
        number: u64,
        mut flight: InFlight,
        now: Timestamp,
        actions: &mut Vec<Action>,
    ) {
        flight.attempts = flight.attempts.saturating_add(1);
        flight.sent_at = now;
        actions.push(Action::Send { lane, number, digest: flight.digest });
        self.in_flight_bytes += flight.bytes;
        self.in_flight.insert(number, flight);
    }

    /// Sends what was deferred until now, and once more what got no receipt for long.
    fn resend(
        &mut self,
        now: Timestamp,
        lane: Priority,
        settings: &Settings,
        actions: &mut Vec<Action>,
    ) {
        while let Some((at, number)) = self.deferred.first().copied() {
            if at > now || self.in_flight.len() >= settings.window_messages {
                break;
            }
            self.deferred.pop_first();
            if let Some(flight) = self.waiting.remove(&number) {
                self.send(lane, number, flight, now, actions);
            }
        }
        for (number, flight) in &mut self.in_flight {
            if now.since(flight.sent_at) >= settings.resend_after {
                flight.sent_at = now;
                flight.attempts = flight.attempts.saturating_add(1);
                let (number, digest) = (*number, flight.digest);
                actions.push(Action::Send { lane, number, digest });
            }
        }
    }

    fn claim(&mut self, lane: Priority, settings: &Settings, actions: &mut Vec<Action>) {
        // Deferred entries take room as well, so that a peer that defers all does not fill the
        // memory.
        let taken = self.in_flight.len() + self.waiting.len();
        let room = settings.window_messages.saturating_sub(taken);
        let full = self.in_flight_bytes >= settings.window_bytes;
        if self.more && !self.claiming && room > 0 && !full {
            self.claiming = true;
            self.more = false;
            actions.push(Action::Claim { lane, after: self.claimed_up_to, max: room });
        }
    }

    fn next_instant(&self, settings: &Settings) -> Option<Timestamp> {
        let deferred = self.deferred.first().map(|(at, _)| *at);
        let oldest = self.in_flight.values().map(|flight| flight.sent_at).min();
        earliest(deferred, oldest.map(|at| at.after(settings.resend_after)))
    }
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Shortest wait after a deferral: a peer cannot make us send in a circle.
const DEFERRAL_MIN: Duration = Duration::from_secs(1);

/// Longest time that a peer's deferral is believed; it may defer again.
const DEFERRAL_MAX: Duration = Duration::from_secs(15 * 60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_772_438_400_000);

    fn entry(number: u64) -> Entry {
        let digest = Digest::of(&number.to_be_bytes());
        Entry { number, digest, bytes: 1000, not_before: Timestamp::default(), attempts: 0 }
    }

    fn sent(actions: &[Action]) -> Vec<u64> {
        let numbers = actions.iter().filter_map(|action| match action {
            Action::Send { number, .. } => Some(*number),
            _ => None,
        });
        numbers.collect()
    }

    fn claim(actions: &[Action], lane: Priority) -> Option<(u64, usize)> {
        actions.iter().find_map(|action| match action {
            Action::Claim { lane: of, after, max } if *of == lane => Some((*after, *max)),
            _ => None,
        })
    }

    fn up() -> (Outbox, Vec<Action>) {
        let mut outbox = Outbox::new(Settings { window_messages: 4, ..Settings::default() });
        let actions = outbox.handle(NOW, Input::SessionUp, None, 0);
        (outbox, actions)
    }

    fn claimed(outbox: &mut Outbox, entries: &[u64]) -> Vec<Action> {
        let entries = entries.iter().map(|number| entry(*number)).collect();
        let input = Input::Claimed { lane: Priority::Routine, entries, asked: 4 };
        outbox.handle(NOW, input, Some(Priority::Routine), 0)
    }

    /// EMERGENCY is claimed before ROUTINE, and never more than the window is in flight.
    #[test]
    fn the_window_bounds_what_is_in_flight() {
        let (mut outbox, actions) = up();
        let lanes: Vec<Priority> = actions
            .iter()
            .filter_map(|a| if let Action::Claim { lane, .. } = a { Some(*lane) } else { None })
            .collect();
        assert_eq!(lanes, Priority::ALL);
        let actions = claimed(&mut outbox, &[1, 2, 3, 4]);
        assert_eq!(sent(&actions), [1, 2, 3, 4]);
        assert_eq!(claim(&actions, Priority::Routine), None, "the window is full");
        let actions = outbox.handle(NOW, Input::Settled(vec![2]), None, 0);
        assert_eq!(claim(&actions, Priority::Routine), Some((4, 1)), "one place is free");
    }

    /// After a lost session everything without a receipt is claimed again from the start.
    #[test]
    fn a_lost_session_makes_all_due_again() {
        let (mut outbox, _) = up();
        claimed(&mut outbox, &[1, 2]);
        let actions = outbox.handle(NOW, Input::SessionDown, Some(Priority::Routine), 0);
        assert_eq!(outbox.in_flight(), 0);
        assert!(actions.iter().any(|a| matches!(a, Action::SaveBackoff { attempts: 1, .. })));
        let Some(Action::Wake(at)) = actions.last() else { unreachable!("{actions:?}") };
        let actions = outbox.handle(*at, Input::Timer, Some(Priority::Routine), 0);
        assert_eq!(actions, [Action::Dial]);
        let actions = outbox.handle(*at, Input::SessionUp, Some(Priority::Routine), 0);
        assert!(actions.contains(&Action::SaveBackoff {
            attempts: 0,
            next_try: None,
            reason: None
        }));
        assert_eq!(claim(&actions, Priority::Routine), Some((0, 4)));
    }

    /// Nothing waits: nobody dials. Something waits: one dial at a time, back-off between them.
    #[test]
    fn dials_only_for_mail_and_one_at_a_time() {
        let mut outbox = Outbox::new(Settings::default());
        assert_eq!(outbox.handle(NOW, Input::Woken, None, 0), []);
        let open = Some(Priority::Urgent);
        assert_eq!(outbox.handle(NOW, Input::Woken, open, 0), [Action::Dial]);
        assert_eq!(outbox.handle(NOW, Input::Woken, open, 0), []);
        let actions =
            outbox.handle(NOW, Input::DialFailed(Reason::PeerUnreachable), open, u32::MAX);
        assert!(matches!(actions.as_slice(), [Action::SaveBackoff { .. }, Action::Wake(_)]));
        assert_eq!(outbox.handle(NOW, Input::RetryNow, open, 0), [Action::Dial]);
    }

    /// A back-off that was kept over a restart holds until its instant.
    #[test]
    fn a_restart_keeps_the_back_off() {
        let mut outbox = Outbox::new(Settings::default());
        let next = NOW.after(Duration::from_secs(60));
        let started = Input::Started { attempts: 7, next_try: Some(next) };
        let open = Some(Priority::Routine);
        assert_eq!(outbox.handle(NOW, started, open, 0), [Action::Wake(next)]);
        assert_eq!(outbox.handle(next, Input::Timer, open, 0), [Action::Dial]);
    }

    /// Faulty copies are sent again later; the third raises an alarm; no verdict follows from them.
    #[test]
    fn faulty_copies_are_sent_again_and_alarmed() {
        let (mut outbox, _) = up();
        claimed(&mut outbox, &[1]);
        let mut now = NOW;
        for copy in 1..=3 {
            let fault = Input::Fault { number: 1, reason: Reason::PayloadMismatch };
            let actions = outbox.handle(now, fault, None, 0);
            let alarmed = actions.iter().any(|a| matches!(a, Action::AlarmFaults { .. }));
            assert_eq!(alarmed, copy == 3);
            assert_eq!(outbox.in_flight(), 0);
            let Some(Action::Wake(at)) = actions.last() else { unreachable!("{actions:?}") };
            now = *at;
            assert_eq!(sent(&outbox.handle(now, Input::Timer, None, 0)), [1]);
        }
    }

    /// A peer that is full stops the sending until its instant, and cannot stop it for ever.
    #[test]
    fn deferrals_hold_and_are_bounded() {
        let (mut outbox, _) = up();
        claimed(&mut outbox, &[1, 2]);
        let input = Input::Deferred {
            number: Some(1),
            reason: Reason::Quota,
            wait: Duration::from_secs(86_400),
        };
        let actions = outbox.handle(NOW, input, None, 0);
        let saved = actions.iter().find_map(|action| match action {
            Action::SaveDeferral { number: 1, not_before, .. } => Some(*not_before),
            _ => None,
        });
        assert_eq!(saved, Some(NOW.after(DEFERRAL_MAX)));
        let wait = Duration::from_secs(5);
        let all = Input::Deferred { number: None, reason: Reason::Busy, wait };
        outbox.handle(NOW, all, None, 0);
        let actions = outbox.handle(NOW, Input::Woken, None, 0);
        assert_eq!(claim(&actions, Priority::Routine), None);
        let later = NOW.after(Duration::from_secs(5));
        let actions = outbox.handle(later, Input::Timer, None, 0);
        assert!(claim(&actions, Priority::Routine).is_some());
    }

    /// A node that stops begins nothing new; receipts for what is in flight still count.
    #[test]
    fn draining_begins_nothing_new() {
        let (mut outbox, _) = up();
        claimed(&mut outbox, &[1, 2]);
        assert_eq!(outbox.handle(NOW, Input::Drain, None, 0), []);
        assert_eq!(outbox.handle(NOW, Input::Woken, Some(Priority::Routine), 0), []);
        outbox.handle(NOW, Input::Settled(vec![1, 2]), None, 0);
        assert_eq!(outbox.in_flight(), 0);
    }

    /// One claim may bring more than the window of bytes: what is over it is claimed again when
    /// there is room. EMERGENCY, with a window of its own, is not held up by that.
    #[test]
    fn the_window_of_bytes_bounds_a_claim() {
        let settings = Settings { window_bytes: 2_500, ..Settings::default() };
        let mut outbox = Outbox::new(settings);
        outbox.handle(NOW, Input::SessionUp, None, 0);
        let claimed = |lane, numbers: &[u64]| Input::Claimed {
            lane,
            entries: numbers.iter().map(|number| entry(*number)).collect(),
            asked: 256,
        };
        let routine = claimed(Priority::Routine, &[1, 2, 3, 4, 5]);
        let actions = outbox.handle(NOW, routine, None, 0);
        assert_eq!(sent(&actions), [1, 2, 3]);
        assert_eq!(claim(&actions, Priority::Routine), None);
        let emergency = claimed(Priority::Emergency, &[6]);
        assert_eq!(sent(&outbox.handle(NOW, emergency, None, 0)), [6]);
        let actions = outbox.handle(NOW, Input::Settled(vec![1]), None, 0);
        assert_eq!(claim(&actions, Priority::Routine), Some((3, 254)));
    }

    /// A flood of one lane takes nothing from the others: EMERGENCY is claimed first, and in the
    /// same turn each of the lower lanes has its own share.
    #[test]
    fn each_lane_claims_its_share() {
        let (mut outbox, _) = up();
        let full: Vec<u64> = (1..=4).collect();
        for lane in Priority::ALL {
            let entries = full.iter().map(|number| entry(*number)).collect();
            let actions = outbox.handle(NOW, Input::Claimed { lane, entries, asked: 4 }, None, 0);
            assert_eq!(sent(&actions).len(), 4, "{lane:?}");
        }
        let actions = outbox.handle(NOW, Input::Settled(vec![3]), None, 0);
        let claims: Vec<Priority> = actions
            .iter()
            .filter_map(|a| if let Action::Claim { lane, .. } = a { Some(*lane) } else { None })
            .collect();
        assert_eq!(claims, Priority::ALL);
    }

    /// A copy without receipt on a live session goes out again.
    #[test]
    fn silence_is_answered_by_sending_again() {
        let (mut outbox, _) = up();
        claimed(&mut outbox, &[1]);
        let later = NOW.after(Settings::default().resend_after);
        assert_eq!(sent(&outbox.handle(later, Input::Timer, None, 0)), [1]);
        assert_eq!(outbox.in_flight(), 1);
    }

    fn inputs() -> impl Strategy<Value = Input> {
        let reason = Reason::Busy;
        prop_oneof![
            Just(Input::Woken),
            Just(Input::SessionUp),
            Just(Input::SessionDown),
            Just(Input::DialFailed(Reason::PeerUnreachable)),
            Just(Input::Timer),
            Just(Input::RetryNow),
            (1u64..9).prop_map(|number| Input::Settled(vec![number])),
            (1u64..9).prop_map(move |number| Input::Fault { number, reason }),
            (1u64..9, 0u64..99).prop_map(move |(number, s)| Input::Deferred {
                number: (number < 8).then_some(number),
                reason,
                wait: Duration::from_secs(s),
            }),
            proptest::collection::btree_set(1u64..9, 0..5).prop_map(|numbers| Input::Claimed {
                lane: Priority::Routine,
                entries: numbers.into_iter().map(entry).collect(),
                asked: 4,
            }),
        ]
    }

    proptest! {
        /// In any order of events the window holds, and after healing every open entry is asked for
        /// again.
        #[test]
        fn nothing_is_forgotten(inputs in proptest::collection::vec((inputs(), 0u64..40), 0..60)) {
            let (mut outbox, _) = up();
            let mut now = NOW;
            for (input, seconds) in inputs {
                now = now.after(Duration::from_secs(seconds));
                outbox.handle(now, input, Some(Priority::Routine), 7);
                prop_assert!(outbox.in_flight() <= 4 + 4);
            }
            // Healing: a new session asks for everything from the start.
            outbox.handle(now, Input::SessionDown, Some(Priority::Routine), 7);
            let actions = outbox.handle(now.after(DEFERRAL_MAX), Input::SessionUp, None, 7);
            let asked = claim(&actions, Priority::Routine).is_some();
            let claiming = outbox.lanes.of(Priority::Routine).claiming;
            prop_assert!(asked || claiming);
        }
    }
}
