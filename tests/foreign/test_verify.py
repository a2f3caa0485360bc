#!/usr/bin/env python3
"""Checks verify.py itself: it takes the vectors, and refuses them with any one byte changed.

usage: test_verify.py FOLDER  (with one .leaf, .tlog-proof and .vkey file)
"""
import glob, os, subprocess, sys

sys.dont_write_bytecode = True
import verify


def taken(leaf, proof, vkey):
    try:
        keys = [verify.read_vkey(line) for line in vkey.decode().split("\n") if line]
        verify.check(leaf, proof.decode(), keys)
        return True
    except (ValueError, IndexError):
        return False


def command(names, status, output):
    """Runs the script as a person would."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "verify.py")
    ran = subprocess.run([sys.executable, "-B", script, *names], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (status, output), (ran.returncode, ran.stdout, ran.stderr)


def main(folder):
    kinds = ("leaf", "tlog-proof", "vkey")
    names = [glob.glob(f"{folder}/*.{kind}")[0] for kind in kinds]
    command(names, 0, "OK: leaf 5 of 7 in xb.ncu/log/1\n")
    command([names[2], *names[1:]], 1, "FAIL: proof leads to another root\n")
    files = [open(name, "rb").read() for name in names]
    # Through the package, if it is there, and by the method of RFC 8032.
    for way in (verify.ed25519_verify, verify.slow_ed25519_verify):
        verify.ed25519_verify = way
        assert taken(*files), f"refused under {way.__name__}"
        assert not taken(files[2], *files[1:]), "takes another file as the leaf"
        for which, content in enumerate(files):
            for position in range(len(content)):
                changed = bytearray(content)
                changed[position] ^= 1
                case = files[:which] + [bytes(changed)] + files[which + 1:]
                assert not taken(*case), f"{kinds[which]}: byte {position} may be changed"


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("OK")
