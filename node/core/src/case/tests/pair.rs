//! Two nodes at random, each acting by what it holds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// From every state that can be reached there is a legal way on, or it is an end.
#[test]
fn no_state_is_a_dead_end() {
    let mut reached = BTreeSet::new();
    for seed in 0..400_u64 {
        let mut pair = Pair::new(seed);
        for _ in 0..60 {
            pair.act(Side::Requesting);
            pair.act(Side::Requested);
            pair.deliver_all();
            let case = pair.case(Side::Requested);
            reached.insert(case.state);
            let ways = case.legal(Side::Requesting).len() + case.legal(Side::Requested).len();
            let is_over = case.state.is_end() && case.turn().is_none();
            assert_eq!(ways == 0, is_over, "{case:?}");
        }
    }
    // The first layer's alone.
    let never = [State::Submitted, State::Rejected, State::Undeliverable];
    let is_missed = |state: &State| !never.contains(state) && !reached.contains(state);
    assert_eq!(State::ALL.into_iter().filter(is_missed).count(), 0, "{reached:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Two honest nodes act, each by what it holds, while messages cross, overtake each other and
    /// come twice. When all have arrived both derive the same case, nothing was illegal, and no
    /// order of the messages makes another.
    #[test]
    fn both_sides_derive_one_case(seed in any::<u64>(), turns in 1_usize..60) {
        let mut pair = Pair::new(seed);
        for _ in 0..turns {
            match pair.draw(6) {
                0 | 1 => pair.act(Side::Requesting),
                2 | 3 => pair.act(Side::Requested),
                4 => pair.deliver(Side::Requesting),
                _ => pair.deliver(Side::Requested),
            }
        }
        pair.deliver_all();
        let case = pair.case(Side::Requested);
        prop_assert_eq!(&pair.case(Side::Requesting), &case);
        prop_assert!(!case.sync_conflict && case.waiting.is_empty(), "{:?}", case.steps);
        let mut messages = pair.held[0].clone();
        for _ in 0..8 {
            for n in (1..messages.len()).rev() {
                let with = pair.draw(n as u64 + 1) as usize;
                messages.swap(n, with);
            }
            let twice = messages.iter().chain(&messages).cloned();
            prop_assert_eq!(&derived(twice), &case);
        }
    }
}

/// Two nodes, each with what it holds, and what is on its way to the other.
struct Pair {
    random: u64,
    day: u64,
    next: u8,
    held: [Vec<Message>; 2],
    on_the_way: [Vec<Message>; 2],
}

impl Pair {
    fn new(seed: u64) -> Self {
        let root = message(0, (None, None), 0, first(&["1", "2", "3"]));
        Self {
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            day: 0,
            next: 1,
            held: [vec![root.clone()], vec![root]],
            on_the_way: [vec![], vec![]],
        }
    }

    fn draw(&mut self, of: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % of
    }

    fn case(&self, side: Side) -> Case {
        derived(self.held[side as usize].clone())
    }

    /// A side says one of the things that are legal where it stands, if it finds one.
    fn act(&mut self, side: Side) {
        self.day += [0, 0, 1, 3, 40][self.draw(5) as usize];
        let case = self.case(side);
        let legal = case.legal(side);
        if legal.is_empty() || self.next == u8::MAX {
            return;
        }
        // A node warns by itself, whatever its officers do.
        let kind = match legal.iter().find(|kind| **kind == MoveKind::ExpiryWarning) {
            Some(warning) if side == Side::Requested && self.draw(3) == 0 => *warning,
            _ => legal[self.draw(legal.len() as u64) as usize],
        };
        let says = self.say(kind, &case);
        let newest = |of| case.steps.iter().rev().find(|step| step.kind.by() == of);
        let number = |step: &Step| step.digest.as_bytes()[0];
        let other = if side == Side::Requested { Side::Requesting } else { Side::Requested };
        let before = (newest(side).map(number), newest(other).map(number));
        let one = message(self.next, before, self.day, says);
        let after = derived(self.held[side as usize].iter().cloned().chain([one.clone()]));
        let step = &after.steps[case.steps.len()];
        assert_eq!(step.digest, one.digest, "it comes last where it is made");
        // Its own node sends nothing that is not legal.
        if matches!(step.outcome, Outcome::Made(_)) {
            self.next += 1;
            self.held[side as usize].push(one.clone());
            self.on_the_way[other as usize].push(one);
        }
    }

    fn say(&mut self, kind: MoveKind, case: &Case) -> Move {
        let some: Vec<ItemId> = case.items.keys().filter(|_| self.draw(3) > 0).cloned().collect();
        let is_pending = |item: &&Item| item.status == ItemStatus::Pending;
        let pending = case.items.iter().filter(|(_, item)| is_pending(item)).map(|(id, _)| id);
        let revision = case.revision + 1;
        let named = match self.draw(2) {
            0 => Vec::new(),
            _ => some.iter().cloned().chain([format!("new {revision}")]).collect(),
        };
        let newer = |priority| Request { revision, priority, items: named, articles: vec![] };
        let (day, later) = (at_day(self.day), at_day(self.day + 200));
        match kind {
            MoveKind::Request => Move::Request(newer(Priority::Emergency)),
            MoveKind::Ack => Move::Ack { rerouted: self.draw(3) == 0 },
            MoveKind::InfoRequired => Move::InfoRequired { due: at_day(self.day + 1) },
            MoveKind::InfoReply => Move::InfoReply(newer(Priority::Urgent)),
            MoveKind::RiskNotice => Move::RiskNotice,
            MoveKind::RiskDecision => Move::RiskDecision(match self.draw(5) {
                0 => RiskAnswer::Abandon,
                1 | 2 => RiskAnswer::Proceed,
                _ => RiskAnswer::Change { revision, drop: some },
            }),
            MoveKind::Decision => match case.undecided_revision {
                Some(revision) => Move::Carries { revision, carried: self.draw(2) == 0 },
                None => {
                    let refuses = self.draw(4) == 0;
                    let verdict = if refuses { REFUSED } else { Verdict::Accepted };
                    let items = pending.map(|id| (id.clone(), verdict)).collect();
                    Move::Decision { revision: case.revision, items, signers: 1 }
                }
            },
            MoveKind::Confirmation => {
                let until = at_day(self.day + 60 + self.draw(60));
                let found = match self.draw(3) {
                    0 => Found::NotFound,
                    _ => Found::Preserved { from: day, until, whole: true },
                };
                Move::Confirmation(pending.map(|id| (id.clone(), found)).collect())
            }
            MoveKind::TrafficDisclosure => Move::TrafficDisclosure,
            MoveKind::DisclosureWithheld => Move::DisclosureWithheld,
            MoveKind::ExtensionRequest => Move::ExtensionRequest { until: later },
            MoveKind::ExtensionDecision => {
                let until = (self.draw(2) == 0).then_some(later);
                Move::ExtensionDecision { until, items: vec![] }
            }
            MoveKind::MlaNotice => Move::MlaNotice,
            MoveKind::MlaReceived => Move::MlaReceived,
            MoveKind::MlaDecision => Move::MlaDecision,
            MoveKind::Withdrawal => {
                Move::Withdrawal(if self.draw(8) > 0 { some } else { Vec::new() })
            }
            MoveKind::ExpiryWarning => {
                Move::ExpiryWarning { until: case.preserved_until().unwrap_or(day) }
            }
            MoveKind::Closure => {
                let ways = [
                    Closing::Lapsed,
                    Closing::NotCompetent,
                    Closing::Expired,
                    Closing::Released,
                    Closing::Withdrawn,
                ];
                Move::Closure(ways[self.draw(5) as usize])
            }
            MoveKind::Incident => Move::Incident,
        }
    }

    /// Something of what is on the way arrives, in any order, now and then twice.
    fn deliver(&mut self, to: Side) {
        let waiting = self.on_the_way[to as usize].len() as u64;
        if waiting == 0 {
            return;
        }
        let nth = self.draw(waiting) as usize;
        let one = self.on_the_way[to as usize].remove(nth);
        if self.draw(4) == 0 {
            self.on_the_way[to as usize].push(one.clone());
        }
        self.held[to as usize].push(one);
    }

    fn deliver_all(&mut self) {
        for to in [Side::Requesting, Side::Requested] {
            while !self.on_the_way[to as usize].is_empty() {
                self.deliver(to);
            }
        }
    }
}
