#!/usr/bin/env python3
"""Checks one exported receipt with nothing of ours: the C2SP texts, hashlib and Ed25519.

usage: verify.py NN-EVENT.leaf NN-EVENT.tlog-proof UNIT.vkey

Prints OK or FAIL and exits with 0 or 1. After https://c2sp.org/tlog-proof, tlog-checkpoint and
signed-note, and RFC 6962.
"""
import base64, hashlib, sys


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def b64(text):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical base64")
    return raw


def need(holds, why):
    if not holds:
        raise ValueError(why)


def number(text):
    need(text.isascii() and text.isdigit() and str(int(text)) == text, "not a plain decimal number")
    return int(text)


def open_note(note, vkeys):
    """signed-note: returns the text when a known key signed it and no known key's line fails."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    verified = set()
    need(signatures.endswith("\n"), "note has no last newline")
    for line in signatures[:-1].split("\n"):
        dash, name, signature = line.split(" ")
        need(dash == "\u2014", "not a signature line")
        signature = b64(signature)
        for known_name, known_id, key in vkeys:
            if (name, signature[:4]) == (known_name, known_id):
                good = ed25519_verify(key, text.encode(), signature[4:])
                need(good, "signature of a known key fails")
                verified.add(name)
    return text, verified


def read_vkey(line):
    name, key_id, key = line.split("+", 2)
    key_id, key = bytes.fromhex(key_id), b64(key)
    need(key[0] == 1 and len(key) == 33, "not an Ed25519 key of type 0x01")
    need(sha256(name.encode(), b"\n", key)[:4] == key_id, "key id does not fit name and key")
    return name, key_id, key[1:]


def root_of(leaf, index, size, path):
    """RFC 9162 section 2.1.3.2."""
    need(index < size, "index is outside the tree")
    fn, sn, node = index, size - 1, sha256(b"\x00", leaf)
    for sibling in path:
        need(sn != 0, "proof is too long")
        if fn & 1 or fn == sn:
            node = sha256(b"\x01", sibling, node)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            node = sha256(b"\x01", node, sibling)
        fn, sn = fn >> 1, sn >> 1
    need(sn == 0, "proof is too short")
    return node


def check(leaf, proof, vkeys):
    head, note = proof.split("\n\n", 1)
    lines = head.split("\n")
    need(lines.pop(0) == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    if lines[0].startswith("extra "):
        lines.pop(0)
    need(lines[0].startswith("index "), "no index line")
    index, path = number(lines[0][len("index "):]), [b64(line) for line in lines[1:]]
    need(all(len(node) == 32 for node in path), "a hash is not 32 bytes")
    text, verified = open_note(note, vkeys)
    origin, size, root, *extensions = text[:-1].split("\n")
    need(all(extensions), "checkpoint has an empty line")
    need(origin in verified, "the log that the checkpoint names did not sign it")
    need(root_of(leaf, index, number(size), path) == b64(root), "proof leads to another root")
    return f"leaf {index} of {size} in {origin}"


def ed25519_verify(key, message, signature):
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        return slow_ed25519_verify(key, message, signature)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        return True
    except InvalidSignature:
        return False


# RFC 8032, after the method of its section 6: slow; there is no secret that its timing could tell.
P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def recover_x(y, sign):
    if y >= P:
        return None
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - x2) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def decompress(encoded):
    y = int.from_bytes(encoded, "little")
    x = recover_x(y & (2**255 - 1), y >> 255)
    y &= 2**255 - 1
    return None if x is None else (x, y, 1, x * y % P)


def add(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % P, (p[1] + p[0]) * (q[1] + q[0]) % P
    c, d = 2 * p[3] * q[3] * D % P, 2 * p[2] * q[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(scalar, point):
    result = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def slow_ed25519_verify(key, message, signature):
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = decompress(key), decompress(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= Q:
        return False
    digest = hashlib.sha512(signature[:32] + key + message).digest()
    y = 4 * pow(5, -1, P) % P
    x = recover_x(y, 0)
    left = multiply(s, (x, y, 1, x * y % P))
    right = add(r, multiply(int.from_bytes(digest, "little") % Q, a))
    same = lambda i: (left[i] * right[2] - right[i] * left[2]) % P == 0
    return same(0) and same(1)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    try:
        leaf, proof, vkey = (open(name, "rb").read() for name in sys.argv[1:])
        keys = [read_vkey(line) for line in vkey.decode().split("\n") if line]
        print("OK:", check(leaf, proof.decode(), keys))
    except (ValueError, IndexError, OSError) as why:
        print("FAIL:", why)
        sys.exit(1)


if __name__ == "__main__":
    main()
