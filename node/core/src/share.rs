//! Who comes first where several priorities wait: EMERGENCY, with a reserved share for the others.
//!
//! Pure: [`Turns::next`] is told who waits. Invariant: of sixteen turns at least one is ROUTINE's
//! and four are URGENT's, if they wait; nobody starves and EMERGENCY waits for nobody twice.

use relay_proto::envelope::Priority;

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
