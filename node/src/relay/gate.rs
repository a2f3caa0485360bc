//! Who may use the processor for signatures now: EMERGENCY first, with a share for the others.
//!
//! Enter through [`Gate::enter`]. Passes are as many as processors; all but EMERGENCY leave one of
//! them free where there are two or more, so an EMERGENCY never waits for a flood of others to be
//! verified. Invariant: a pass that is dropped, taken or not, lets the next one in.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use relay_core::share::{PerPriority, Turns};
use relay_proto::envelope::Priority;
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
    waiting: PerPriority<VecDeque<oneshot::Sender<Pass>>>,
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

    /// Waits for a pass.
    pub async fn enter(&self, priority: Priority) -> Pass {
        let (pass, passed) = oneshot::channel();
        self.lock().waiting.of_mut(priority).push_back(pass);
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
        let next = self.turns.next(|one| may(one) && !waiting.of(one).is_empty())?;
        self.free -= 1;
        self.waiting.of_mut(next).pop_front()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
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
        let gate = Gate::new(2);
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(priority)) };
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
        let gate = Gate::new(1);
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(priority)) };
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
        let gate = Gate::new(1);
        let enter = |priority| -> Entering<'_> { Box::pin(gate.enter(priority)) };
        let inside = poll(&mut enter(Priority::Routine)).unwrap();
        let (mut gone, mut stays) = (enter(Priority::Emergency), enter(Priority::Routine));
        assert!(poll(&mut gone).is_none() && poll(&mut stays).is_none());
        drop(gone);
        drop(inside);
        assert!(poll(&mut stays).is_some());
    }
}
