//! Who comes first where several priorities wait: EMERGENCY, with a reserved share for the others.
//!
//! [`PerPriority`] keeps what each of them has of its own. Pure: [`Turns::next`] is told who waits.
//! Invariant: of sixteen turns at least one is ROUTINE's and four are URGENT's, if they wait;
//! nobody starves and EMERGENCY waits for nobody twice.

use relay_proto::envelope::Priority;

/// One of something for each priority.
#[derive(Debug, Clone, Default)]
pub struct PerPriority<T> {
    /// EMERGENCY's.
    pub emergency: T,
    /// URGENT's.
    pub urgent: T,
    /// ROUTINE's.
    pub routine: T,
}

impl<T> PerPriority<T> {
    /// Makes each, the most urgent first.
    pub fn new(make: impl FnMut(Priority) -> T) -> Self {
        let [emergency, urgent, routine] = Priority::ALL.map(make);
        Self { emergency, urgent, routine }
    }

    /// The one of a priority.
    pub fn of(&self, priority: Priority) -> &T {
        match priority {
            Priority::Emergency => &self.emergency,
            Priority::Urgent => &self.urgent,
            Priority::Routine => &self.routine,
        }
    }

    /// The one of a priority, to be changed.
    pub fn of_mut(&mut self, priority: Priority) -> &mut T {
        match priority {
            Priority::Emergency => &mut self.emergency,
            Priority::Urgent => &mut self.urgent,
            Priority::Routine => &mut self.routine,
        }
    }

    /// All, the most urgent first.
    pub fn iter(&self) -> impl Iterator<Item = (Priority, &T)> {
        Priority::ALL.into_iter().zip([&self.emergency, &self.urgent, &self.routine])
    }

    /// All, the most urgent first, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Priority, &mut T)> {
        let all = [&mut self.emergency, &mut self.urgent, &mut self.routine];
        Priority::ALL.into_iter().zip(all)
    }
}

impl<T> IntoIterator for PerPriority<T> {
    type Item = (Priority, T);
    type IntoIter = std::array::IntoIter<(Priority, T), 3>;

    fn into_iter(self) -> Self::IntoIter {
        let Self { emergency, urgent, routine } = self;
        [(Priority::Emergency, emergency), (Priority::Urgent, urgent), (Priority::Routine, routine)]
            .into_iter()
    }
}

/// Counts turns.
#[derive(Debug, Clone, Default)]
pub struct Turns(u8);

impl Turns {
    /// Who is served next of those that wait; nobody if nobody waits.
    pub fn next(&mut self, waits: impl Fn(Priority) -> bool) -> Option<Priority> {
        let favoured = match self.0 {
            ROUTINE_TURN => Priority::Routine,
            turn if turn % URGENT_EVERY == 2 => Priority::Urgent,
            _ => Priority::Emergency,
        };
        let most_urgent = || Priority::ALL.into_iter().filter(|one| waits(*one)).max();
        let next = if waits(favoured) { Some(favoured) } else { most_urgent() };
        if next.is_some() {
            self.0 = (self.0 + 1) % TURNS;
        }
        next
    }
}

const TURNS: u8 = 16;
const ROUTINE_TURN: u8 = TURNS - 1;
const URGENT_EVERY: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn served(waiting: &[Priority], turns: usize) -> Vec<Priority> {
        let mut all = Turns::default();
        (0..turns).filter_map(|_| all.next(|one| waiting.contains(&one))).collect()
    }

    fn count(served: &[Priority], priority: Priority) -> usize {
        served.iter().filter(|one| **one == priority).count()
    }

    /// Each priority has its own, however it is asked for.
    #[test]
    fn each_has_its_own() {
        let mut all = PerPriority::new(|priority| vec![priority]);
        for priority in Priority::ALL {
            assert_eq!(all.of(priority), &[priority]);
            all.of_mut(priority).push(priority);
        }
        assert_eq!((all.emergency.len(), all.routine.first()), (2, Some(&Priority::Routine)));
        let own = |(priority, own): (Priority, &Vec<_>)| *own == [priority; 2];
        assert_eq!(all.iter().filter(|one| own(*one)).count(), 3);
        assert_eq!(all.iter_mut().filter(|(one, of)| own((*one, of))).count(), 3);
        let order: Vec<Priority> = all.into_iter().map(|(priority, _)| priority).collect();
        assert_eq!(order, Priority::ALL);
    }

    /// All wait all the time: EMERGENCY first, the others have their share of every sixteen.
    #[test]
    fn each_has_its_share() {
        let all = served(&Priority::ALL, 32);
        assert_eq!(all.first(), Some(&Priority::Emergency));
        assert_eq!(count(&all, Priority::Routine), 2);
        assert_eq!(count(&all, Priority::Urgent), 8);
        assert_eq!(count(&all, Priority::Emergency), 22);
        let two = [Priority::Emergency, Priority::Routine];
        assert_eq!(count(&served(&two, 16), Priority::Routine), 1);
        let low = [Priority::Urgent, Priority::Routine];
        assert_eq!(count(&served(&low, 16), Priority::Urgent), 15);
    }

    /// A share that nobody needs is lost to nobody, and nobody waiting means nobody served.
    #[test]
    fn turns_are_not_kept_for_the_absent() {
        assert_eq!(served(&[Priority::Routine], 20).len(), 20);
        assert!(served(&[], 20).is_empty());
        for one in Priority::ALL {
            assert_eq!(served(&[one], 16), [one; 16]);
        }
    }
}
