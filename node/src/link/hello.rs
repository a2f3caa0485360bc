//! Hello: what each side says about itself first, and what is checked of the other's.
//!
//! Pure. Invariant: a Hello is taken only when it names the node whose key was pinned.

use relay_proto::{ids::NodeId, limits, signed::check_extensions, v1};

use super::{
    close::{CloseCode, Closed},
    identity::LocalNode,
};

/// Fills in what is the link's own.
pub(super) fn complete(mut hello: v1::Hello, local: &LocalNode) -> v1::Hello {
    hello.versions = vec![VERSION];
    hello.unit = local.node.unit().to_string();
    hello.node = local.node.name().to_owned();
    hello.instance_id = local.instance_id.to_vec().into();
    hello.boot_id = local.boot_id.to_vec().into();
    let limits = hello.limits.get_or_insert_default();
    limits.frame_bytes_max = u32::try_from(limits::FRAME_BYTES_MAX).unwrap_or(u32::MAX);
    hello
}

/// What arbitration needs of a checked Hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) instance: [u8; 16],
    pub(super) boot: [u8; 16],
    /// The longest frame that may be sent on a lane of envelopes.
    pub(super) envelope_bytes_max: usize,
}

/// Checks a peer's Hello against the node whose key was pinned. What it says about logs, clocks and
/// heads is for the relay to judge.
pub(super) fn check(hello: &v1::Hello, pinned: &NodeId) -> Result<Checked, HelloError> {
    if hello.unit != pinned.unit().as_str() || hello.node != pinned.name() {
        return Err(HelloError::WrongName);
    }
    if hello.versions.len() > VERSIONS_MAX || !hello.versions.contains(&VERSION) {
        return Err(HelloError::Version);
    }
    check_extensions(&hello.extensions).map_err(|_| HelloError::Extension)?;
    let notes = [&hello.own_checkpoint, &hello.held_checkpoint, &hello.held_cosignature];
    if notes.iter().any(|note| note.len() > limits::NOTE_BYTES_MAX) {
        return Err(HelloError::Field("a note is too long"));
    }
    let printable = hello.software.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
    if hello.software.len() > SOFTWARE_BYTES_MAX || !printable {
        return Err(HelloError::Field("software is not a short printable text"));
    }
    if !matches!(hello.revocations_digest.len(), 0 | 32) {
        return Err(HelloError::Field("the revocations digest is no digest"));
    }
    let id = |bytes: &[u8], why| <[u8; 16]>::try_from(bytes).map_err(|_| HelloError::Field(why));
    let instance = id(&hello.instance_id, "the instance id has not 16 bytes")?;
    let boot = id(&hello.boot_id, "the boot id has not 16 bytes")?;
    let stated = hello.limits.as_ref().map_or(0, |limits| limits.frame_bytes_max);
    let stated = usize::try_from(stated).unwrap_or(usize::MAX);
    let envelope_bytes_max = match stated {
        0 => limits::FRAME_BYTES_MAX,
        1..FRAME_BYTES_LEAST => return Err(HelloError::Field("frames would be too short")),
        stated => stated.min(limits::FRAME_BYTES_MAX),
    };
    Ok(Checked { instance, boot, envelope_bytes_max })
}

/// Why a Hello was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HelloError {
    /// Another unit's or node's name under this key.
    #[error("hello names another node than the key does")]
    WrongName,
    /// No version in common.
    #[error("no common version")]
    Version,
    /// Extensions out of order, or a critical one.
    #[error("extensions that this version does not take")]
    Extension,
    /// A field breaks a rule.
    #[error("{0}")]
    Field(&'static str),
}

impl From<HelloError> for Closed {
    fn from(error: HelloError) -> Self {
        let code = match error {
            HelloError::WrongName => CloseCode::WrongName,
            HelloError::Version => CloseCode::Version,
            HelloError::Extension => CloseCode::Extension,
            HelloError::Field(_) => CloseCode::Malformed,
        };
        Self::by_us(code, error.to_string())
    }
}

/// Longest Hello: three notes and the rest.
pub(super) const HELLO_BYTES_MAX: usize = 4 * limits::NOTE_BYTES_MAX;

/// Longest `Open`: a tag, a length, a tag and a lane.
pub(super) const OPEN_BYTES_MAX: usize = 8;

/// The version of the link that this node speaks.
const VERSION: u32 = 1;

/// More versions than there will be.
const VERSIONS_MAX: usize = 16;

/// Name and version of a program.
const SOFTWARE_BYTES_MAX: usize = 64;

/// A peer that takes less cannot take an envelope with one payload bucket of 64 KiB.
const FRAME_BYTES_LEAST: usize = 96 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn local() -> LocalNode {
        LocalNode { node: "xa.ncu/a".parse().unwrap(), instance_id: [1; 16], boot_id: [2; 16] }
    }

    fn hello() -> v1::Hello {
        complete(v1::Hello { software: "relay 0.1".to_owned(), ..Default::default() }, &local())
    }

    #[test]
    fn our_own_hello_is_taken() {
        let checked = check(&hello(), &local().node).unwrap();
        let envelope_bytes_max = limits::FRAME_BYTES_MAX;
        assert_eq!(checked, Checked { instance: [1; 16], boot: [2; 16], envelope_bytes_max });
    }

    /// Each rule is broken alone, and refused under its own name.
    #[test]
    fn each_broken_rule_is_refused() {
        let refused = |change: fn(&mut v1::Hello)| {
            let mut hello = hello();
            change(&mut hello);
            check(&hello, &local().node).unwrap_err()
        };
        assert_eq!(refused(|h| h.unit = "xb.ncu".to_owned()), HelloError::WrongName);
        assert_eq!(refused(|h| h.node = "b".to_owned()), HelloError::WrongName);
        assert_eq!(refused(|h| h.versions = vec![2]), HelloError::Version);
        assert_eq!(refused(|h| h.versions = vec![1; 17]), HelloError::Version);
        let critical = |h: &mut v1::Hello| {
            h.extensions = vec![v1::Extension { r#type: 9, critical: true, ..Default::default() }];
        };
        assert_eq!(refused(critical), HelloError::Extension);
        let field = |change| matches!(refused(change), HelloError::Field(_));
        assert!(field(|h| h.instance_id = vec![1; 15].into()));
        assert!(field(|h| h.boot_id = vec![1; 17].into()));
        assert!(field(|h| h.software = "x\n".to_owned()));
        assert!(field(|h| h.software = "x".repeat(65)));
        assert!(field(|h| h.own_checkpoint = "x".repeat(limits::NOTE_BYTES_MAX + 1)));
        assert!(field(|h| h.revocations_digest = vec![0; 31].into()));
        assert!(field(|h| h.limits.as_mut().unwrap().frame_bytes_max = 1));
    }

    /// The largest Hello that is allowed fits its frame.
    #[test]
    fn the_longest_hello_fits() {
        let note = "x".repeat(limits::NOTE_BYTES_MAX);
        let mut hello = hello();
        hello.own_checkpoint.clone_from(&note);
        hello.held_checkpoint.clone_from(&note);
        hello.held_cosignature = note;
        check(&hello, &local().node).unwrap();
        assert!(prost::Message::encoded_len(&hello) < HELLO_BYTES_MAX - 1024);
    }
}
