//! What an arrival becomes: accepted, a duplicate, a conflict. Decided on the one record that is
//! kept per sender and message id, inside the commit that would store the message, so that two
//! copies cannot both be the first.

use relay_proto::ids::Digest;

/// What is known of (sender, message id).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// Nothing: this is the first copy.
    Nothing,
    /// A message with this header.
    Header(Digest),
}

/// What to do with a message whose header verified and whose payload is the one that the header
/// fixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// Store it and issue the receipt.
    Accept,
    /// It is here already: answer with all receipts so far, the same leaves. Nothing happens twice.
    Duplicate,
    /// The same sender and id with another header: refuse that header, keep it as evidence, alarm.
    Conflict,
}

/// Classifies one arrival.
pub fn classify(known: Known, header_digest: Digest) -> Arrival {
    match known {
        Known::Nothing => Arrival::Accept,
        Known::Header(held) if held == header_digest => Arrival::Duplicate,
        Known::Header(_) => Arrival::Conflict,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_effect_per_sender_and_id() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        assert_eq!(classify(Known::Nothing, one), Arrival::Accept);
        assert_eq!(classify(Known::Header(one), one), Arrival::Duplicate);
        assert_eq!(classify(Known::Header(one), other), Arrival::Conflict);
    }
}
