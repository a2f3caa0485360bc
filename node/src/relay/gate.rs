//! Who may use the processor for signatures now: EMERGENCY first, with a share for the others.
//!
//! Enter through [`Gate::enter`]. Passes are as many as processors; all but EMERGENCY leave one of
//! them free where there are two or more, so an EMERGENCY never waits for a flood of others to be
//! verified. Within a priority units take turns: whoever has many sessions has no more turns than
//! one who has a single one. Invariant: a pass that is dropped, taken or not, lets the next one in.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::share::{PerPriority, Turns};
use relay_proto::{envelope::Priority, ids::UnitId};
use tokio::sync::oneshot;

/// See the head of this file. Clones are the same gate.
#[derive(Debug, Clone)]
pub(crate) struct Gate(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    /// Passes that are not in use, and how many of them EMERGENCY keeps for itself.
    free: usize,
    kept: usize,
    turns: Turns,
    waiting: PerPriority<Queue>,
}

/// Those who wait in one priority.
#[derive(Debug, Default)]
struct Queue {
    /// The units of whom somebody waits, each once; the first one is next.
    order: VecDeque<UnitId>,
    of_unit: BTreeMap<UnitId, VecDeque<oneshot::Sender<Pass>>>,
}

/// One who is inside; dropped on the way out.
#[derive(Debug)]
pub(crate) struct Pass(Option<Gate>);

impl Gate {
    /// With so many passes, at least one.
    pub fn new(passes: usize) -> Self {
        let (free, kept) = (passes.max(1), usize::from(passes > 1));
        let (turns, waiting) = (Turns::default(), PerPriority::default());
        Self(Arc::new(Mutex::new(Inner { free, kept, turns, waiting })))
    }

    /// Waits for a pass to work on what `unit` sent.
    pub async fn enter(&self, unit: &UnitId, priority: Priority) -> Pass {
        let (pass, passed) = oneshot::channel();
        self.lock().waiting.of_mut(priority).push(unit, pass);
        self.let_in();
        // The sender is kept by the queue until it is used.
        passed.await.unwrap_or(Pass(None))
    }

    fn let_in(&self) {
        loop {
            let next = self.lock().next();
            let Some(waiting) = next else { return };
            if let Err(mut refused) = waiting.send(Pass(Some(self.clone()))) {
                // Nobody waits there any more.
                refused.0 = None;
                self.lock().free += 1;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.lock().free += 1;
            gate.let_in();
        }
    }
}

impl Inner {
    /// Takes a pass for whoever is next.
    fn next(&mut self) -> Option<oneshot::Sender<Pass>> {
        let (free, kept, waiting) = (self.free, self.kept, &self.waiting);
        let may = |priority| match priority {
            Priority::Emergency => free > 0,
            Priority::Urgent | Priority::Routine => free > kept,
        };
        let next = self.turns.next(|one| may(one) && !waiting.of(one).order.is_empty())?;
        self.free -= 1;
        self.waiting.of_mut(next).pop()
    }
}

impl Queue {
    fn push(&mut self, unit: &UnitId, pass: oneshot::Sender<Pass>) {
        let waiting = self.of_unit.entry(unit.clone()).or_default();
        if waiting.is_empty() {
            self.order.push_back(unit.clone());
        }
        waiting.push_back(pass);
    }

    /// The unit whose turn it was waits behind the others again, if more of it are here.
    fn pop(&mut self) -> Option<oneshot::Sender<Pass>> {
        let unit = self.order.pop_front()?;
        let waiting = self.of_unit.get_mut(&unit)?;
        let next = waiting.pop_front();
        match waiting.is_empty() {
            true => drop(self.of_unit.remove(&unit)),
            false => self.order.push_back(unit),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::{
        pin::Pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    type Entering<'a> = Pin<Box<dyn Future<Output = Pass> + 'a>>;

    fn poll(entering: &mut Entering<'_>) -> Option<Pass> {
        match entering.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(pass) => Some(pass),
            Poll::Pending => None,
        }
    }

    /// ROUTINE takes all passes but the kept one; EMERGENCY comes in beside it, and the next
    /// ROUTINE only when one of its own went out.
    #[test]
    fn emergency_does_not_wait_for_routine() {
        let (gate, unit) = (Gate::new(2), "xa.ncu".parse().unwrap());
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(&unit, priority)) };
        let (mut first, mut second) = (enter(Priority::Routine), enter(Priority::Routine));
        let inside = poll(&mut first).unwrap();
        assert!(poll(&mut second).is_none());
        let mut emergency = enter(Priority::Emergency);
        let urgent_pass = poll(&mut emergency).unwrap();
        drop(urgent_pass);
        assert!(poll(&mut second).is_none());
        drop(inside);
        assert!(poll(&mut second).is_some());
    }

    /// On one processor: EMERGENCY before what waited longer, and of sixteen turns one is ROUTINE's
    /// although EMERGENCY waits all the time.
    #[test]
    fn each_class_has_its_share() {
        let (gate, unit) = (Gate::new(1), "xa.ncu".parse().unwrap());
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(&unit, priority)) };
        let mut inside = poll(&mut enter(Priority::Urgent)).unwrap();
        let mut waiting: Vec<(Priority, Entering<'_>)> = Vec::new();
        for _ in 0..32 {
            for priority in [Priority::Routine, Priority::Emergency] {
                let mut entering = enter(priority);
                assert!(poll(&mut entering).is_none());
                waiting.push((priority, entering));
            }
        }
        let mut order = Vec::new();
        for _ in 0..32 {
            drop(inside);
            let mut came = None;
            waiting.retain_mut(|(priority, entering)| {
                match came.is_none().then(|| poll(entering)) {
                    Some(Some(pass)) => {
                        came = Some((*priority, pass));
                        false
                    }
                    _ => true,
                }
            });
            let (priority, pass) = came.unwrap();
            order.push(priority);
            inside = pass;
        }
        assert_eq!(order.first(), Some(&Priority::Emergency));
        assert_eq!(order.iter().filter(|one| **one == Priority::Routine).count(), 2);
    }

    /// Who gave up waiting holds nobody else up.
    #[test]
    fn the_absent_are_passed_over() {
        let (gate, unit) = (Gate::new(1), "xa.ncu".parse().unwrap());
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(&unit, priority)) };
        let inside = poll(&mut enter(Priority::Routine)).unwrap();
        let (mut gone, mut stays) = (enter(Priority::Emergency), enter(Priority::Routine));
        assert!(poll(&mut gone).is_none() && poll(&mut stays).is_none());
        drop(gone);
        drop(inside);
        assert!(poll(&mut stays).is_some());
    }

    /// A unit with a hundred sessions that all wait, and again as soon as they were served: another
    /// one that comes now is second at the latest, each time.
    #[test]
    fn units_take_turns() {
        let gate = Gate::new(1);
        let (many, one) = ("xb.ncu".parse().unwrap(), "xc.ncu".parse().unwrap());
        let enter = |unit| -> Entering<'_> { Box::pin(gate.enter(unit, Priority::Routine)) };
        let mut inside = poll(&mut enter(&many)).unwrap();
        let mut flood: Vec<Entering<'_>> = (0..100).map(|_| enter(&many)).collect();
        assert!(flood.iter_mut().all(|entering| poll(entering).is_none()));
        for _ in 0..20 {
            let mut honest = enter(&one);
            assert!(poll(&mut honest).is_none());
            let mut served = 0;
            inside = loop {
                drop(inside);
                if let Some(pass) = poll(&mut honest) {
                    break pass;
                }
                served += 1;
                let came = flood.iter_mut().enumerate().find_map(|(n, e)| Some((n, poll(e)?)));
                let (place, pass) = came.unwrap();
                flood[place] = enter(&many);
                assert!(poll(&mut flood[place]).is_none());
                inside = pass;
            };
            assert!(served <= 1, "{served} turns of the other unit");
        }
    }
}
