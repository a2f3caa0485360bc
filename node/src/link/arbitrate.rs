//! Which connection of a pair of nodes is the session: restart, crossing dials, a copied key.
//!
//! Pure: [`arbitrate`] is a function of two descriptions. Invariant: both sides, each with its own
//! order of events, come to the same connection, and never close both.

/// One connection whose Hello was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    /// The peer's instance id.
    pub(super) instance: [u8; 16],
    /// The peer's boot id.
    pub(super) boot: [u8; 16],
    /// Whether the node with the smaller id dialled; both sides see the same.
    pub(super) dialled_by_smaller: bool,
}

/// What to do with the newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It becomes the session; the standing one is closed as superseded.
    Supersede,
    /// It becomes the session; the standing one is closed as crossed.
    Cross,
    /// It is closed as crossed; the standing one stays.
    Yield,
    /// It is closed as a duplicate identity, with an alarm; the standing one stays.
    Duplicate,
}

/// Decides between a standing session and a newer connection of the same transport key.
pub(super) fn arbitrate(standing: &Claim, newer: &Claim) -> Verdict {
    if newer.instance != standing.instance {
        // Whoever copied the key must not take over the session of the one that has it.
        return Verdict::Duplicate;
    }
    if newer.boot != standing.boot {
        // The peer restarted: what stands is a connection to a process that is gone.
        return Verdict::Supersede;
    }
    match (standing.dialled_by_smaller, newer.dialled_by_smaller) {
        (true, false) => Verdict::Yield,
        (false, true) => Verdict::Cross,
        // The same side dialled again, so it has given up the standing one.
        (true, true) | (false, false) => Verdict::Supersede,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn claim(instance: u8, boot: u8, dialled_by_smaller: bool) -> Claim {
        Claim { instance: [instance; 16], boot: [boot; 16], dialled_by_smaller }
    }

    /// The whole table: instance, boot and dialler of the standing and of the newer connection.
    #[test]
    fn the_table() {
        use Verdict::{Cross, Duplicate, Supersede, Yield};
        let table = [
            ((1, true), (1, true), Supersede),
            ((1, true), (1, false), Yield),
            ((1, false), (1, true), Cross),
            ((1, false), (1, false), Supersede),
            ((1, true), (2, true), Supersede),
            ((1, true), (2, false), Supersede),
            ((1, false), (2, true), Supersede),
            ((1, false), (2, false), Supersede),
        ];
        for ((boot, smaller), (new_boot, new_smaller), verdict) in table {
            let standing = claim(1, boot, smaller);
            assert_eq!(arbitrate(&standing, &claim(1, new_boot, new_smaller)), verdict);
            // Another instance never wins, whatever else it says.
            assert_eq!(arbitrate(&standing, &claim(2, new_boot, new_smaller)), Duplicate);
        }
    }

    /// Two crossing connections settle on the same one in either order of arrival.
    #[test]
    fn order_does_not_matter_for_crossing_dials() {
        let (one, other) = (claim(1, 1, true), claim(1, 1, false));
        assert_eq!(arbitrate(&one, &other), Verdict::Yield);
        assert_eq!(arbitrate(&other, &one), Verdict::Cross);
    }
}
