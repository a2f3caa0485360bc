"""What a receiver of receipts checks: PROTOCOL.md, section 9, and the checkpoint that it holds, section 10.

Notes and inclusion proofs are verify.py's, which knows nothing of ours.
"""
import base64

import verify
from relay.v1 import directory_pb2, receipt_pb2
from unit import encoded, now, sha256
from verify import need

LEAF = b"relay/v1/receipt\0"
POSITIVE = {1, 3, 6, 7, 9}


class Held:
    """The newest checkpoint of a peer's log, and the receipts that came in it."""

    def __init__(self, card):
        self.card, self.note, self.size, self.root, self.have = card, "", 0, sha256(), 0
        log, = (log for log in card.logs if log.state == directory_pb2.LOG_STATE_OPEN)
        self.origin, key = log.origin, log.key.public_key
        self.vkeys = [(self.origin, sha256(self.origin.encode(), b"\n\x01", key)[:4], key)]

    def checkpoint(self, note):
        text, verified = verify.open_note(note, self.vkeys)
        origin, size, root, *_ = text.split("\n")
        need(origin == self.origin and origin in verified, "not signed by the log of the card")
        return verify.number(size), verify.b64(root)

    def grow(self, note, since, path):
        """Takes a checkpoint that is consistent with the one held."""
        size, root = self.checkpoint(note)
        if self.size not in (0, size):
            need((since, size) == (self.size, max(self.size, size)), "a proof from another size, or a smaller log")
            consistent(self.size, self.root, size, root, list(path))
        need(self.size != size or self.root == root, "a fork")
        self.note, self.size, self.root = note, size, root

    def take(self, group, header_of):
        """Checks a group; gives its statements with their index. `header_of` finds a header by its digest."""
        need(0 < len(group.receipts) <= 256, "size of the group")
        self.grow(group.checkpoint, group.consistency_from, group.consistency)
        self.have = max(self.have, group.owed_after)
        found = []
        for receipt in group.receipts:
            self.included(receipt, group.checkpoint)
            found.append((receipt.index, self.statement(receipt, header_of)))
            self.have += receipt.number == self.have + 1
        return found

    def included(self, receipt, note):
        path = "".join(base64.b64encode(node).decode() + "\n" for node in receipt.path)
        proof = f"c2sp.org/tlog-proof@v1\nindex {receipt.index}\n{path}\n{note}"
        verify.check(LEAF + receipt.statement, proof, self.vkeys)

    def statement(self, receipt, header_of):
        one = receipt_pb2.Statement.FromString(receipt.statement)
        need(encoded(one) == receipt.statement, "the statement is not canonical")
        header = header_of(one.header_digest)
        need(header is not None, "about a header that is not ours")
        need(one.version == 1 and len(one.salt) == 16, "version or salt")
        need((one.message_id, one.sender) == (header.message_id, getattr(header, "from")), "another message")
        need(one.submitted_at_ms == header.created_at_ms, "another time of submission")
        need(one.issuer_unit == one.recipient == self.card.unit and one.recipient in header.to, "another issuer")
        need(one.issuer_node in [f"{self.card.unit}/{node.name}" for node in self.card.nodes], "another node")
        need(bool(one.reason) == (one.event not in POSITIVE), "a reason, where and only where there is a refusal")
        need(abs(now() - one.event_time_ms) < 60_000, "time of the event")
        need(one.clock.state and one.clock.source and 0 < len(one.software) <= 64, "clock or software")
        need(not one.actor_commitment and not one.extensions, "a person, or an extension")
        return one


def consistent(first, first_root, second, second_root, path):
    """RFC 9162, section 2.1.4.2."""
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    need(path, "no proof")
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for node in path[1:]:
        need(sn != 0, "the proof is too long")
        if fn & 1 or fn == sn:
            old, new = sha256(b"\x01", node, old), sha256(b"\x01", node, new)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            new = sha256(b"\x01", new, node)
        fn, sn = fn >> 1, sn >> 1
    need((old, new, sn) == (first_root, second_root, 0), "the log did not only grow")
