//! *resources*: few descriptors, little memory, floods of Initial packets, pauses; a run each, one
//! after the other.

mod descriptors;
mod initials;
mod memory;
mod pause;

use std::collections::BTreeMap;

use super::{Campaign, check::Terms, federation::Federation};

/// Runs of all kinds until the time is over, each kind once at least.
pub(super) async fn run(campaign: &mut Campaign) {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for number in 0.. {
        let kind = KINDS.get(number % KINDS.len()).copied().unwrap_or(Kind::Pause);
        let is_new = number < KINDS.len() && !campaign.row.is_hopeless();
        if !is_new && !campaign.goes_on() {
            break;
        }
        let mut federation = Federation::start(campaign, 2).await;
        let name = match kind {
            Kind::Pause => pause::one(campaign, &mut federation).await,
            Kind::Descriptors => descriptors::one(campaign, &mut federation).await,
            Kind::Memory => memory::one(campaign, &mut federation).await,
            Kind::Initials => initials::one(campaign, &mut federation).await,
        };
        let found = federation.check(Terms::USUAL).await;
        campaign.row.take(found);
        let found = federation.check_all().await;
        campaign.row.take(found);
        campaign.row.runs += 1;
        *counts.entry(name).or_default() += 1;
    }
    let counts = counts.iter().map(|(name, times)| format!("{name} {times}"));
    campaign.row.notes.push(format!("runs: {}", counts.collect::<Vec<_>>().join(", ")));
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Pause,
    Descriptors,
    Memory,
    Initials,
}

const KINDS: [Kind; 4] = [Kind::Pause, Kind::Descriptors, Kind::Memory, Kind::Initials];
