#!/usr/bin/env python3
"""Two case systems, each at its own country's node, play a preservation case from the request to the release: one over
the Unix socket, the other over TLS with a certificate. What the one says the other learns from its events, from a
cursor in a file, and reads, takes and answers.

usage: test_case.py FOLDER_OF_BINARIES FOLDER_OF_STUBS
"""
import os, pathlib, subprocess, sys, tempfile, uuid

BINARIES, STUBS = sys.argv[1:]
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a stranger's handshake is a page of the library's log
sys.path[:0] = [STUBS, str(pathlib.Path(__file__).parent.parent)]
from desks import Desks, grpc, told  # noqa: E402
from case_system import RECEIVED, CaseSystem  # noqa: E402
from certificates import Authority  # noqa: E402
from relay.v1 import alert_pb2, api_pb2 as api, casework_pb2 as casework, payload_pb2  # noqa: E402
import payloads as say  # noqa: E402

HERE = pathlib.Path(__file__).parent
EXECUTED = casework.MLA_OUTCOME_EXECUTED


def play(desks):
    """All messages of a plain case in their order: who says what, and where the case stands after it."""
    asking, asked, now = desks.asking, desks.asked, desks.now
    told_by(desks, asking, say.request(now(), items=["1", "2"]), "DELIVERED")
    told_by(desks, asked, say.acknowledged(now()), "ACKNOWLEDGED")
    told_by(desks, asked, say.accepted(["1", "2"]), "ACCEPTED")
    until = now() + 90 * say.DAY
    told_by(desks, asked, say.preserved(until - 90 * say.DAY, ["1", "2"]), "PRESERVED")
    ends = [desks.seen(desk) for desk in desks.running]
    assert [end.preserved_until.ToMilliseconds() for end in ends] == [until, until]
    assert [[one.state for one in end.items] for end in ends] == [[api.ITEM_STATE_PRESERVED] * 2] * 2
    # Whoever was away, node and case system: they go on where they were.
    assert asked.stop() == 0
    asked.start()
    told_by(desks, asking, say.mla_sent(now()), "PRESERVED")
    told_by(desks, asked, say.mla_received(now()), "MLA_PENDING")
    told_by(desks, asked, say.mla_received(now(), EXECUTED), "MLA_PENDING")
    told_by(desks, asked, say.closed(now(), "RELEASED"), "RELEASED")
    for desk in desks.running:
        case = desks.seen(desk)
        assert [one.state for one in case.items] == [api.ITEM_STATE_RELEASED] * 2 and not case.obligations
        assert not case.turn and not case.legal


def told_by(desks, desk, payload, state):
    """One side says something, twice by mistake; the other hears of it once, from its cursor on."""
    request_id, other = uuid.uuid4(), desks.other(desk)
    for one in desks.running:
        one.connect()  # as a case system that was started again
    cursor = pathlib.Path(other.dir, "cursor")
    last = desks.seen(desk).steps[-1].message_id if desks.case else None

    def send():
        whole = type(payload).FromString(payload.SerializeToString())
        system = desk.case_system
        if last is None:
            return system.send(request_id, other.unit, whole)
        return system.answer(request_id, last, whole)

    message_id = send().message_id
    assert send().message_id == message_id, "the same request id is the same message"
    heard = arrivals(other, cursor, message_id)
    assert heard == [message_id], "each message once, and nothing of before the cursor"
    message = other.case_system.read(message_id)
    body = message.payload.WhichOneof("body")
    assert (body, message.payload.sender_ref) == (payload.WhichOneof("body"), payload.sender_ref)
    taken = other.case_system.take(message_id, officer="Sgt. Python")
    assert not taken.already_acknowledged and taken == other.case_system.take(message_id, officer="Sgt. Python")
    desks.agree(message_id, state)
    desks.prove(message_id)


def arrivals(desk, cursor, last):
    """What came since the cursor, up to the last; the event of the last is finished as well."""
    heard = []
    for event in desk.case_system.events(cursor):
        if heard and heard[-1] == last:
            return heard
        if event.kind == RECEIVED:
            heard.append(event.message_id)
            # Another event follows, the receipt of taking it: until then this one is not finished.
            desk.case_system.take(event.message_id)


def first_alert(desks):
    """The program of the first page, as README.md runs it; what a peer wrote moves nobody's cursor."""
    desk, sender = desks.asked, desks.asking
    cursor = os.path.join(desk.dir, "cursor-of-the-program")
    command = [sys.executable, "-B", str(HERE / "case_system.py"), desk.api_address, cursor, *desk.pem]
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": STUBS})
    try:
        assert program.stdout.readline() == f"case system of {desk.unit}\n"
        for expected in desks.seen(desk).steps:
            if getattr(expected, "from") == sender.unit:
                assert program.stdout.readline().startswith(expected.short_id), "what came before it was started"
        message = sender.case_system.send(uuid.uuid4(), desk.unit, alert(desks.now(), "Kit\u200fof <b>"))
        line = program.stdout.readline()
        assert line == f"{message.short_id}  {sender.unit}  ALERT  Kit\\u{{200f}}of <b>\n", line
    finally:
        program.kill()
        program.wait()


def alert(now, title):
    body = alert_pb2.Alert(
        lifecycle=alert_pb2.LIFECYCLE_NEW, alert_type=alert_pb2.ALERT_TYPE_WARN, category="fraud/phishing",
        severity=alert_pb2.SEVERITY_LOW, title=title, summary="A wave in the name of a bank.",
        observed_from_ms=now - 60_000, confidence_plus_one=81, affected_countries=["XB"], valid_until_ms=now + say.DAY,
        action_requested=[alert_pb2.ACTION_REQUESTED_CHECK_OWN_SYSTEMS],
        dissemination=alert_pb2.Dissemination(audience=alert_pb2.AUDIENCE_NAMED, onward=alert_pb2.ANSWER_YES))
    return payload_pb2.Payload(alert=body, sender_ref="XA-7")


def strangers(desks, base):
    """Over TLS nobody is heard whose certificate is another authority's."""
    os.mkdir(os.path.join(base, "strange"))
    stranger = Authority(os.path.join(base, "strange")).certificate("stranger")
    try:
        CaseSystem.over_tls(desks.asked.api_address, desks.asked.pem[0], *stranger)
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.UNAVAILABLE, error
    else:
        raise AssertionError("a stranger was heard")


def main(base):
    desks = Desks(BINARIES, base)
    try:
        told(lambda: desks.asked.case_system.answer(uuid.uuid4(), str(uuid.uuid4()), say.acknowledged(desks.now())),
             grpc.StatusCode.NOT_FOUND, "UNKNOWN_CASE")
        play(desks)
        first_alert(desks)
        strangers(desks, base)
        for desk in reversed(desks.running):
            assert desk.stop() == 0, "an orderly stop"
    finally:
        desks.close()
    print("OK")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="relay-clients.") as folder:
        main(folder)
