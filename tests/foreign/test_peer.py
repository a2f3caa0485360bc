#!/usr/bin/env python3
"""A peer that shares nothing with the node but PROTOCOL.md: its QUIC is aioquic's and qh3's, its keys, card, frames,
messages and checks of receipts are Python's. It exchanges with a real node, and tries what must be refused.

usage: test_peer.py FOLDER_OF_BINARIES FOLDER_OF_STUBS
"""
import collections, copy, os, sys, tempfile, time

BINARIES, STUBS = sys.argv[1:]
sys.path.insert(0, STUBS)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from relay.v1 import directory_pb2, envelope_pb2, link_pb2, receipt_pb2  # noqa: E402
from link import WAIT, Aioquic, Closed, Late, Qh3, Session, framed  # noqa: E402
from node import Program, until  # noqa: E402
from receipts import Held  # noqa: E402
from unit import DAY, Unit, fingerprint, now, public, read_card, sha256, uuid7  # noqa: E402

ROUTINE = link_pb2.LANE_ROUTINE
SHOW = ["peer", "show"]
CONSIGNED, REFUSED = receipt_pb2.EVENT_CONTENT_CONSIGNMENT, receipt_pb2.EVENT_RELAY_REJECTION
# PROTOCOL.md, section 12: alerts of TLS, as QUIC carries them, and codes of the link.
ALERTS = {
    0x128: "UNSUPPORTED_ALGORITHM", 0x131: "KEY_NOT_PINNED", 0x146: "UNSUPPORTED_VERSION", 0x174: "KEY_NOT_PINNED",
    0x178: "UNSUPPORTED_VERSION"}
CODES = {
    0x1003: "MALFORMED", 0x1004: "TOO_LARGE", 0x1007: "SENDER_MISMATCH",
    0x1008: "UNSUPPORTED_VERSION", 0x1009: "UNSUPPORTED_EXTENSION", 0x100A: "DUPLICATE_IDENTITY"}


class Peer:
    """The unit in Python, and the node that it talks to."""

    def __init__(self, node, unit):
        self.node, self.unit = node, unit
        with open(os.path.join(node.dir, f"{node.unit}.relaycard"), "rb") as file:
            self.card = read_card(file.read())
        unit.held, self.headers = Held(self.card), {}
        self.stated, self.answers = {}, collections.Counter()  # by header digest

    def session(self, stack, **other):
        return Session(stack, other.pop("unit", self.unit), other.pop("card", self.card), self.node.address, **other)

    def message(self, title, **other):
        envelope = self.unit.message(other.pop("to", self.node.unit), title, **other)
        self.headers[sha256(envelope.header.bytes)] = envelope_pb2.Header.FromString(envelope.header.bytes)
        return envelope

    def receipts(self, session, seconds):
        """The next group, checked; the node is told that it is kept. A message has one receipt, however often."""
        group = session.next("receipts", seconds)
        for what, other in spoilt(group):
            try:
                copy.deepcopy(self.unit.held).take(other, self.headers.get)
            except ValueError:
                continue
            raise AssertionError(f"taken: {what}")
        for index, statement in self.unit.held.take(group, self.headers.get):
            digest = statement.header_digest
            assert self.stated.setdefault(digest, (index, statement)) == (index, statement), "another leaf"
            self.answers[digest] += 1
        session.have(self.unit.held.have)

    def receipt(self, session, transfer):
        """Sends a message until it is answered, as a sender does. A copy that crosses our `Have` of the receipt is
        not answered, so it takes a second one at times."""
        digest = sha256(transfer.envelope.header.bytes)
        before, late = self.answers[digest], time.monotonic() + WAIT
        while self.answers[digest] == before:
            assert time.monotonic() < late, "no receipt"
            session.send(ROUTINE, transfer=transfer)
            try:
                self.receipts(session, seconds=1)
            except Late:
                pass
        return self.stated[digest]


def spoilt(group):
    """The group with one thing changed: what our own checks must find."""
    def flipped(data):
        return data[:-1] + bytes([data[-1] ^ 1])

    for what in ["statement", "index", "path", "checkpoint", "consistency"]:
        other = link_pb2.ReceiptGroup.FromString(group.SerializeToString())
        receipt = other.receipts[0]
        if what == "statement":
            receipt.statement = flipped(receipt.statement)
        elif what == "index":
            receipt.index += 1
        elif what == "path":
            receipt.path.append(bytes(32))
        elif what == "checkpoint":
            lines = other.checkpoint.split("\n")
            lines[1] = str(int(lines[1]) + 1)
            other.checkpoint = "\n".join(lines)
        elif other.consistency:
            other.consistency[-1] = flipped(other.consistency[-1])
        else:
            continue
        yield what, other


def introduce(peer):
    """The card through the desk; both sides compute the same sixty digits; before, nobody is let in."""
    path = os.path.join(peer.node.dir, "of-python.relaycard")
    with open(path, "wb") as file:
        file.write(peer.unit.card_file())
    added = peer.node.desk("peer", "add", path)["peer"]
    assert (added["unit"], added["trust"]) == (peer.unit.name, "unverified"), added
    refused("KEY_NOT_PINNED", peer, Aioquic())
    digits = fingerprint(public(peer.unit.identity), peer.card.identity_key.public_key)
    verify = ["peer", "verify", peer.unit.name, "--by", "Sgt. Python", "--fingerprint"]
    wrong = digits[:-1] + str((int(digits[-1]) + 1) % 10)
    told = peer.node.desk(*verify, wrong, status=range(1, 256))
    assert "FINGERPRINT_MISMATCH" in str(told), told
    assert peer.node.desk(*verify, digits)["peer"]["trust"] == "verified"


def exchange(peer, stack, group):
    """A message, its receipt, the message once more and the same receipt once more."""
    session = peer.session(stack)
    wanted = dict(state="up", key_exchange=group, software="python 1")

    def shown():
        session.step(0)
        return wanted.items() <= peer.node.desk(*SHOW, peer.unit.name, status=(0, 1))["peer"].items()
    until(shown, wanted)
    transfer = peer.unit.transfer(peer.message(f"Over {stack.name}"))
    first = peer.receipt(session, transfer)
    assert first[1].event == CONSIGNED, first
    assert peer.receipt(session, transfer) == first, "a replay: the same leaf"
    session.end()
    # On a new session nothing that was kept comes again, and the replay still has its one answer.
    session = peer.session(stack)
    assert peer.receipt(session, transfer) == first
    session.end()
    return transfer


def refused(label, peer, stack, **other):
    """No session comes up; the label is that of the alert or of the code."""
    try:
        peer.session(stack, **other).end()
    except Closed as closed:
        assert {**ALERTS, **CODES}.get(closed.code) == label, (label, closed)
        return
    raise AssertionError(f"a session came up: {label}")


def strangers(peer):
    """What is refused before or in the Hello."""
    for stack in [Aioquic(), Qh3()]:
        other_key = peer.unit.certificate(Ed25519PrivateKey.generate())
        refused("KEY_NOT_PINNED", peer, stack, certificate=other_key)
        refused("KEY_NOT_PINNED", peer, stack, certificate=None)
        refused("UNSUPPORTED_VERSION", peer, stack, alpn="relay/2")
    refused("UNSUPPORTED_VERSION", peer, Aioquic(), tls_versions=[0x0303])
    session = peer.session(Aioquic())
    for label, fields in [
            ("SENDER_MISMATCH", dict(unit="xc.other")), ("SENDER_MISMATCH", dict(node="b")),
            ("UNSUPPORTED_VERSION", dict(versions=[2])), ("MALFORMED", dict(boot_id=b"short")),
            ("UNSUPPORTED_EXTENSION", dict(extensions=[envelope_pb2.Extension(type=9, critical=True)])),
            ("DUPLICATE_IDENTITY", dict(instance_id=bytes(16)))]:
        refused(label, peer, Qh3(), hello=session.hello(**fields))
    # The session of before lives on, whatever others tried in its name.
    session.send(link_pb2.LANE_CONTROL, ping=link_pb2.Ping(nonce=7))
    assert session.next("pong").nonce == 7
    session.end()
    another = directory_pb2.Card.FromString(peer.card.SerializeToString())
    another.nodes[0].transport_keys[0].public_key = public(Ed25519PrivateKey.generate())
    try:
        peer.session(Qh3(), card=another)
        raise AssertionError("a node with another key was taken")
    except ValueError:
        pass


def faults(peer, session):
    """Copies that say nothing about their message: an unsigned fault each, no leaf."""
    def forged(envelope):
        envelope.header.ed25519 = envelope.header.ed25519[:-1] + bytes([envelope.header.ed25519[-1] ^ 1])
        return envelope

    def swapped(envelope):
        envelope.clear += b"x"
        return envelope

    stranger, to = Unit(peer.unit.name), peer.node.unit
    other = Unit("xc.other")
    other.signing = peer.unit.signing
    cases = [
        ("BAD_SIGNATURE", forged(peer.message("Forged"))),
        ("PAYLOAD_MISMATCH", swapped(peer.message("Swapped"))),
        ("UNKNOWN_KEY", stranger.message(to, "Of a key that nobody knows")),
        ("BAD_SIGNATURE", other.message(to, "In the name of another unit")),
        ("NOT_A_RECIPIENT", peer.message("To somebody else", to="xc.other")),
        ("UNSUPPORTED_VERSION", peer.message("Of another version", version=2)),
        ("HOP_LIMIT", peer.message("Never to be carried", max_hops=0)),
    ]
    for label, envelope in cases:
        transfer = peer.unit.transfer(envelope)
        session.send(ROUTINE, transfer=transfer)
        fault = session.next("fault")
        assert (fault.number, fault.reason) == (transfer.number, label), (label, fault)
        assert fault.header_digest == sha256(envelope.header.bytes), label
        session.send(ROUTINE, void=link_pb2.Void(number=transfer.number, reason="not to be mended"))


def verdicts(peer, session, sent):
    """What its sender did sign is refused for good, in the log, with its reason."""
    header = peer.headers[sha256(sent.envelope.header.bytes)]
    cases = [
        ("CONFLICT", peer.message("Other bytes under a known id", message_id=header.message_id)),
        ("UNKNOWN_PROFILE", peer.message("Of another network", profile="no-such")),
        ("EXPIRED", peer.message("Too late", created_at_ms=now() - DAY, expires_at_ms=now() - DAY // 2)),
        ("FUTURE_DATED", peer.message("Too early", created_at_ms=now() + DAY, expires_at_ms=now() + 2 * DAY)),
        ("INVALID_CONTENT", peer.message("")),
        ("MALFORMED", peer.message("No payload", payload=os.urandom(32) + b"\xff")),
    ]
    for label, envelope in cases:
        transfer = peer.unit.transfer(envelope)
        first = peer.receipt(session, transfer)
        assert (first[1].event, first[1].reason) == (REFUSED, label), (label, first[1])
        assert peer.receipt(session, transfer) == first, f"{label}: the verdict stands"


def frames(peer):
    """Frames that end their session."""
    transfer = framed(transfer=peer.unit.transfer(peer.message("Never whole")))
    head = (len(transfer) - 4).to_bytes(4, "big")
    unknown_field = b"\x6a\x04\x08\x07\x10\x01"  # Ping { nonce: 7, and a field that it does not have }
    for label, lane, data, end in [
            ("TOO_LARGE", ROUTINE, (512 * 1024 + 1).to_bytes(4, "big"), False),
            ("TOO_LARGE", link_pb2.LANE_CONTROL, (256 * 1024 + 1).to_bytes(4, "big"), False),
            ("MALFORMED", ROUTINE, transfer[:len(transfer) // 2], True),
            ("MALFORMED", ROUTINE, head[:2], True),
            ("MALFORMED", ROUTINE, b"\0\0\0\0", False),
            ("MALFORMED", ROUTINE, framed(ping=link_pb2.Ping(nonce=7)), False),
            ("MALFORMED", link_pb2.LANE_CONTROL, b"\0\0\0\x06" + unknown_field, False)]:
        session = peer.session(Qh3())
        session.send_bytes(lane, data, end)
        code = session.refusal()
        assert CODES.get(code) == label, (label, hex(code))


def main(base, nodes):
    nodes.append(Program(BINARIES, base, "xb.ncu"))
    node, = nodes
    peer = Peer(node, Unit("xa.python"))
    introduce(peer)
    sent = [exchange(peer, Aioquic(), "secp256r1"), exchange(peer, Qh3(), "X25519MLKEM768")]
    strangers(peer)
    session = peer.session(Qh3())
    faults(peer, session)
    verdicts(peer, session, sent[0])
    session.end()
    frames(peer)
    # Where the operator asks for it, nobody without ML-KEM comes in.
    assert node.stop() == 0
    with open(node.config, encoding="utf-8") as file:
        text = file.read()
    with open(node.config, "w", encoding="utf-8") as file:
        file.write(text.replace("[link]\n", '[link]\nkey_exchange = "require"\n'))
    node.start()
    refused("UNSUPPORTED_ALGORITHM", peer, Aioquic())
    sent.append(exchange(peer, Qh3(), "X25519MLKEM768"))
    # At the desk: what was receipted, each once, and nothing of what was refused.
    inbox = node.desk("inbox", status=(0, 1))["messages"]
    assert sorted(m["header_digest"] for m in inbox) == sorted(
        sha256(one.envelope.header.bytes).hex() for one in sent), inbox
    alarms = node.desk("status", status=(0, 1))["alarms"]
    for label in ["CONFLICT", "DUPLICATE_IDENTITY"]:
        assert any(label in alarm for alarm in alarms), alarms
    assert not any("ROLLED_BACK" in alarm for alarm in alarms), alarms
    assert node.stop() == 0
    print(f"OK: {peer.unit.held.have} receipts verified, log of {peer.unit.held.size} leaves")


if __name__ == "__main__":
    running = []
    with tempfile.TemporaryDirectory(prefix="relay-foreign.") as folder:
        try:
            main(folder, running)
        finally:
            for one in running:
                one.end()
