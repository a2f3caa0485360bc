//! A payload as it travels in the clear: 32 random bytes, then its canonical bytes.
//!
//! Enter through [`clear_bytes`] and [`open_clear`]. Randomness is an argument. Invariant: what
//! [`open_clear`] takes is byte for byte what [`clear_bytes`] makes of the same salt and payload.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;

use crate::{
    attachment,
    envelope::Header,
    ids::UnitId,
    limits,
    reason::Reason,
    scan::{self, ScanError, schema},
    v1,
};

/// The clear payload bytes; the salt keeps their digest from being guessed, also after erasure.
pub fn clear_bytes(salt: [u8; limits::PAYLOAD_SALT_BYTES], payload: &v1::Payload) -> Bytes {
    let mut bytes = BytesMut::with_capacity(salt.len() + payload.encoded_len());
    bytes.put_slice(&salt);
    payload.encode_raw(&mut bytes);
    bytes.freeze()
}

/// The payload in clear payload bytes whose digest was compared with the header's before.
pub fn open_clear(clear: &Bytes) -> Result<v1::Payload, ScanError> {
    if clear.len() > limits::PAYLOAD_BYTES_MAX {
        let max = limits::PAYLOAD_BYTES_MAX;
        return Err(ScanError::TooLarge { message: "Payload", got: clear.len(), max });
    }
    if clear.len() < limits::PAYLOAD_SALT_BYTES {
        let why = "shorter than the 32 random bytes that come first";
        return Err(ScanError::NotCanonical { message: "Payload", field: "*".to_owned(), why });
    }
    let bytes = clear.slice(limits::PAYLOAD_SALT_BYTES..);
    scan::decode(&bytes, &schema::PAYLOAD, limits::PAYLOAD_BYTES_MAX)
}

/// Compares the payload's own copy of sender, recipients and id with the header, else a carrier
/// could put its own header before another's payload; and its list of attachments with the digest
/// there. `clear` is what the payload was opened from.
pub fn check_inner(clear: &[u8], payload: &v1::Payload, header: &Header) -> Result<(), Reason> {
    let salt = clear.get(..limits::PAYLOAD_SALT_BYTES).unwrap_or_default();
    let listed = attachment::listed(payload).map_err(|reason| match reason {
        Reason::TooLarge => reason,
        _ => Reason::InvalidContent,
    })?;
    let same = payload.from == header.from.as_str()
        && payload.to.iter().map(String::as_str).eq(header.to.iter().map(UnitId::as_str))
        && payload.message_id == header.message_id.as_bytes().as_slice()
        && attachment::digest(salt, &listed) == header.attachments;
    if same { Ok(()) } else { Err(Reason::InnerMismatch) }
}

/// The index of the smallest size bucket that holds `size` bytes; none if the size is over the
/// limit.
pub fn bucket(size: usize) -> Option<u32> {
    let index = limits::PAYLOAD_BUCKETS.iter().position(|bucket| size <= *bucket)?;
    u32::try_from(index).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;
    use crate::receipt::fixture::Unit;

    fn payload() -> v1::Payload {
        v1::Payload {
            from: "xa.cyber-poc".to_owned(),
            to: vec!["xb.ncu".to_owned()],
            message_id: Bytes::from_static(&[7; 16]),
            ..Default::default()
        }
    }

    /// Any other sender, recipient, order of recipients, id or list of attachments is a mismatch.
    #[test]
    fn inner_copy_must_be_the_headers() {
        let unit = Unit::new("xa.ncu", 1);
        let header = unit.header(&[&Unit::new("xb.ncu", 11)]);
        let payload = v1::Payload {
            from: "xa.ncu".to_owned(),
            to: vec!["xb.ncu".to_owned()],
            message_id: Bytes::copy_from_slice(header.message_id.as_bytes()),
            ..Default::default()
        };
        let salt = [9; 32];
        assert_eq!(check_inner(&salt, &payload, &header), Ok(()));
        let attached =
            v1::Attachment { sha256: Bytes::from_static(&[1; 32]), size: 5, ..Default::default() };
        let with = v1::Payload { attachments: vec![attached], ..payload.clone() };
        let items = attachment::listed(&with).unwrap();
        let lists = Header { attachments: attachment::digest(&salt, &items), ..header.clone() };
        assert_eq!(check_inner(&salt, &with, &lists), Ok(()));
        assert_eq!(check_inner(&[8; 32], &with, &lists), Err(Reason::InnerMismatch));
        assert_eq!(check_inner(&salt, &payload, &lists), Err(Reason::InnerMismatch));
        let mut broken = with.clone();
        broken.attachments[0].sha256 = Bytes::from_static(&[1; 31]);
        assert_eq!(check_inner(&salt, &broken, &lists), Err(Reason::InvalidContent));
        let others = [
            v1::Payload { from: "xc.ncu".to_owned(), ..payload.clone() },
            v1::Payload { to: vec![], ..payload.clone() },
            v1::Payload { to: vec!["xb.ncu".to_owned(); 2], ..payload.clone() },
            v1::Payload { message_id: Bytes::from_static(&[8; 16]), ..payload },
            with,
        ];
        for other in others {
            assert_eq!(check_inner(&salt, &other, &header), Err(Reason::InnerMismatch));
        }
    }

    #[test]
    fn buckets_are_the_smallest_that_fit() {
        let sizes = [0, 1024, 1025, 64 << 10, (64 << 10) + 1, 256 << 10, (256 << 10) + 1];
        let expected = [Some(0), Some(0), Some(1), Some(6), Some(7), Some(7), None];
        assert_eq!(sizes.map(bucket), expected);
    }

    /// Too short, too long and a second reading of the same payload are refused.
    #[test]
    fn only_canonical_bytes_open() {
        let clear = clear_bytes([9; 32], &payload());
        assert_eq!(open_clear(&clear).unwrap(), payload());
        assert!(open_clear(&clear.slice(..31)).is_err());
        let long = Bytes::from(vec![0; limits::PAYLOAD_BYTES_MAX + 1]);
        assert_eq!(open_clear(&long).unwrap_err().reason(), Reason::TooLarge);
        let mut second = clear.to_vec();
        second.extend_from_slice(&[0xf8, 0x07, 1]);
        assert_eq!(open_clear(&second.into()).unwrap_err().reason(), Reason::Malformed);
    }

    proptest! {
        /// No bytes make the opening panic, and what opens is made of the same bytes.
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..96)) {
            let clear = Bytes::from(bytes);
            if let Ok(payload) = open_clear(&clear) {
                prop_assert_eq!(clear_bytes(clear[..32].try_into().unwrap(), &payload), clear);
            }
        }
    }
}
