//! Markings that a message has from those that it answers, is about or passes on.
//!
//! Enter through [`inherit`]. Invariant: what a draft states stays, save that conditions are added;
//! what it does not state becomes the strictest of the network's default and of what it inherits.

use crate::v1;

/// Fills a draft's markings. `default` is the network's, for a draft that says nothing.
pub fn inherit(handling: &mut v1::Handling, default: &v1::Handling, from: &[v1::Handling]) {
    if from.is_empty() {
        return;
    }
    let strictest = |of: fn(&v1::Handling) -> i32, least: i32| {
        from.iter().map(of).chain([least]).max().unwrap_or(least)
    };
    if handling.tlp == 0 {
        handling.tlp = strictest(|one| one.tlp, default.tlp);
    }
    if handling.pap == 0 {
        // None is the strictest.
        let pap = |one: &v1::Handling| if one.pap == 0 { v1::Pap::Red.into() } else { one.pap };
        handling.pap = strictest(pap, default.pap);
    }
    if handling.classification == 0 {
        handling.classification = strictest(|one| one.classification, default.classification);
    }
    if handling.europol.is_empty() {
        let codes = from.iter().chain([default]).flat_map(|one| one.europol.iter().copied());
        handling.europol = codes.collect();
        handling.europol.sort_unstable();
        handling.europol.dedup();
    }
    for condition in from.iter().flat_map(|one| &one.conditions) {
        if !handling.conditions.contains(condition) {
            handling.conditions.push(condition.clone());
        }
    }
    if handling.delete_by_ms == 0 {
        let times = from.iter().map(|one| one.delete_by_ms).filter(|at| *at != 0);
        handling.delete_by_ms = times.min().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(tlp: v1::Tlp, codes: &[v1::EuropolCode]) -> v1::Handling {
        v1::Handling {
            tlp: tlp.into(),
            pap: v1::Pap::Amber.into(),
            europol: codes.iter().map(|code| i32::from(*code)).collect(),
            classification: v1::Classification::Bpl.into(),
            ..v1::Handling::default()
        }
    }

    /// What is not stated is the strictest of all; what is stated stays; conditions are added.
    #[test]
    fn the_strictest_is_inherited() {
        use v1::{EuropolCode as E, Tlp};
        let default = marks(Tlp::Amber, &[E::H1]);
        let unmarked = v1::Handling { pap: 0, delete_by_ms: 9, ..marks(Tlp::Red, &[E::H2]) };
        let bound = v1::Handling {
            conditions: vec!["keep".to_owned()],
            delete_by_ms: 7,
            ..marks(Tlp::Green, &[])
        };
        let mut silent = v1::Handling::default();
        inherit(&mut silent, &default, &[unmarked.clone(), bound.clone()]);
        assert_eq!(silent.tlp, i32::from(Tlp::Red));
        assert_eq!(silent.pap, i32::from(v1::Pap::Red));
        assert_eq!(silent.europol, [E::H1, E::H2].map(i32::from));
        assert_eq!((silent.conditions, silent.delete_by_ms), (vec!["keep".to_owned()], 7));
        let mut stated = v1::Handling { delete_by_ms: 8, ..marks(Tlp::Clear, &[E::H0]) };
        inherit(&mut stated, &default, &[unmarked, bound]);
        assert_eq!((stated.tlp, stated.delete_by_ms), (i32::from(Tlp::Clear), 8));
        assert_eq!(stated.europol, [i32::from(E::H0)]);
        let mut alone = v1::Handling::default();
        inherit(&mut alone, &default, &[]);
        assert_eq!(alone, v1::Handling::default(), "the profile's default is filled in later");
    }
}
