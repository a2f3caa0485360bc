//! How many messages are being taken at once, over all callers: each priority has places of its
//! own, so a bulk of ROUTINE never refuses an EMERGENCY, nor the other way round.

use std::sync::Arc;

use relay_core::share::PerPriority;
use relay_proto::envelope::Priority;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places.
pub(super) struct Admission(PerPriority<Arc<Semaphore>>);

impl Admission {
    /// All free.
    pub(super) fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self(PerPriority {
            emergency: places(SUBMISSIONS_MAX / 4),
            urgent: places(SUBMISSIONS_MAX / 4),
            routine: places(SUBMISSIONS_MAX / 2),
        })
    }

    /// A place for one message, if one is free.
    pub(super) fn try_enter(&self, priority: Priority) -> Option<OwnedSemaphorePermit> {
        Arc::clone(self.0.of(priority)).try_acquire_owned().ok()
    }

    /// Places for a batch of one stream; waits for them.
    pub(super) async fn enter(&self, priority: Priority, count: u32) -> OwnedSemaphorePermit {
        let places = Arc::clone(self.0.of(priority));
        // The semaphores are never closed, and a batch is smaller than any of them.
        places.acquire_many_owned(count).await.expect("places are never closed")
    }
}

/// Messages that are being taken at once.
const SUBMISSIONS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A flood of one priority is refused when its places are taken; the others have theirs, and a
    /// place that comes free is given again.
    #[tokio::test]
    async fn each_priority_has_places_of_its_own() {
        let admission = Admission::new();
        let bulk = admission.enter(Priority::Routine, 2048).await;
        assert!(admission.try_enter(Priority::Routine).is_none());
        let flood: Vec<_> =
            (0..1024).map(|_| admission.try_enter(Priority::Emergency).unwrap()).collect();
        assert!(admission.try_enter(Priority::Emergency).is_none());
        assert!(admission.try_enter(Priority::Urgent).is_some());
        drop(bulk);
        assert!(admission.try_enter(Priority::Routine).is_some());
        drop(flood);
        assert!(admission.try_enter(Priority::Emergency).is_some());
    }
}
