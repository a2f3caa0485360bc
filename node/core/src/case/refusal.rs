//! The closed list of grounds on which a request may be refused, and what can be checked of each.
//!
//! That a form is incomplete, a desk busy or the data are elsewhere is no ground (Articles 29(4),
//! 29(5); 30(2) has the same two as 29(5)). What hangs on the units' cards (a reservation, a
//! treaty) is no matter of the case: [`crate::policy::by_cards`] judges it when the decision is
//! sent and when it arrives.

/// A ground of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ground {
    /// 29(4): by reservation, for offences outside of Articles 2 to 11 alone.
    DualCriminalityReserved,
    /// 29(5)(a)
    PoliticalOffence,
    /// 29(5)(b)
    EssentialInterests,
    /// The requesting unit's country is no party.
    NoTreatyRelation,
    /// Networks of best effort alone; never under the Budapest Convention.
    DomesticLawLimit,
}

/// A set of grounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grounds(u8);

impl Grounds {
    /// Those of the treaty: all but that of networks of best effort.
    pub const TREATY: Grounds = Grounds(0b1111);

    /// Those of networks of best effort: none that rests on a treaty.
    pub const BEST_EFFORT: Grounds = Grounds(0b1_0110);

    /// Of these.
    pub fn of(grounds: &[Ground]) -> Self {
        Self(grounds.iter().fold(0, |set, ground| set | ground.bit()))
    }

    /// Whether a ground is one of them.
    pub fn contains(self, ground: Ground) -> bool {
        self.0 & ground.bit() != 0
    }
}

/// What a node knows when a ground is stated.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The grounds that the profile offers.
    pub offered: Grounds,
    /// All offences are of Articles 2 to 11.
    pub covered: bool,
    /// Reasons were stated (Article 27(7)).
    pub reasons: bool,
    /// How many officers sign the refusal.
    pub signers: u32,
}

/// Why a ground does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Unfounded {
    #[error("the profile does not offer this ground")]
    NotOffered,
    #[error("a refusal states its reasons (Article 27(7))")]
    NoReasons,
    #[error("dual criminality is no ground for offences of Articles 2 to 11 (Article 29(4))")]
    Covered,
    #[error("refusing for essential interests takes two officers")]
    OneSigner,
}

impl Ground {
    /// All of them, in the order of their numbers on the wire from 1.
    pub const ALL: [Ground; 5] = [
        Ground::DualCriminalityReserved,
        Ground::PoliticalOffence,
        Ground::EssentialInterests,
        Ground::NoTreatyRelation,
        Ground::DomesticLawLimit,
    ];

    fn bit(self) -> u8 {
        1 << self as u8
    }

    /// Checks what can be checked; the rest is the requested side's to judge.
    pub fn check(self, known: &Known) -> Result<(), Unfounded> {
        if !known.offered.contains(self) {
            return Err(Unfounded::NotOffered);
        }
        if !known.reasons {
            return Err(Unfounded::NoReasons);
        }
        match self {
            Self::DualCriminalityReserved if known.covered => Err(Unfounded::Covered),
            Self::EssentialInterests if known.signers < 2 => Err(Unfounded::OneSigner),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Ground; 4] = [
        Ground::DualCriminalityReserved,
        Ground::PoliticalOffence,
        Ground::EssentialInterests,
        Ground::NoTreatyRelation,
    ];

    /// Each ground with all that it needs, and without each of them.
    #[test]
    fn grounds_are_checked() {
        let whole = Known { offered: Grounds::of(&ALL), covered: false, reasons: true, signers: 2 };
        for ground in ALL {
            assert_eq!(ground.check(&whole), Ok(()));
            let silent = Known { reasons: false, ..whole };
            assert_eq!(ground.check(&silent), Err(Unfounded::NoReasons));
        }
        let dual = Ground::DualCriminalityReserved;
        assert_eq!(dual.check(&Known { covered: true, ..whole }), Err(Unfounded::Covered));
        let alone = Known { signers: 1, ..whole };
        assert_eq!(Ground::EssentialInterests.check(&alone), Err(Unfounded::OneSigner));
        assert_eq!(Ground::PoliticalOffence.check(&alone), Ok(()));
        assert_eq!(Ground::DomesticLawLimit.check(&whole), Err(Unfounded::NotOffered));
        let effort = Known { offered: Grounds::BEST_EFFORT, ..whole };
        let offered = Ground::ALL.map(|ground| ground.check(&effort).is_ok());
        assert_eq!(offered, [false, true, true, false, true]);
    }
}
