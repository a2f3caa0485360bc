//! The directory of a node's keys.
//!
//! | file | content | without it |
//! |---|---|---|
//! | `identity.key` | signs cards; above all others; taken offline after `init` | the node runs |
//! | `signing-1.key` | signs envelopes and deferrals | no start |
//! | `log-N.key` | signs the checkpoints of generation N of the unit's log | no start |
//! | `witness-1.key` | cosigns other units' checkpoints | no start |
//! | `transport-1.key` | the TLS key that peers pin | no start |
//! | `instance.id` | tells this node from a copy of it | no start |
//! | `quic-reset.key` | stateless resets that outlive a restart (RFC 9000 10.3.1) | no start |
//!
//! Keys are PKCS#8 version 1 in PEM (RFC 8410), without the public key, which every TLS library
//! reads. Invariant:
//! [`KeyStore::open`] takes the directory as a whole or not at all.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use data_encoding::HEXLOWER;
use ed25519_dalek::{
    SigningKey,
    pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding},
};
use rand::{TryRng, rngs::SysRng};
use relay_proto::keys::PublicKey;
use zeroize::{Zeroize, Zeroizing};

use super::{
    KeyStoreError, file,
    signer::{FileSigner, Signer},
};

/// The opened working keys of a node.
pub struct KeyStore {
    signer: Signer,
    transport: SecretKey,
    instance: InstanceId,
    reset: ResetKey,
}

/// What [`KeyStore::create`] made besides the working keys.
pub struct Identity(SecretKey);

impl KeyStore {
    /// Makes a directory with new keys, durable when this returns; one that exists is refused.
    pub fn create(dir: &Path) -> Result<(Self, Identity), KeyStoreError> {
        file::create_dir(dir)?;
        let make = |name: &str| -> Result<SecretKey, KeyStoreError> {
            let key = SecretKey::random(EPOCH)?;
            file::create(&dir.join(name), key.pem().as_bytes())?;
            Ok(key)
        };
        let identity = Identity(make(IDENTITY)?);
        let (signing, log) = (make(SIGNING)?, make(&log_file(EPOCH))?);
        let (witness, transport) = (make(WITNESS)?, make(TRANSPORT)?);
        let instance = InstanceId(random()?);
        file::create(&dir.join(INSTANCE), format!("{instance}\n").as_bytes())?;
        let reset = ResetKey(Zeroizing::new(random()?));
        let text = Zeroizing::new(HEXLOWER.encode(&*reset.0));
        file::create(&dir.join(RESET), text.as_bytes())?;
        file::sync_dir(dir)?;
        let signer = Signer::File(Arc::new(FileSigner { signing, log, witness }));
        Ok((Self { signer, transport, instance, reset }, identity))
    }

    /// Opens the working keys, with the key of this generation of the log; `identity.key` is
    /// neither needed nor read.
    pub fn open(dir: &Path, generation: u32) -> Result<Self, KeyStoreError> {
        file::check_dir(dir)?;
        let key = |name: &str| SecretKey::read(dir.join(name), EPOCH);
        let log = SecretKey::read(dir.join(log_file(generation)), generation)?;
        let (signing, witness) = (key(SIGNING)?, key(WITNESS)?);
        let signer = Signer::File(Arc::new(FileSigner { signing, log, witness }));
        let instance = InstanceId(hex(dir.join(INSTANCE), "32 hexadecimal digits")?);
        let reset = ResetKey(Zeroizing::new(hex(dir.join(RESET), "64 hexadecimal digits")?));
        Ok(Self { signer, transport: key(TRANSPORT)?, instance, reset })
    }

    /// Makes the key of a later generation of the log, durably; one that an attempt left that was
    /// cut off is taken.
    pub fn make_log_key(dir: &Path, generation: u32) -> Result<SecretKey, KeyStoreError> {
        let path = dir.join(log_file(generation));
        let key = SecretKey::random(generation)?;
        match file::create(&path, key.pem().as_bytes()) {
            Err(KeyStoreError::Exists(_)) => return SecretKey::read(path, generation),
            made => made?,
        }
        file::sync_dir(dir)?;
        Ok(key)
    }

    /// Who signs for the unit.
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// The TLS key.
    pub fn transport(&self) -> &SecretKey {
        &self.transport
    }

    /// Tells this node from a copy of it.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// The key of stateless resets.
    pub fn reset_key(&self) -> &ResetKey {
        &self.reset
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the identity key from where it is kept, to sign a card.
    pub fn open(path: PathBuf) -> Result<Self, KeyStoreError> {
        SecretKey::read(path, EPOCH).map(Self)
    }

    /// The key that peers compare by telephone.
    pub fn public(&self) -> PublicKey {
        self.0.public()
    }

    /// Signs a card's input.
    pub fn sign(&self, input: &[u8]) -> [u8; 64] {
        use ed25519_dalek::Signer as _;
        self.0.dalek().sign(input).to_bytes()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({:?})", self.0)
    }
}

/// A private Ed25519 key; wiped from memory when dropped, printed without its secret.
pub struct SecretKey {
    key: SigningKey,
    public: PublicKey,
    epoch: u32,
}

impl SecretKey {
    fn random(epoch: u32) -> Result<Self, KeyStoreError> {
        let seed = Zeroizing::new(random()?);
        Ok(Self::new(SigningKey::from_bytes(&seed), epoch))
    }

    fn read(path: PathBuf, epoch: u32) -> Result<Self, KeyStoreError> {
        let bytes = file::read(&path)?;
        let key = std::str::from_utf8(&bytes)
            .ok()
            .and_then(|text| SigningKey::from_pkcs8_pem(text).ok())
            .ok_or(KeyStoreError::Malformed { path, wanted: "an Ed25519 key in PKCS#8 PEM" })?;
        Ok(Self::new(key, epoch))
    }

    fn new(key: SigningKey, epoch: u32) -> Self {
        let public = PublicKey::from_bytes(key.verifying_key().as_bytes())
            .expect("a public key derived from a private one is not weak");
        Self { key, public, epoch }
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Counts the keys of one kind, from 1.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// The key as PKCS#8 version 1 in DER, for the TLS library.
    pub fn pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        let document = self.bytes().to_pkcs8_der().expect("an Ed25519 key fits PKCS#8");
        Zeroizing::new(document.as_bytes().to_vec())
    }

    fn pem(&self) -> Zeroizing<String> {
        self.bytes().to_pkcs8_pem(LineEnding::LF).expect("an Ed25519 key fits PKCS#8")
    }

    fn bytes(&self) -> KeypairBytes {
        KeypairBytes { secret_key: self.key.to_bytes(), public_key: None }
    }

    pub(super) fn dalek(&self) -> &SigningKey {
        &self.key
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(redacted, public {})", self.public.id())
    }
}

/// Random, made by `init`; a copy of the whole directory shows by having the same one at two
/// places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId([u8; 16]);

impl InstanceId {
    /// The 16 bytes, as in Hello.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The key of QUIC stateless resets; whoever has it can end our sessions.
pub struct ResetKey(Zeroizing<[u8; 32]>);

impl ResetKey {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(redacted)")
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeyStoreError> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(|error| {
        bytes.zeroize();
        KeyStoreError::Random(io::Error::other(error.to_string()))
    })?;
    Ok(bytes)
}

fn hex<const N: usize>(path: PathBuf, wanted: &'static str) -> Result<[u8; N], KeyStoreError> {
    let text = file::read(&path)?;
    let decoded = HEXLOWER.decode(text.trim_ascii_end()).map(Zeroizing::new);
    decoded
        .ok()
        .and_then(|bytes| bytes.as_slice().try_into().ok())
        .ok_or(KeyStoreError::Malformed { path, wanted })
}

/// The first key of a kind; rotation counts on.
const EPOCH: u32 = 1;

const IDENTITY: &str = IDENTITY_FILE;
const SIGNING: &str = "signing-1.key";
const WITNESS: &str = "witness-1.key";
const TRANSPORT: &str = "transport-1.key";
const INSTANCE: &str = "instance.id";
const RESET: &str = "quic-reset.key";

/// The identity key, which is taken offline.
pub const IDENTITY_FILE: &str = "identity.key";

/// The files that a running node needs, beside the key of the open log.
pub const REQUIRED_FILES: [&str; 5] = [SIGNING, WITNESS, TRANSPORT, INSTANCE, RESET];

/// The file of the key of a generation of the log.
pub fn log_file(generation: u32) -> String {
    format!("log-{generation}.key")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        fs,
        os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    };

    use super::*;
    use crate::keys::KeyUse;

    fn made() -> (tempfile::TempDir, PathBuf, KeyStore, Identity) {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("keys");
        let (store, identity) = KeyStore::create(&dir).unwrap();
        (parent, dir, store, identity)
    }

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What was made is what is opened; all modes are right from the start.
    #[tokio::test]
    async fn keys_come_back() {
        let (_parent, dir, made, identity) = made();
        let opened = KeyStore::open(&dir, 1).unwrap();
        assert_eq!(opened.instance(), made.instance());
        assert_eq!(opened.reset_key().as_bytes(), made.reset_key().as_bytes());
        assert_eq!(opened.transport().public(), made.transport().public());
        for key in [KeyUse::Envelope, KeyUse::Checkpoint, KeyUse::Deferral, KeyUse::Cosignature] {
            let signature = opened.signer().sign(key, b"input").await.unwrap();
            made.signer().public(key).verify(b"input", &signature).unwrap();
        }
        assert_ne!(
            made.signer().key_id(KeyUse::Envelope),
            made.signer().key_id(KeyUse::Checkpoint)
        );
        let again = Identity::open(dir.join(IDENTITY)).unwrap();
        assert_eq!(again.public(), identity.public());

        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o7777, 0o700);
        for name in REQUIRED_FILES.iter().chain([&IDENTITY]) {
            assert_eq!(fs::metadata(dir.join(name)).unwrap().mode() & 0o7777, 0o600, "{name}");
        }
    }

    /// The identity key may be away; each working file may not.
    #[test]
    fn only_the_identity_key_may_be_offline() {
        let (_parent, dir, _, _) = made();
        fs::remove_file(dir.join(IDENTITY)).unwrap();
        KeyStore::open(&dir, 1).unwrap();
        for name in REQUIRED_FILES {
            let aside = dir.join("aside");
            fs::rename(dir.join(name), &aside).unwrap();
            let error = KeyStore::open(&dir, 1).unwrap_err();
            assert!(matches!(&error, KeyStoreError::Missing(path) if path.ends_with(name)));
            fs::rename(&aside, dir.join(name)).unwrap();
        }
        KeyStore::open(&dir, 1).unwrap();
    }

    /// A second creation over the first is refused and changes nothing.
    #[test]
    fn keys_are_never_overwritten() {
        let (_parent, dir, made, _) = made();
        assert!(matches!(KeyStore::create(&dir).unwrap_err(), KeyStoreError::Exists(_)));
        let path = dir.join(SIGNING);
        assert!(matches!(file::create(&path, b"x").unwrap_err(), KeyStoreError::Exists(_)));
        assert_eq!(KeyStore::open(&dir, 1).unwrap().instance(), made.instance());
    }

    /// Any mode that lets others in is refused with the command that helps; stricter modes are
    /// fine.
    #[test]
    fn open_modes_are_refused() {
        let (_parent, dir, _, _) = made();
        for name in REQUIRED_FILES {
            let path = dir.join(name);
            for bad in [0o640, 0o604, 0o620, 0o700] {
                mode(&path, bad);
                let error = KeyStore::open(&dir, 1).unwrap_err();
                assert!(matches!(error, KeyStoreError::Permissions { wanted: 0o600, .. }), "{bad}");
                let mend = format!("chmod 600 {}", path.display());
                assert!(error.to_string().contains(&mend), "{error}");
            }
            mode(&path, 0o400);
            KeyStore::open(&dir, 1).unwrap();
        }
        for bad in [0o750, 0o701, 0o1700] {
            mode(&dir, bad);
            let error = KeyStore::open(&dir, 1).unwrap_err();
            assert!(error.to_string().contains("chmod 700"), "{error}");
        }
        mode(&dir, 0o500);
        KeyStore::open(&dir, 1).unwrap();
        mode(&dir, 0o700);
    }

    /// A link, a directory and other bytes in place of a key are refused.
    #[test]
    fn only_a_key_is_a_key() {
        let (_parent, dir, _, _) = made();
        let path = dir.join(log_file(1));
        let good = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(dir.join(SIGNING), &path).unwrap();
        assert!(matches!(KeyStore::open(&dir, 1).unwrap_err(), KeyStoreError::Malformed { .. }));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(KeyStore::open(&dir, 1).unwrap_err(), KeyStoreError::Malformed { .. }));
        fs::remove_dir(&path).unwrap();
        for bytes in [&b""[..], b"-----BEGIN PRIVATE KEY-----\n", &[0xff; 200], &[b'a'; 5000]] {
            file::create(&path, bytes).unwrap();
            assert!(matches!(
                KeyStore::open(&dir, 1).unwrap_err(),
                KeyStoreError::Malformed { .. }
            ));
            fs::remove_file(&path).unwrap();
        }
        file::create(&path, &good).unwrap();
        KeyStore::open(&dir, 1).unwrap();
    }

    /// No form of printing shows a secret.
    #[test]
    fn printing_redacts() {
        let (_parent, dir, made, identity) = made();
        let printed = format!("{made:?} {identity:?} {:?} {:?}", made.transport(), made.signer());
        let printed = format!("{printed} {:?}", made.reset_key());
        for secret in [made.transport().dalek().to_bytes(), *made.reset_key().as_bytes()] {
            assert!(!printed.contains(&HEXLOWER.encode(&secret)));
            assert!(!printed.contains(&format!("{secret:?}")));
        }
        let pem = fs::read_to_string(dir.join(TRANSPORT)).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{}", pem.len());
        assert!(printed.contains("redacted"));
    }

    /// The DER form is the 48 bytes of RFC 8410 section 7 without public key.
    #[test]
    fn der_is_version_one() {
        let (_parent, _, made, _) = made();
        let der = made.transport().pkcs8_der();
        assert_eq!(der.len(), 48);
        assert_eq!(der.get(..5), Some(&[0x30, 0x2e, 0x02, 0x01, 0x00][..]));
    }
}
