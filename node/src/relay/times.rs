//! How far this node's clock may be trusted, by what the peers' Hellos say (rule M18).
//!
//! A clock that calls itself SYNCED is CONTRADICTED while two or more verified peers tell a time
//! that differs by more than `CLOCK_SKEW_MAX` and both bounds; the own card, when that clock lies
//! outside the window of the working keys, counts as one of the two. A peer's time runs on with the
//! monotonic clock, so that a step of either clock shows at once; a peer that nobody vouches for is
//! no witness. That clock stands still while the machine is suspended: once a peer that was heard
//! since the last step bears the clock out, what others told before it counts no more.
//!
//! After the start, and after each step, the clock is in doubt until every verified peer was heard,
//! for a minute at most: meanwhile one peer is enough to contradict, and no verdict rests on time.
//! After a step they are dialled until they are heard, for what they know of this clock is old too.
//! A peer that speaks against the clock is heard again from time to time, whatever session there
//! is: its clock may have been put right little by little.
//! Invariant: nothing is declared expired, or dated ahead, by a clock that is not SYNCED or in
//! doubt.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use relay_core::policy::ClockView;
use relay_proto::{ids::UnitId, limits::CLOCK_SKEW_MAX, reason::Reason, timestamp::Timestamp, v1};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Context, Relay};
use crate::{
    clock::{Clock, untrusted},
    directory::Snapshot,
    keys::KeyUse,
    link::CloseCode,
};

/// What peers said of the time.
#[derive(Debug)]
pub(crate) struct Witnesses(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    told: BTreeMap<UnitId, Told>,
    /// The last reading of the own clock: what it said, and when that was.
    last: Option<(Timestamp, Instant)>,
    /// Since the start, or since the last step.
    doubted_since: Instant,
    /// Nothing any more: every verified peer was heard since.
    is_doubted: bool,
    /// Steps so far.
    steps: u64,
    /// Something waits for those who were not heard.
    is_asked: bool,
}

/// What one peer's last Hello said.
#[derive(Debug, Clone, Copy)]
struct Told {
    now: Timestamp,
    at: Instant,
    bound: Duration,
    /// It is vouched for there.
    counts: bool,
    /// When it was last to be heard again, and before that when it was heard.
    asked: Instant,
}

/// A look at the clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The time of day.
    pub now: Timestamp,
    /// What may be said of it, as receipts carry it.
    pub state: v1::Clock,
    /// Whether no verdict may rest on it yet.
    pub doubted: bool,
    /// The verified peers whose clocks differ too much, and by how many milliseconds they are
    /// ahead.
    pub against: Vec<(UnitId, i64)>,
}

impl Reading {
    /// As the policy takes it.
    pub(super) fn view(&self) -> ClockView {
        ClockView::new(self.now, &self.state, self.doubted)
    }

    /// What an operator has to look at: label, about whom, what.
    fn alarms(&self, own: &UnitId) -> Vec<(Reason, UnitId, String)> {
        let ahead =
            |ms: i64| format!("{} s {}", ms.abs() / 1000, if ms < 0 { "behind" } else { "ahead" });
        let of_peer = |(unit, ms): &(UnitId, i64)| {
            let text = format!("its clock is {} of ours: one of the two is wrong", ahead(*ms));
            (Reason::ClockDiffers, unit.clone(), text)
        };
        let mut alarms: Vec<_> = self.against.iter().map(of_peer).collect();
        match self.state.state() {
            v1::ClockState::Contradicted => {
                let peers = self.against.iter().map(|(unit, ms)| format!("{unit} {}", ahead(*ms)));
                let peers = peers.collect::<Vec<_>>().join(", ");
                let text = format!("nothing expires until this machine's clock is right: {peers}");
                alarms.insert(0, (Reason::ClockContradicted, own.clone(), text));
            }
            v1::ClockState::Unsynced => {
                let text = "nothing expires until a time service vouches for this machine's clock";
                alarms.insert(0, (Reason::ClockUntrusted, own.clone(), text.to_owned()));
            }
            v1::ClockState::Synced | v1::ClockState::Unspecified => {}
        }
        alarms
    }
}

impl Default for Witnesses {
    fn default() -> Self {
        Self(Mutex::new(Inner {
            told: BTreeMap::new(),
            last: None,
            doubted_since: Instant::now(),
            is_doubted: true,
            steps: 0,
            is_asked: false,
        }))
    }
}

impl Witnesses {
    /// A peer's Hello came.
    pub fn heard(&self, unit: &UnitId, hello: &v1::Hello) {
        let clock = hello.clock.unwrap_or_default();
        let at = Instant::now();
        let told = Told {
            now: Timestamp::from_millis(hello.now_ms),
            at,
            asked: at,
            bound: Duration::from_millis(clock.uncertainty_ms.into()).min(CLOCK_SKEW_MAX),
            counts: matches!(clock.state(), v1::ClockState::Synced | v1::ClockState::Contradicted),
        };
        self.lock().told.insert(unit.clone(), told);
    }

    /// Only these units are known; what others told is forgotten.
    pub fn keep(&self, units: &[UnitId]) {
        self.lock().told.retain(|unit, _| units.contains(unit));
    }

    /// Those who were not heard are to be asked: something waits for what they say.
    pub fn ask(&self) {
        self.lock().is_asked = true;
    }

    /// The peer's clock minus ours by now, in milliseconds.
    pub fn skew_ms(&self, unit: &UnitId, now: Timestamp) -> Option<i64> {
        self.lock().told.get(unit).map(|told| told.skew_ms(now, Instant::now()))
    }

    /// Reads the clock; `keys_fit` says whether the own working keys are valid at a time.
    fn read(
        &self,
        clock: &Clock,
        directory: &Snapshot,
        keys_fit: impl FnOnce(Timestamp) -> bool,
    ) -> Reading {
        let before = Instant::now();
        let now = clock.now();
        let after = Instant::now();
        let mut inner = self.lock();
        inner.look_for_a_step(now, before, after);
        let state = clock.state();
        let doubted = inner.is_doubted(directory, after);
        let limit = CLOCK_SKEW_MAX + Duration::from_millis(state.uncertainty_ms.into());
        let is_verified = |unit: &UnitId| directory.verified(unit).is_some();
        let against = inner.against((now, before), limit, is_verified);
        drop(inner);
        let is_contradicted = match against.len() {
            0 => false,
            1 => doubted || !keys_fit(now),
            _ => true,
        };
        let state = match state.state() {
            v1::ClockState::Synced if is_contradicted => {
                untrusted(v1::ClockState::Contradicted, state.source())
            }
            _ => state,
        };
        Reading { now, state, doubted, against }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// A clock that went otherwise than the monotonic one since the last look was stepped. The
    /// process may have been stopped between two of the three instants.
    fn look_for_a_step(&mut self, now: Timestamp, before: Instant, after: Instant) {
        if let Some((then, at)) = self.last {
            if before < at {
                return;
            }
            let earliest = then.after(before.duration_since(at)).before(CLOCK_SKEW_MAX);
            let latest = then.after(after.duration_since(at)).after(CLOCK_SKEW_MAX);
            if now < earliest || now > latest {
                self.steps += 1;
                self.doubted_since = after;
                self.is_doubted = true;
            }
        }
        self.last = Some((now, after));
    }

    fn is_doubted(&mut self, directory: &Snapshot, now: Instant) -> bool {
        if self.is_doubted {
            let is_over = now.duration_since(self.doubted_since) >= DOUBT_MAX;
            self.is_doubted = !is_over && !self.unheard(directory).is_empty();
        }
        self.is_doubted
    }

    /// The verified peers whose clocks differ too much, and by how much they are ahead.
    fn against(
        &self,
        (now, at): (Timestamp, Instant),
        limit: Duration,
        is_verified: impl Fn(&UnitId) -> bool,
    ) -> Vec<(UnitId, i64)> {
        let witnesses = self.told.iter().filter(|(unit, told)| told.counts && is_verified(unit));
        let looked = witnesses.map(|(unit, told)| {
            let skew = told.skew_ms(now, at);
            let differs = u128::from(skew.unsigned_abs()) > (limit + told.bound).as_millis();
            (unit, skew, differs, told.at >= self.doubted_since)
        });
        let looked: Vec<_> = looked.collect();
        let is_borne_out = looked.iter().any(|(_, _, differs, is_new)| *is_new && !differs);
        let against = looked.into_iter().filter(|(_, _, differs, is_new)| {
            // Without a newer word an older one is better than none.
            *differs && (*is_new || !is_borne_out)
        });
        against.map(|(unit, skew, ..)| (unit.clone(), skew)).collect()
    }

    /// Of those that speak against the clock, the ones whose word is old; asked once an interval.
    fn outdated(&mut self, against: &[(UnitId, i64)]) -> Vec<UnitId> {
        let mut due = Vec::new();
        for (unit, _) in against {
            if let Some(told) = self.told.get_mut(unit)
                && told.asked.elapsed() >= HEAR_AGAIN
            {
                told.asked = Instant::now();
                due.push(unit.clone());
            }
        }
        due
    }

    /// Verified peers that were not heard since the doubt began.
    fn unheard(&self, directory: &Snapshot) -> Vec<UnitId> {
        let is_heard =
            |unit: &UnitId| self.told.get(unit).is_some_and(|told| told.at >= self.doubted_since);
        let units = directory.peers().map(|peer| peer.card.unit());
        let verified = units.filter(|unit| directory.verified(unit).is_some());
        verified.filter(|unit| !is_heard(unit)).cloned().collect()
    }
}

impl Told {
    fn skew_ms(&self, now: Timestamp, at: Instant) -> i64 {
        let theirs = self.now.after(at.saturating_duration_since(self.at));
        let skew = i128::from(theirs.as_millis()) - i128::from(now.as_millis());
        i64::try_from(skew).unwrap_or(if skew < 0 { -i64::MAX } else { i64::MAX })
    }
}

impl Context {
    /// The time, and how far it may be trusted.
    pub(super) fn time(&self) -> Reading {
        let own = self.parts.directory.own();
        let keys_fit = |now| {
            let id = self.parts.signer.key_id(KeyUse::Envelope);
            let signs = own.key(v1::KeyKind::Signing, id);
            let log = own.log(self.parts.tlog.origin());
            signs.is_none_or(|key| key.check_at(now).is_ok())
                && log.is_none_or(|log| log.key.check_at(now).is_ok())
        };
        let snapshot = self.parts.directory.snapshot();
        self.witnesses.read(&self.parts.clock, &snapshot, keys_fit)
    }
}

impl Relay {
    /// The time, and how far it may be trusted.
    pub fn time(&self) -> Reading {
        self.ctx.time()
    }

    /// Alarms of clocks as they stand, of one peer or of all: label, about whom, what.
    pub fn clock_alarms(&self) -> Vec<(Reason, UnitId, String)> {
        self.ctx.time().alarms(self.ctx.unit())
    }
}

/// Tells what becomes of the clock's trust, and has the peers' Hellos renewed after a step, until
/// the node stops.
pub(super) async fn run(ctx: Arc<Context>) {
    let stop = ctx.parts.tasks.stop_token();
    let (mut steps, mut told) = (0, Vec::new());
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let reading = ctx.time();
        let alarms: Vec<_> = reading.alarms(ctx.unit());
        let named = alarms.iter().map(|(reason, unit, _)| (*reason, unit.clone()));
        let named: Vec<_> = named.collect();
        if named != told {
            for (reason, about, text) in &alarms {
                warn!(reason = reason.label(), %about, text, "clock");
            }
            if alarms.is_empty() {
                info!("clock is in order again");
            }
            told = named;
        }
        let (stepped, asked, outdated) = {
            let mut inner = ctx.witnesses.lock();
            (
                std::mem::replace(&mut steps, inner.steps) != inner.steps,
                std::mem::take(&mut inner.is_asked),
                inner.outdated(&reading.against),
            )
        };
        if stepped {
            warn!("the clock was stepped: the peers' clocks are compared anew");
            let snapshot = ctx.parts.directory.snapshot();
            let units = snapshot.peers().map(|peer| peer.card.unit());
            let verified = units.filter(|unit| snapshot.verified(unit).is_some());
            renew(&ctx, verified, "the clock was stepped");
        } else if reading.doubted && (asked || steps > 0 || !reading.against.is_empty()) {
            // One dial may fail, and who has nothing to send dials no more.
            dial_unheard(&ctx);
        } else {
            renew(&ctx, outdated.iter(), "its clock differs: what does it say now?");
        }
    }
}

/// Ends the sessions with these units and dials them: each Hello tells the time anew, to both.
fn renew<'a>(ctx: &Context, units: impl Iterator<Item = &'a UnitId>, why: &str) {
    let Some(link) = ctx.peers.link() else { return };
    for unit in units {
        link.close_peer(unit, CloseCode::Unwanted, why);
        link.dial(unit);
    }
}

fn dial_unheard(ctx: &Context) {
    let Some(link) = ctx.peers.link() else { return };
    let unheard = ctx.witnesses.lock().unheard(&ctx.parts.directory.snapshot());
    unheard.iter().for_each(|unit| link.dial(unit));
}

/// How often the clock is looked at when nobody else does.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// After how long a peer that speaks against the clock is heard again.
const HEAR_AGAIN: Duration = Duration::from_secs(5 * 60);

/// How long verdicts wait for peers that are not heard.
const DOUBT_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn unit(name: &str) -> UnitId {
        name.parse().unwrap()
    }

    /// What a peer tells, so far ahead of the right time.
    fn hello(now: Timestamp, ahead: Duration) -> v1::Hello {
        let clock = v1::Clock { state: v1::ClockState::Synced.into(), ..v1::Clock::default() };
        let now_ms = now.after(ahead).as_millis();
        v1::Hello { now_ms, clock: Some(clock), ..v1::Hello::default() }
    }

    /// Who speaks against the clock by now.
    fn against(witnesses: &Witnesses, now: Timestamp) -> Vec<String> {
        let (mut inner, at) = (witnesses.lock(), Instant::now());
        inner.look_for_a_step(now, at, at);
        let against = inner.against((now, at), CLOCK_SKEW_MAX, |unit| unit.as_str() != "xd.ncu");
        against.into_iter().map(|(unit, _)| unit.to_string()).collect()
    }

    /// The machine is suspended for ten minutes, in which the monotonic clock stands still: what
    /// peers told before speaks against the clock until one that is heard bears it out.
    #[tokio::test(start_paused = true)]
    async fn a_suspended_machine_is_not_held_by_peers_that_are_down() {
        let witnesses = Witnesses::default();
        for down in ["xb.ncu", "xc.ncu"] {
            witnesses.heard(&unit(down), &hello(NOW, Duration::ZERO));
        }
        assert!(against(&witnesses, NOW).is_empty());
        tokio::time::advance(Duration::from_secs(5)).await;
        let resumed = NOW.after(Duration::from_secs(605));
        // Nobody is heard yet: as if the clock alone had been set.
        assert_eq!(against(&witnesses, resumed), ["xb.ncu", "xc.ncu"]);
        // Nobody vouches for this one.
        witnesses.heard(&unit("xd.ncu"), &hello(resumed, Duration::ZERO));
        assert_eq!(against(&witnesses, resumed).len(), 2);
        witnesses.heard(&unit("xe.ncu"), &hello(resumed, Duration::from_secs(1)));
        assert!(against(&witnesses, resumed).is_empty());
        // Those that are heard and differ count all the same.
        for wrong in ["xf.ncu", "xg.ncu"] {
            witnesses.heard(&unit(wrong), &hello(resumed, Duration::from_secs(3600)));
        }
        assert_eq!(against(&witnesses, resumed), ["xf.ncu", "xg.ncu"]);
    }

    /// A clock that was set wrong while nobody can be reached is contradicted by what was told
    /// before, and one that peers who are heard bear out only by them.
    #[tokio::test(start_paused = true)]
    async fn a_clock_set_wrong_is_contradicted_by_what_was_told() {
        let witnesses = Witnesses::default();
        for down in ["xb.ncu", "xc.ncu"] {
            witnesses.heard(&unit(down), &hello(NOW, Duration::ZERO));
        }
        assert!(against(&witnesses, NOW).is_empty());
        let wrong = NOW.after(Duration::from_secs(86_400));
        assert_eq!(against(&witnesses, wrong), ["xb.ncu", "xc.ncu"]);
        witnesses.heard(&unit("xe.ncu"), &hello(NOW, Duration::ZERO));
        assert_eq!(against(&witnesses, wrong), ["xb.ncu", "xc.ncu", "xe.ncu"]);
    }

    /// A peer whose word is old and against the clock is asked once an interval, others never.
    #[tokio::test(start_paused = true)]
    async fn who_speaks_against_the_clock_is_heard_again() {
        let witnesses = Witnesses::default();
        witnesses.heard(&unit("xb.ncu"), &hello(NOW, Duration::from_secs(3600)));
        witnesses.heard(&unit("xc.ncu"), &hello(NOW, Duration::ZERO));
        let due = || witnesses.lock().outdated(&[(unit("xb.ncu"), 3_600_000)]);
        let almost = HEAR_AGAIN - Duration::from_millis(1);
        for _ in 0..3 {
            tokio::time::advance(almost).await;
            assert!(due().is_empty());
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(due(), [unit("xb.ncu")]);
        }
        // What it says then counts from then on.
        tokio::time::advance(almost).await;
        witnesses.heard(&unit("xb.ncu"), &hello(NOW, Duration::ZERO));
        tokio::time::advance(almost).await;
        assert!(due().is_empty());
    }

    /// A unit that is not known any more says nothing.
    #[tokio::test(start_paused = true)]
    async fn who_is_removed_is_forgotten() {
        let witnesses = Witnesses::default();
        for name in ["xb.ncu", "xc.ncu"] {
            witnesses.heard(&unit(name), &hello(NOW, Duration::from_secs(3600)));
        }
        witnesses.keep(&[unit("xc.ncu")]);
        assert_eq!(against(&witnesses, NOW), ["xc.ncu"]);
        assert_eq!(witnesses.skew_ms(&unit("xb.ncu"), NOW), None);
    }
}
