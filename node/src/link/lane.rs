//! Lanes: the four streams that each side opens, their priorities, sizes and which frames may
//! travel where.
//!
//! Pure. Invariant: a frame that is in the wrong place never leaves this room, in either direction.

use relay_proto::{
    limits,
    v1::{self, frame::Kind},
};

/// What a stream is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Hello, receipts, proofs, pings.
    Control,
    /// Envelopes of priority ROUTINE.
    Routine,
    /// Envelopes of priority URGENT.
    Urgent,
    /// Envelopes of priority EMERGENCY.
    Emergency,
}

impl Lane {
    /// In the order in which the streams are opened.
    pub const ALL: [Self; 4] = [Self::Control, Self::Routine, Self::Urgent, Self::Emergency];

    /// Priority of the stream: what is buffered in a higher one leaves first. Control is below
    /// EMERGENCY, so that no mass of receipts delays an alarm, and above the rest, so that windows
    /// open again.
    pub(super) fn priority(self) -> i32 {
        match self {
            Self::Emergency => 3,
            Self::Control => 2,
            Self::Urgent => 1,
            Self::Routine => 0,
        }
    }

    /// Longest frame in one direction of this lane's stream.
    pub(super) fn frame_bytes_max(self, direction: Direction) -> usize {
        match (self, direction) {
            (Self::Control, _) => limits::CONTROL_BYTES_MAX,
            (_, Direction::Forward) => limits::FRAME_BYTES_MAX,
            (_, Direction::Reverse) => REVERSE_BYTES_MAX,
        }
    }

    /// Whether a kind of frame may travel here once the session is up.
    pub(super) fn carries(self, direction: Direction, kind: &Kind) -> bool {
        match (self, direction) {
            (Self::Control, Direction::Forward) => matches!(
                kind,
                Kind::Receipts(_) | Kind::GetConsistency(_) | Kind::GetInclusion(_) | Kind::Ping(_)
            ),
            (Self::Control, Direction::Reverse) => matches!(
                kind,
                Kind::Have(_)
                    | Kind::Consistency(_)
                    | Kind::Inclusion(_)
                    | Kind::Deferral(_)
                    | Kind::Pong(_)
            ),
            (_, Direction::Forward) => {
                matches!(kind, Kind::Transfer(_) | Kind::Void(_) | Kind::Encapsulation(_))
            }
            (_, Direction::Reverse) => matches!(kind, Kind::Fault(_) | Kind::Deferral(_)),
        }
    }

    pub(super) fn to_wire(self) -> v1::Lane {
        match self {
            Self::Control => v1::Lane::Control,
            Self::Routine => v1::Lane::Routine,
            Self::Urgent => v1::Lane::Urgent,
            Self::Emergency => v1::Lane::Emergency,
        }
    }

    pub(super) fn from_wire(lane: v1::Lane) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_wire() == lane)
    }
}

/// Which half of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the side that opened the stream.
    Forward,
    /// Back to the side that opened it: answers.
    Reverse,
}

/// One of each lane.
#[derive(Debug, Clone, Default)]
pub struct Lanes<T> {
    /// Of the control lane.
    pub control: T,
    /// Of ROUTINE.
    pub routine: T,
    /// Of URGENT.
    pub urgent: T,
    /// Of EMERGENCY.
    pub emergency: T,
}

impl<T> Lanes<T> {
    /// Makes one for each lane.
    pub fn from_fn(mut make: impl FnMut(Lane) -> T) -> Self {
        Self {
            control: make(Lane::Control),
            routine: make(Lane::Routine),
            urgent: make(Lane::Urgent),
            emergency: make(Lane::Emergency),
        }
    }

    /// That of one lane.
    pub fn of(&self, lane: Lane) -> &T {
        match lane {
            Lane::Control => &self.control,
            Lane::Routine => &self.routine,
            Lane::Urgent => &self.urgent,
            Lane::Emergency => &self.emergency,
        }
    }

    /// That of one lane.
    pub fn of_mut(&mut self, lane: Lane) -> &mut T {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Routine => &mut self.routine,
            Lane::Urgent => &mut self.urgent,
            Lane::Emergency => &mut self.emergency,
        }
    }

    /// All of them with their lanes.
    pub fn into_array(self) -> [(Lane, T); 4] {
        [
            (Lane::Control, self.control),
            (Lane::Routine, self.routine),
            (Lane::Urgent, self.urgent),
            (Lane::Emergency, self.emergency),
        ]
    }
}

/// Longest frame back on a lane of envelopes: a fault or a signed deferral.
const REVERSE_BYTES_MAX: usize = 2 * limits::STATEMENT_BYTES_MAX;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Every kind of frame has at most the places that are listed here; Hello and Open have none
    /// once up.
    #[test]
    fn each_kind_has_its_place() {
        let places = |kind: &Kind| {
            let mut places = Vec::new();
            for lane in Lane::ALL {
                for direction in [Direction::Forward, Direction::Reverse] {
                    if lane.carries(direction, kind) {
                        places.push((lane, direction));
                    }
                }
            }
            places
        };
        let lanes = [Lane::Routine, Lane::Urgent, Lane::Emergency];
        let forward = lanes.map(|lane| (lane, Direction::Forward)).to_vec();
        assert_eq!(places(&Kind::Transfer(v1::Transfer::default())), forward);
        assert_eq!(places(&Kind::Void(v1::Void::default())), forward);
        let reverse = lanes.map(|lane| (lane, Direction::Reverse)).to_vec();
        assert_eq!(places(&Kind::Fault(v1::TransferFault::default())), reverse);
        assert_eq!(places(&Kind::Deferral(v1::Signed::default())).len(), 4);
        let control = |direction| vec![(Lane::Control, direction)];
        let receipts = Kind::Receipts(v1::ReceiptGroup::default());
        assert_eq!(places(&receipts), control(Direction::Forward));
        assert_eq!(places(&Kind::Have(v1::Have::default())), control(Direction::Reverse));
        assert!(places(&Kind::Hello(v1::Hello::default())).is_empty());
        assert!(places(&Kind::Open(v1::Open::default())).is_empty());
    }

    #[test]
    fn wire_lanes_map_one_to_one() {
        for lane in Lane::ALL {
            assert_eq!(Lane::from_wire(lane.to_wire()), Some(lane));
        }
        assert_eq!(Lane::from_wire(v1::Lane::Unspecified), None);
    }
}
