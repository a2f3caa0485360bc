//! Attachments: the list that a header fixes by one digest, and the offer by which a sender's node
//! brings one of them.
//!
//! Enter through [`listed`], [`digest`] and [`Offered::check`]. Pure. Invariant: an [`Offered`] is
//! one of the list that the header's signature covers.

use sha2::{Digest as _, Sha256};

use crate::{envelope::Header, ids::Digest, limits, reason::Reason, v1};

/// One attachment of a list, as it travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Item {
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// How many they are.
    pub size: u64,
}

/// The digest of a list under the salt of its payload; nothing for an empty list.
///
/// Under the salt, for else the header of an erased message would still confirm a guess of what was
/// attached to it.
pub fn digest(salt: &[u8], items: &[Item]) -> Option<Digest> {
    if items.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(items.len().saturating_mul(40));
    for item in items {
        bytes.extend_from_slice(item.sha256.as_bytes());
        bytes.extend_from_slice(&item.size.to_be_bytes());
    }
    Some(Digest::of_parts(&[TAG, b"\0", salt, &bytes]))
}

/// The list of a payload. A digest that is none, or too many: the reason.
pub fn listed(payload: &v1::Payload) -> Result<Vec<Item>, Reason> {
    if payload.attachments.len() > limits::ATTACHMENTS_MAX {
        return Err(Reason::TooLarge);
    }
    let each = payload.attachments.iter().map(|one| item(&one.sha256, one.size));
    each.collect()
}

fn item(sha256: &[u8], size: u64) -> Result<Item, Reason> {
    let sha256 = Digest::from_bytes(sha256).map_err(|_| Reason::Malformed)?;
    Ok(Item { sha256, size })
}

/// The digest of bytes that come in pieces.
#[derive(Debug, Clone, Default)]
pub struct Hash(Sha256);

impl Hash {
    /// More of them.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Of all that came.
    pub fn finish(self) -> Digest {
        Digest::from_array(self.0.finalize().into())
    }
}

/// An attachment that a peer offers, checked against the header that lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Which.
    pub item: Item,
    /// All of the list.
    pub items: Vec<Item>,
}

impl Offered {
    /// Reads an offer whose header verified. A list that is not the header's is
    /// [`Reason::InnerMismatch`].
    pub fn check(offer: &v1::AttachmentOffer, header: &Header) -> Result<Self, Reason> {
        if offer.list.len() > limits::ATTACHMENTS_MAX {
            return Err(Reason::TooLarge);
        }
        if offer.salt.len() != limits::PAYLOAD_SALT_BYTES {
            return Err(Reason::Malformed);
        }
        let items = offer.list.iter().map(|one| item(&one.sha256, one.size));
        let items: Vec<Item> = items.collect::<Result<_, _>>()?;
        if digest(&offer.salt, &items) != header.attachments {
            return Err(Reason::InnerMismatch);
        }
        let index = usize::try_from(offer.index).map_err(|_| Reason::Malformed)?;
        let item = *items.get(index).ok_or(Reason::Malformed)?;
        Ok(Self { item, items })
    }
}

/// Before the salt and the list.
const TAG: &[u8] = b"relay/v1/attachments";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use bytes::Bytes;

    use super::*;
    use crate::receipt::fixture::Unit;

    fn items() -> Vec<Item> {
        let item = |text: &[u8]| Item { sha256: Digest::of(text), size: text.len() as u64 };
        vec![item(b"one"), item(b"other")]
    }

    fn offer(items: &[Item], index: u32) -> v1::AttachmentOffer {
        let listed = items.iter().map(|item| v1::ListedAttachment {
            sha256: Bytes::copy_from_slice(item.sha256.as_bytes()),
            size: item.size,
        });
        let salt = Bytes::from_static(&[7; 32]);
        v1::AttachmentOffer { header: None, salt, list: listed.collect(), index }
    }

    /// The bytes that are hashed, written out: tag, zero, salt, then digest and size of each.
    #[test]
    fn the_digest_is_over_salt_and_list() {
        let [one, other] = [items()[0], items()[1]];
        let mut bytes = b"relay/v1/attachments\0".to_vec();
        bytes.extend_from_slice(&[7; 32]);
        for (item, size) in [(one, 3u8), (other, 5)] {
            bytes.extend_from_slice(item.sha256.as_bytes());
            bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, size]);
        }
        assert_eq!(digest(&[7; 32], &items()), Some(Digest::of(&bytes)));
        assert_eq!(digest(&[7; 32], &[]), None);
        let mut hash = Hash::default();
        bytes.chunks(7).for_each(|piece| hash.update(piece));
        assert_eq!(hash.finish(), Digest::of(&bytes));
    }

    /// Another salt, order, size or number of attachments, or one that is not listed: refused.
    #[test]
    fn an_offer_is_held_to_the_header() {
        let mut header = Unit::new("xa.ncu", 1).header(&[&Unit::new("xb.ncu", 11)]);
        header.attachments = digest(&[7; 32], &items());
        let offered = Offered::check(&offer(&items(), 1), &header).unwrap();
        assert_eq!((offered.item, offered.items), (items()[1], items()));
        let refused = |offer: &v1::AttachmentOffer| Offered::check(offer, &header).unwrap_err();
        let mut larger = items();
        larger[1].size += 1;
        let reversed: Vec<Item> = items().into_iter().rev().collect();
        for list in [&items()[..1], &larger, &reversed, &[]] {
            assert_eq!(refused(&offer(list, 0)), Reason::InnerMismatch);
        }
        let salted = v1::AttachmentOffer { salt: vec![8; 32].into(), ..offer(&items(), 0) };
        assert_eq!(refused(&salted), Reason::InnerMismatch);
        assert_eq!(refused(&offer(&items(), 2)), Reason::Malformed);
        let short = v1::AttachmentOffer { salt: vec![7; 31].into(), ..offer(&items(), 0) };
        assert_eq!(refused(&short), Reason::Malformed);
        let many = vec![items()[0]; limits::ATTACHMENTS_MAX + 1];
        assert_eq!(refused(&offer(&many, 0)), Reason::TooLarge);
        header.attachments = None;
        let refused = Offered::check(&offer(&items(), 0), &header);
        assert_eq!(refused, Err(Reason::InnerMismatch));
    }
}
