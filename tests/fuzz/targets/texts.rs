//! Names, ids, keys, addresses and times as people and files write them.

use std::{fmt::Display, str::FromStr};

use relay_node::config::{host_and_port, language};
use relay_proto::{
    ids::{Digest, LogOrigin, MessageId, NodeId, ShortId, UnitId, Uuid},
    keys::{KeyId, PublicKey},
    reason::Reason,
    timestamp::Timestamp,
    tlog::VerifierKey,
};

/// Whether the text is one of `T`'s; there is one spelling, so it is printed as it was read.
fn exact<T: FromStr + Display>(text: &str) -> bool {
    let read: Result<T, _> = text.parse();
    read.is_ok_and(|value| {
        assert_eq!(value.to_string(), text, "one spelling");
        true
    })
}

/// Ids and names, as text and as bytes.
pub fn id(bytes: &[u8]) -> bool {
    let of_bytes = [
        MessageId::from_bytes(bytes).is_ok_and(|id| id.to_string().parse() == Ok(id)),
        Uuid::from_bytes(bytes).is_ok_and(|id| id.to_string().parse() == Ok(id)),
        Digest::from_bytes(bytes).is_ok_and(|digest| digest.to_string().parse() == Ok(digest)),
    ];
    let Ok(text) = std::str::from_utf8(bytes) else { return of_bytes.contains(&true) };
    let named = exact::<UnitId>(text) || exact::<NodeId>(text) || exact::<LogOrigin>(text);
    // People write these with and without hyphens, in either case: what is printed reads the same.
    let short: Option<ShortId> = text.parse().ok();
    let uuid: Option<Uuid> = text.parse().ok();
    let message: Option<MessageId> = text.parse().ok();
    assert!(short.is_none_or(|id| id.to_string().parse() == Ok(id)));
    assert!(uuid.is_none_or(|id| id.to_string().parse() == Ok(id)));
    assert!(message.is_none_or(|id| id.to_string().parse() == Ok(id)));
    let any = named || exact::<Digest>(text) || exact::<Reason>(text);
    any || short.is_some() || uuid.is_some() || of_bytes.contains(&true)
}

/// Keys and their ids.
pub fn key(bytes: &[u8]) -> bool {
    let public = PublicKey::from_bytes(bytes).or_else(|_| PublicKey::from_spki(bytes));
    if let Ok(key) = &public {
        assert_eq!(PublicKey::from_spki(&key.spki()).ok(), Some(*key));
        assert!(key.verify(b"x", bytes).is_err(), "a key is no signature");
    }
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    public.is_ok() || KeyId::from_bytes(bytes).is_ok() || exact::<VerifierKey>(text)
}

/// Where a node listens or is dialled, and what language a unit speaks.
pub fn address(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let address = host_and_port(text);
    if let Ok(address) = &address {
        assert_eq!(host_and_port(address).as_ref(), Ok(address), "what is taken is taken again");
    }
    address.is_ok() || language(text).is_ok()
}

/// Instants of files and of the API.
pub fn time(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let read: Result<Timestamp, _> = text.parse();
    read.is_ok_and(|at| {
        assert_eq!(at.to_string().parse(), Ok(at), "printed and read again");
        assert!(at <= Timestamp::MAX, "not beyond the year 9999");
        true
    })
}
