//! What a card says of its unit's law and of what its node takes.

use relay_proto::{
    card::treaty_name,
    v1::{self, Classification},
};
use serde::Serialize;

/// What is not on the card is not taken for granted.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LawView {
    /// Treaties by name: `budapest`, `2ap`, `unc`.
    pub parties: Vec<String>,
    /// `art29-4`, `art9-subscriber-only`, `art9-followup`
    pub reservations: Vec<String>,
    pub preservation_days: Option<DaysView>,
    /// The unit takes nothing above it.
    pub max_classification: String,
    /// Drills may be sent to it.
    pub takes_exercises: bool,
}

/// For how long its law has data preserved, in days of 24 hours.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct DaysView {
    pub min: u32,
    pub usual: u32,
    pub max: u32,
}

impl LawView {
    /// One line a fact, for people.
    pub fn lines(&self) -> Vec<(&'static str, String)> {
        let list = |list: &[String], none: &str| match list {
            [] => none.to_owned(),
            list => list.join(", "),
        };
        let parties = list(&self.parties, "no treaty, as its card stands");
        let reserved = match self.reservations.as_slice() {
            [] => String::new(),
            some => format!("; reserves {}", some.join(", ")),
        };
        let mut lines = vec![("PARTY TO", format!("{parties}{reserved}"))];
        if let Some(DaysView { min, usual, max }) = self.preservation_days {
            let days = format!("data for {min} to {max} days, {usual} as a rule");
            lines.push(("KEEPS", days));
        }
        let drills = if self.takes_exercises { "drills too" } else { "no drills" };
        lines.push(("TAKES", format!("up to {}, {drills}", self.max_classification)));
        lines
    }
}

impl From<&v1::Card> for LawView {
    fn from(card: &v1::Card) -> Self {
        let reserved = card.reservations.unwrap_or_default();
        let named = [
            (reserved.art29_4, "art29-4"),
            (reserved.art9_subscriber_only, "art9-subscriber-only"),
            (reserved.followup_required, "art9-followup"),
        ];
        let max = match card.max_classification() {
            Classification::Unspecified => Classification::Bpl,
            stated => stated,
        };
        let max = max.as_str_name().trim_start_matches("CLASSIFICATION_");
        let unit = card.unit.parse::<relay_proto::ids::UnitId>();
        Self {
            parties: card.parties().map(|treaty| treaty_name(treaty).to_owned()).collect(),
            reservations: named.iter().filter(|one| one.0).map(|one| one.1.to_owned()).collect(),
            preservation_days: card.preservation_days.map(|days| DaysView {
                min: days.min,
                usual: days.usual,
                max: days.max,
            }),
            max_classification: max.to_owned(),
            takes_exercises: card.takes_exercises || unit.is_ok_and(|unit| unit.is_demo()),
        }
    }
}
