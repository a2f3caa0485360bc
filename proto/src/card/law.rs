//! What a unit's card says of its country's law and of what its node takes: treaties, reservations,
//! days of preservation, the highest classification, drills.
//!
//! Enter through [`check`] while a card is opened, then through the methods of [`Card`]. May use
//! nothing but the card. Invariant: nothing that a card does not state is taken for granted, save
//! BPL as the highest classification and drills at units of demos and tests.

use super::Card;
use crate::{ids::UnitId, v1};

/// Every treaty with its name in flags, profiles and for people.
pub const TREATIES: [(v1::Treaty, &str); 3] = [
    (v1::Treaty::Budapest, "budapest"),
    (v1::Treaty::SecondProtocol, "2ap"),
    (v1::Treaty::UnConvention, "unc"),
];

/// The name of a treaty.
pub fn treaty_name(treaty: v1::Treaty) -> &'static str {
    TREATIES.iter().find(|(of, _)| *of == treaty).map_or("", |(_, name)| name)
}

/// Why what a card says of its unit's law is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum LawError {
    #[error("a treaty of the card is unknown, stated twice or out of order")]
    Treaty,
    #[error("party to the Second Additional Protocol are parties to the Convention alone")]
    ProtocolAlone,
    #[error("the card declares a reservation to a treaty that it does not state")]
    Reservation,
    #[error("the card's days of preservation are not in order, or are over ten years")]
    Days,
    #[error("a party to the Convention preserves for sixty days at the least (Article 29(7))")]
    FewDays,
    #[error("the card's highest classification is unknown")]
    Classification,
}

/// Checks what a card says of its unit's law.
pub(super) fn check(card: &v1::Card) -> Result<(), LawError> {
    let ascends = card.parties.iter().zip(card.parties.iter().skip(1)).all(|(a, b)| a < b);
    let known = |number: &i32| TREATIES.iter().any(|(treaty, _)| *treaty as i32 == *number);
    if !ascends || !card.parties.iter().all(known) {
        return Err(LawError::Treaty);
    }
    let party = |treaty: v1::Treaty| card.parties.contains(&(treaty as i32));
    let (budapest, protocol) = (party(v1::Treaty::Budapest), party(v1::Treaty::SecondProtocol));
    if protocol && !budapest {
        return Err(LawError::ProtocolAlone);
    }
    let reserved = card.reservations.unwrap_or_default();
    let of_protocol = reserved.art9_subscriber_only || reserved.followup_required;
    if (reserved.art29_4 && !budapest) || (of_protocol && !protocol) {
        return Err(LawError::Reservation);
    }
    if let Some(days) = &card.preservation_days {
        if days.min == 0 || days.min > days.usual || days.usual > days.max || days.max > DAYS_MAX {
            return Err(LawError::Days);
        }
        if budapest && days.min < crate::payload::TREATY_DAYS_MIN {
            return Err(LawError::FewDays);
        }
    }
    if v1::Classification::try_from(card.max_classification).is_err() {
        return Err(LawError::Classification);
    }
    Ok(())
}

impl Card {
    /// Whether the unit's country is party to a treaty, as the card states it.
    pub fn is_party(&self, treaty: v1::Treaty) -> bool {
        self.value.parties.contains(&(treaty as i32))
    }

    /// What its country reserved or declared.
    pub fn reservations(&self) -> v1::Reservations {
        self.value.reservations.unwrap_or_default()
    }

    /// Above it the unit takes nothing.
    pub fn classification_max(&self) -> v1::Classification {
        match self.value.max_classification() {
            v1::Classification::Unspecified => v1::Classification::Bpl,
            stated => stated,
        }
    }

    /// Whether a drill may be sent to it.
    pub fn takes_exercises(&self) -> bool {
        self.value.takes_exercises || UnitId::is_demo(&self.unit)
    }
}

/// Ten years: longer than any preservation.
const DAYS_MAX: u32 = 3650;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::card::{
        CardError,
        tests::{open, sample},
    };

    fn stated() -> v1::Card {
        v1::Card {
            parties: vec![1, 2, 3],
            reservations: Some(v1::Reservations {
                art29_4: true,
                art9_subscriber_only: true,
                followup_required: true,
            }),
            preservation_days: Some(v1::PreservationDays { min: 60, usual: 90, max: 180 }),
            max_classification: v1::Classification::Unclassified.into(),
            takes_exercises: true,
            ..sample()
        }
    }

    /// What a card states is read as it stands, and what it does not state is not assumed.
    #[test]
    fn the_law_of_a_card_is_read() {
        let card = open(&stated()).unwrap();
        assert!(TREATIES.iter().all(|(treaty, _)| card.is_party(*treaty)));
        assert!(card.reservations().art29_4 && card.takes_exercises());
        assert_eq!(card.classification_max(), v1::Classification::Unclassified);
        let silent = open(&sample()).unwrap();
        assert!(!TREATIES.iter().any(|(treaty, _)| silent.is_party(*treaty)));
        assert_eq!(silent.reservations(), v1::Reservations::default());
        assert_eq!(silent.classification_max(), v1::Classification::Bpl);
        // `xa` is for demos.
        assert!(silent.takes_exercises());
    }

    type Break = fn(&mut v1::Card);

    /// What contradicts itself or the treaties is no card.
    #[test]
    fn a_law_that_cannot_be_is_refused() {
        fn days(card: &mut v1::Card, min: u32, usual: u32, max: u32) {
            card.preservation_days = Some(v1::PreservationDays { min, usual, max });
        }
        let table: [(LawError, Break); 13] = [
            (LawError::Treaty, |c| c.parties = vec![4]),
            (LawError::Treaty, |c| c.parties = vec![0, 1]),
            (LawError::Treaty, |c| c.parties = vec![1, 1]),
            (LawError::Treaty, |c| c.parties = vec![2, 1]),
            (LawError::ProtocolAlone, |c| c.parties = vec![2]),
            (LawError::Reservation, |c| c.parties = vec![3]),
            (LawError::Reservation, |c| c.parties = vec![1]),
            (LawError::Days, |c| days(c, 0, 90, 180)),
            (LawError::Days, |c| days(c, 91, 90, 180)),
            (LawError::Days, |c| days(c, 60, 190, 180)),
            (LawError::Days, |c| days(c, 60, 90, DAYS_MAX + 1)),
            (LawError::FewDays, |c| days(c, 59, 90, 180)),
            (LawError::Classification, |c| c.max_classification = 9),
        ];
        for (want, break_it) in table {
            let mut card = stated();
            break_it(&mut card);
            assert_eq!(open(&card).unwrap_err(), CardError::Law(want));
        }
    }
}
