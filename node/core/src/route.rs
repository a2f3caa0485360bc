//! The next hop of a message. Direct delivery only; hubs come in through [`NextHop`] later.

use relay_proto::ids::UnitId;

/// Where an outbox entry goes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop {
    /// To the recipient itself.
    Direct(UnitId),
}

impl NextHop {
    /// The unit that the entry is queued for.
    pub fn unit(&self) -> &UnitId {
        match self {
            Self::Direct(unit) => unit,
        }
    }
}

/// The next hop towards a recipient, who is a verified peer: that was checked before anything was
/// queued.
pub fn next_hop(recipient: &UnitId) -> NextHop {
    NextHop::Direct(recipient.clone())
}
