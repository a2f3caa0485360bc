"""A unit made by this program alone: its keys, its card, what it signs. After PROTOCOL.md, sections 2 to 6 and 14.

Of ours it uses the stubs that a compiler made of proto/relay/v1, and nothing else.
"""
import datetime, hashlib, os, time, uuid

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from relay.v1 import alert_pb2, directory_pb2, envelope_pb2, link_pb2, payload_pb2

HOUR, DAY = 3_600_000, 86_400_000
PAYLOAD_BUCKETS = [size << 10 for size in (1, 2, 4, 8, 16, 32, 64, 256)]
CARD_HEAD = b"relay-card/v1\n"


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def now():
    return time.time_ns() // 1_000_000


def encoded(message):
    """Canonical as long as no field is unknown and no default of a submessage is written."""
    return message.SerializeToString(deterministic=True)


def public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(raw):
    return sha256(b"relay/v1/key\0ed25519\0", raw)[:16]


def fingerprint(one, other):
    """The sixty digits that people compare."""
    digest = hashlib.sha512(b"relay/v1/fingerprint\0" + min(one, other) + max(one, other)).digest()
    for _ in range(99_999):
        digest = hashlib.sha512(digest).digest()
    groups = (int.from_bytes(digest[at:at + 5], "big") % 100_000 for at in range(0, 60, 5))
    return "".join(f"{group:05}" for group in groups)


def sign(tag, message, unit, key):
    data = encoded(message)
    return envelope_pb2.Signed(
        key_id_hint=key_id(public(key)), algorithm_hint=envelope_pb2.ALGORITHM_ED25519, bytes=data,
        ed25519=key.sign(tag + b"\0" + sha256(data)))


def opened(tag, kind, signed, key):
    """The object inside, once its signature, its encoding and its signer are right."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signed.ed25519, tag + b"\0" + sha256(signed.bytes))
    except InvalidSignature as why:
        raise ValueError("bad signature") from why
    value = kind.FromString(signed.bytes)
    if encoded(value) != signed.bytes or value.signer.key_id != key_id(key):
        raise ValueError("not canonical, or another signer")
    return value


def read_card(file):
    """A card file: proven whole under the identity key that it states."""
    signed = envelope_pb2.Signed.FromString(file.removeprefix(CARD_HEAD))
    if CARD_HEAD + encoded(signed) != file:
        raise ValueError("not a card file")
    stated = directory_pb2.Card.FromString(signed.bytes).identity_key.public_key
    card = opened(b"relay/v1/card", directory_pb2.Card, signed, stated)
    if card.signer.unit != card.unit:
        raise ValueError("signed by another unit")
    return card


class Unit:
    """One unit with one node `a` that only dials."""

    def __init__(self, name):
        self.name = name
        make = Ed25519PrivateKey.generate
        self.identity, self.signing, self.log, self.transport = make(), make(), make(), make()
        self.instance_id, self.boot_id = os.urandom(16), os.urandom(16)
        self.transfers = 0

    def signer(self, key):
        return envelope_pb2.Signer(
            unit=self.name, key_id=key_id(public(key)), algorithm=envelope_pb2.ALGORITHM_ED25519, epoch=1)

    def card_file(self):
        def entry(kind, key):
            return directory_pb2.PublicKey(
                kind=kind, algorithm=envelope_pb2.ALGORITHM_ED25519, epoch=1, public_key=public(key),
                not_before_ms=now() - DAY, not_after_ms=now() + 365 * DAY, status=directory_pb2.KEY_STATUS_ACTIVE)
        log = directory_pb2.CardLog(
            origin=f"{self.name}/log/1", key=entry(directory_pb2.KEY_KIND_LOG, self.log),
            state=directory_pb2.LOG_STATE_OPEN)
        node = directory_pb2.CardNode(
            name="a", transport_keys=[entry(directory_pb2.KEY_KIND_TRANSPORT, self.transport)])
        card = directory_pb2.Card(
            version=1, unit=self.name, number=1, issued_at_ms=now(), phone_24x7="+1-202-555-0143",
            names=[directory_pb2.CardName(language="en", name="A unit in Python")], languages=["en"],
            identity_key=entry(directory_pb2.KEY_KIND_IDENTITY, self.identity),
            keys=[entry(directory_pb2.KEY_KIND_SIGNING, self.signing)], logs=[log], nodes=[node],
            signer=self.signer(self.identity))
        return CARD_HEAD + encoded(sign(b"relay/v1/card", card, self.name, self.identity))

    def certificate(self, key=None):
        """Certificate and key in PEM; nobody looks at its name and dates."""
        key = key or self.transport
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{self.name}/a")])
        at = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(at)
            .not_valid_after(at + datetime.timedelta(days=365)).sign(key, None))
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), secret

    def message(self, to, title, **other):
        """An envelope with an alert; `other` replaces fields of the header, `payload` the whole payload."""
        message_id = other.pop("message_id", None) or uuid7()
        payload = other.pop("payload", None) or os.urandom(32) + encoded(alert(self.name, to, message_id, title))
        fields = dict(
            version=1, message_id=message_id, to=[to], profile="budapest-247", created_at_ms=now(),
            expires_at_ms=now() + HOUR, priority=envelope_pb2.PRIORITY_ROUTINE, payload_digest=sha256(payload),
            payload_bucket=next(i for i, size in enumerate(PAYLOAD_BUCKETS) if len(payload) <= size), max_hops=1,
            signer=self.signer(self.signing))
        fields["from"] = self.name
        header = envelope_pb2.Header(**{**fields, **other})
        return envelope_pb2.Envelope(header=sign(b"relay/v1/envelope", header, self.name, self.signing), clear=payload)

    def transfer(self, envelope, **other):
        self.transfers += 1
        return link_pb2.Transfer(number=self.transfers, envelope=envelope, **other)


def uuid7():
    raw = bytearray(now().to_bytes(6, "big") + os.urandom(10))
    raw[6], raw[8] = raw[6] & 0x0F | 0x70, raw[8] & 0x3F | 0x80
    return bytes(raw)


def alert(sender, to, message_id, title):
    at = now()
    body = alert_pb2.Alert(
        alert_id=uuid.uuid4().bytes, revision=1, lifecycle=alert_pb2.LIFECYCLE_NEW, alert_type=alert_pb2.ALERT_TYPE_WARN,
        category="fraud/phishing", severity=alert_pb2.SEVERITY_LOW, title=title, summary="A wave in the name of a bank.",
        observed_from_ms=at - HOUR, confidence_plus_one=81, affected_countries=["XA"], valid_until_ms=at + DAY,
        action_requested=[alert_pb2.ACTION_REQUESTED_CHECK_OWN_SYSTEMS],
        dissemination=alert_pb2.Dissemination(audience=alert_pb2.AUDIENCE_NAMED, onward=alert_pb2.ANSWER_YES))
    payload = payload_pb2.Payload(
        to=[to], message_id=message_id, kind=payload_pb2.KIND_ALERT, case_id=uuid.uuid4().bytes,
        handling=payload_pb2.Handling(
            tlp=payload_pb2.TLP_AMBER_STRICT, classification=payload_pb2.CLASSIFICATION_BPL),
        legal_basis=[payload_pb2.LegalBasis(instrument="ETS185", article="26")], language="en",
        authority=payload_pb2.Authority(organisation="A unit in Python", phone="+1-202-555-0143"),
        sender_ref="PY-1", exercise=True, alert=body)
    setattr(payload, "from", sender)
    return payload
