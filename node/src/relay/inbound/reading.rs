//! Reading what arrived: its header, its content, and what is told of a copy that is at fault.

use bytes::Bytes;
use relay_core::policy::kind_allowed;
use relay_proto::{
    envelope::{Header, HeaderError},
    ids::Digest,
    payload::{self, Payload},
    reason::Reason,
    v1,
};

use crate::relay::{Context, submit};

/// The header that a known key signed, and whether that key may sign one of its date; or what is
/// wrong with this copy.
pub(super) fn opened(
    ctx: &Context,
    signed: &v1::Signed,
) -> Result<(Header, Result<(), Reason>), (Reason, String)> {
    let snapshot = ctx.parts.directory.snapshot();
    let find = |id| snapshot.signing_key(id).map(|(unit, key)| (unit.clone(), key.key));
    let header = Header::open(signed, find).map_err(|error| match error {
        HeaderError::Signed(error) => (error.reason(), error.to_string()),
        // Its sender did sign it, but without a checked header there is nothing to put on a
        // receipt.
        HeaderError::Rule(reason) => (reason, reason.to_string()),
    })?;
    let key = match snapshot.signing_key(header.key_id) {
        Some((_, key)) => key.check_at(header.created_at),
        None => Err(Reason::UnknownKey),
    };
    Ok((header, key))
}

/// Reads the payload. Its digest is the header's, so what is wrong with it is its sender's doing;
/// but for `INTERNAL`: that is ours, and no verdict.
pub(super) fn content(ctx: &Context, header: &Header, clear: &Bytes) -> Result<Payload, Reason> {
    let raw = payload::open_clear(clear).map_err(|error| error.reason())?;
    payload::check_inner(clear, &raw, header)?;
    let profile = ctx.profile(&header.profile).ok_or(Reason::UnknownProfile)?;
    if raw.kind() == v1::Kind::Unspecified {
        return Err(Reason::UnsupportedKind);
    }
    kind_allowed(profile, raw.kind())?;
    let kinds = submit::kinds(profile);
    let context = submit::payload_context(profile, header.priority, &kinds);
    let content = Payload::parse(&raw, &context).map_err(|faults| faults.reason())?;
    ctx.takes(profile, &content)?;
    Ok(content)
}

/// An unsigned word about this copy, and no verdict.
pub(super) fn fault(transfer: &v1::Transfer, reason: Reason, detail: String) -> v1::TransferFault {
    let envelope = transfer.envelope.as_ref();
    let header = envelope.and_then(|envelope| envelope.header.as_ref());
    let header = header.map(|header| Digest::of(&header.bytes));
    let payload = envelope.and_then(|envelope| match &envelope.payload {
        Some(v1::envelope::Payload::Clear(bytes) | v1::envelope::Payload::Sealed(bytes)) => {
            Some(Digest::of(bytes))
        }
        None => None,
    });
    let bytes = |digest: Option<Digest>| {
        digest.map(|digest| Bytes::copy_from_slice(digest.as_bytes())).unwrap_or_default()
    };
    v1::TransferFault {
        number: transfer.number,
        header_digest: bytes(header),
        payload_digest: bytes(payload),
        reason: reason.label().to_owned(),
        detail,
    }
}
