//! Who may send what to whom, and what the times of a message allow. One place for both ends: the
//! sender's node refuses to send what the receiver's node would refuse to take.
//!
//! Time-based verdicts are terminal and signed, so only a trusted clock gives them; otherwise the
//! message is taken and marked.

mod cards;

use std::time::Duration;

use relay_proto::{
    envelope::{Header, Priority},
    ids::UnitId,
    limits,
    reason::Reason,
    timestamp::Timestamp,
    v1,
};

pub use self::cards::{Ends, Unfit, by_cards};
use crate::profile::Profile;

/// How far this node trusts its own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockView {
    /// Now, by that clock.
    pub now: Timestamp,
    /// The bound of its error; nothing when it is not trusted.
    pub bound: Option<Duration>,
    /// It was stepped or only began, and those who could contradict it have not all been heard.
    pub doubted: bool,
}

impl ClockView {
    /// What a clock says of itself.
    pub fn new(now: Timestamp, clock: &v1::Clock, doubted: bool) -> Self {
        let synced = clock.state() == v1::ClockState::Synced;
        let bound = Duration::from_millis(u64::from(clock.uncertainty_ms));
        Self { now, bound: synced.then_some(bound), doubted }
    }
}

/// What to do with a header whose signature verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Take it; times could not be judged when `clock_unverified`.
    Accept {
        /// The clock was not trusted.
        clock_unverified: bool,
    },
    /// Refuse it for good: a verdict, with a receipt.
    Refuse(Reason),
    /// Drop this copy: it says nothing about the message.
    Fault(Reason),
    /// Not now: the sender tries again later.
    Defer(Reason),
}

/// What is known of an arrival besides its header.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// The verified header.
    pub header: &'a Header,
    /// The unit whose session brought it.
    pub session: &'a UnitId,
    /// Our unit.
    pub own: &'a UnitId,
    /// The profile that the header names, when it is known here.
    pub profile: Option<&'a Profile>,
    /// Whether the sender's key may sign a header of that date.
    pub key: Result<(), Reason>,
    /// Our clock.
    pub clock: ClockView,
}

/// Judges an arrival by its header. The kind is judged by [`kind_allowed`] once the payload is
/// open.
pub fn judge(arrival: &Arrival<'_>) -> Judgement {
    let header = arrival.header;
    // Sender of the envelope, key that verified and session peer must agree: no unit carries for
    // another here.
    if header.from != *arrival.session {
        return Judgement::Fault(Reason::SenderMismatch);
    }
    if let Err(reason) = arrival.key {
        return Judgement::Fault(reason);
    }
    if !header.to.contains(arrival.own) {
        // Only a recipient gives a verdict.
        return Judgement::Fault(Reason::NotARecipient);
    }
    if arrival.profile.is_none() {
        return Judgement::Refuse(Reason::UnknownProfile);
    }
    if lifetime(header.created_at, header.expires_at).is_err() {
        return Judgement::Refuse(Reason::BadLifetime);
    }
    let Some(bound) = arrival.clock.bound else {
        return Judgement::Accept { clock_unverified: true };
    };
    let reason = if header.created_at > arrival.clock.now.after(limits::CLOCK_SKEW_MAX + bound * 2)
    {
        Reason::FutureDated
    } else if is_past(header.expires_at, arrival.clock) {
        Reason::Expired
    } else {
        return Judgement::Accept { clock_unverified: false };
    };
    match arrival.clock.doubted {
        true => Judgement::Accept { clock_unverified: true },
        false => Judgement::Refuse(reason),
    }
}

/// Whether a profile takes messages of this kind.
pub fn kind_allowed(profile: &Profile, kind: v1::Kind) -> Result<(), Reason> {
    if profile.allows(kind) { Ok(()) } else { Err(Reason::KindNotAllowed) }
}

/// Whether a lifetime lies within what the protocol allows.
pub fn lifetime(created_at: Timestamp, expires_at: Timestamp) -> Result<(), Reason> {
    let lifetime = expires_at.since(created_at);
    let allowed = limits::LIFETIME_MIN..=limits::LIFETIME_MAX;
    if allowed.contains(&lifetime) { Ok(()) } else { Err(Reason::BadLifetime) }
}

/// When delivery is given up, when the caller did not say.
pub fn default_expiry(profile: &Profile, priority: Priority, now: Timestamp) -> Timestamp {
    now.after(profile.lifetimes.of(priority.to_wire()))
}

/// Whether an open entry may be given up now: only a trusted clock says that its time has passed,
/// and only when those were heard who could contradict it.
pub fn may_expire(expires_at: Timestamp, clock: ClockView) -> bool {
    is_past(expires_at, clock) && !clock.doubted
}

/// Whether a clock that is trusted, though perhaps in doubt, says that a time has passed.
pub fn is_past(expires_at: Timestamp, clock: ClockView) -> bool {
    clock.bound.is_some_and(|bound| expires_at.after(bound) < clock.now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use relay_proto::{
        ids::{Digest, MessageId},
        keys::KeyId,
    };

    use super::*;
    use crate::profile::{KindRules, Lifetimes, Topology};

    const NOW: Timestamp = Timestamp::from_millis(1_772_438_400_000);

    fn profile() -> Profile {
        Profile {
            id: "budapest-247".into(),
            topology: Topology::Mesh,
            treaty: Some(v1::Treaty::Budapest),
            kinds: vec![KindRules {
                kind: v1::Kind::Alert,
                legal_basis_default: vec![],
                condition: None,
            }],
            handling_default: v1::Handling::default(),
            lifetimes: Lifetimes {
                emergency: Duration::from_secs(4 * 3600),
                urgent: Duration::from_secs(24 * 3600),
                routine: Duration::from_secs(5 * 24 * 3600),
            },
            min_preservation_days: 60,
            requested_preservation_days: 90,
            attachments_max: 16,
            attachment_bytes_max: 64 << 20,
            languages: vec!["en".into()],
            refusal_grounds: crate::case::refusal::Grounds::TREATY,
            targets: crate::case::Targets::default(),
            two_officers: Vec::new(),
        }
    }

    fn header() -> Header {
        Header {
            digest: Digest::of(b"h"),
            message_id: MessageId::new(NOW, [1; 10]),
            from: "xa.ncu".parse().unwrap(),
            to: vec!["xb.ncu".parse().unwrap()],
            profile: "budapest-247".into(),
            priority: Priority::Urgent,
            created_at: NOW,
            expires_at: NOW.after(Duration::from_secs(3600)),
            payload_digest: Digest::of(b"p"),
            attachments: None,
            max_hops: 1,
            key_id: KeyId::from_bytes(&[1; 16]).unwrap(),
            signed: v1::Signed::default(),
        }
    }

    fn judged(change: impl FnOnce(&mut Header), clock: ClockView) -> Judgement {
        let mut header = header();
        change(&mut header);
        let (profile, session) = (profile(), "xa.ncu".parse().unwrap());
        let own = "xb.ncu".parse().unwrap();
        let known = (header.profile == profile.id).then_some(&profile);
        judge(&Arrival {
            header: &header,
            session: &session,
            own: &own,
            profile: known,
            key: Ok(()),
            clock,
        })
    }

    fn synced() -> ClockView {
        ClockView { now: NOW, bound: Some(Duration::from_secs(1)), doubted: false }
    }

    /// Each mismatch has its own answer; what proves nothing about the sender is never a verdict.
    #[test]
    fn every_mismatch_has_its_answer() {
        let accept = Judgement::Accept { clock_unverified: false };
        assert_eq!(judged(|_| {}, synced()), accept);
        assert_eq!(
            judged(|h| h.from = "xc.ncu".parse().unwrap(), synced()),
            Judgement::Fault(Reason::SenderMismatch)
        );
        assert_eq!(
            judged(|h| h.to = vec!["xc.ncu".parse().unwrap()], synced()),
            Judgement::Fault(Reason::NotARecipient)
        );
        assert_eq!(
            judged(|h| h.profile = "x".into(), synced()),
            Judgement::Refuse(Reason::UnknownProfile)
        );
        assert_eq!(
            judged(|h| h.expires_at = h.created_at.after(Duration::from_secs(1)), synced()),
            Judgement::Refuse(Reason::BadLifetime)
        );
    }

    /// Six minutes ahead are too much, four are not; an hour past expiry is too late.
    #[test]
    fn times_are_judged_within_bounds() {
        let at = |minutes: i64| ClockView {
            now: match minutes < 0 {
                true => NOW.before(Duration::from_secs(minutes.unsigned_abs() * 60)),
                false => NOW.after(Duration::from_secs(minutes.unsigned_abs() * 60)),
            },
            bound: Some(Duration::from_secs(1)),
            doubted: false,
        };
        assert_eq!(judged(|_| {}, at(-6)), Judgement::Refuse(Reason::FutureDated));
        assert_eq!(judged(|_| {}, at(-4)), Judgement::Accept { clock_unverified: false });
        assert_eq!(judged(|_| {}, at(61)), Judgement::Refuse(Reason::Expired));
    }

    /// A receiver whose clock is off by a day, and who knows that it may be, refuses nothing.
    #[test]
    fn receiver_clock_one_day_ahead_rejects_nothing() {
        let day = Duration::from_secs(86_400);
        for now in [NOW.after(day), NOW.before(day)] {
            let clock = ClockView { now, bound: None, doubted: false };
            assert_eq!(judged(|_| {}, clock), Judgement::Accept { clock_unverified: true });
            assert!(!may_expire(NOW, clock));
        }
        let (now, bound) = (NOW.after(day), Some(Duration::ZERO));
        assert!(may_expire(NOW, ClockView { now, bound, doubted: false }));
    }

    /// A clock that nobody has confirmed since its start or a step refuses and ends nothing.
    #[test]
    fn a_clock_in_doubt_refuses_nothing() {
        let doubted = |now| ClockView { now, doubted: true, ..synced() };
        let day = Duration::from_secs(86_400);
        for now in [NOW.after(day), NOW.before(day)] {
            let taken = Judgement::Accept { clock_unverified: true };
            assert_eq!(judged(|_| {}, doubted(now)), taken);
            assert!(!may_expire(NOW, doubted(now)));
        }
        assert_eq!(judged(|_| {}, doubted(NOW)), Judgement::Accept { clock_unverified: false });
        assert!(is_past(NOW, doubted(NOW.after(day))));
    }

    #[test]
    fn kinds_and_lifetimes_come_from_the_profile() {
        let profile = profile();
        assert_eq!(kind_allowed(&profile, v1::Kind::Alert), Ok(()));
        let refused = kind_allowed(&profile, v1::Kind::PreservationRequest);
        assert_eq!(refused, Err(Reason::KindNotAllowed));
        let hours = |p| default_expiry(&profile, p, NOW).since(NOW).as_secs() / 3600;
        assert_eq!([4, 24, 120], Priority::ALL.map(hours));
    }
}
