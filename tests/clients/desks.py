"""Two desks that share a case: real nodes with a wire between them, a case system at each (the first over the Unix
socket, the second over TLS with a certificate), and relay-cli. After each step both ends are compared."""
import contextlib, hashlib, json, os, pathlib, ssl, sys, time, uuid

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

HERE = pathlib.Path(__file__).parent
sys.path += [str(HERE / "python"), str(HERE.parent / "foreign")]
from case_system import CaseSystem  # noqa: E402
from certificates import Authority  # noqa: E402
from node import WAIT, Program, free_port, until  # noqa: E402
from relay.v1 import api_pb2 as api, api_pb2_grpc as rpc, payload_pb2  # noqa: E402
from wire import Wire  # noqa: E402

# A small store, and a session that notices within seconds that the wire is cut.
CONFIG = """
[store]
segment_bytes = "4MiB"
reserve_percent = 0
reserve_bytes_min = "16MiB"
"""
CLOCK = 'shift_file = "shift"\n'
LINK = 'idle_timeout = "5s"\nkeep_alive = "1s"\n'
SECONDS = {"m": 60, "d": 24 * 60 * 60}


class Desk(Program):
    """One unit's node, a case system of its own at it, and the desk's relay-cli."""

    # A refusal by dual criminality needs the reservation on the card of the unit that refuses.
    law = ["--party", "budapest", "--reserve", "art29-4"]

    def __init__(self, binaries, base, unit, advertised):
        self.api_address = None
        super().__init__(binaries, base, unit, CONFIG, advertised)
        self.case_system = None

    def configure(self, config):
        super().configure(config)
        text = pathlib.Path(self.config).read_text()
        for section, more in [("[clock]\n", CLOCK), ("[link]\n", LINK)]:
            assert text.count(section) == 1, "what `init` writes has changed"
            text = text.replace(section, section + more)
        pathlib.Path(self.config).write_text(text)

    def connect(self):
        self.case_system = CaseSystem.over_socket(self.socket)

    def channel(self):
        """For what a case system does not do."""
        return grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")])

    def status(self):
        return rpc.NodeServiceStub(self.admin).GetStatus(api.GetStatusRequest(), timeout=WAIT)

    def now(self):
        """By the node's clock, in milliseconds."""
        return self.status().now.ToMilliseconds()

    def reaches(self, unit):
        peer = rpc.PeerServiceStub(self.admin).GetPeer(api.GetPeerRequest(unit=unit), timeout=WAIT)
        return peer.state == api.PEER_STATE_UP

    def start(self):
        super().start()
        self.admin = self.channel()
        grpc.channel_ready_future(self.admin).result(WAIT)


class RemoteDesk(Desk):
    """The case system stands elsewhere: it comes over TCP, with a certificate."""

    def configure(self, config):
        authority = Authority(self.dir)
        certificate, key = authority.certificate("node")
        self.api_address = "127.0.0.1:{}".format(free_port())
        self.pem = [authority.file, *authority.certificate("case-system")]
        der = ssl.PEM_cert_to_DER_cert(pathlib.Path(self.pem[1]).read_text())
        super().configure(config + f"""
[api.tcp]
listen = "{self.api_address}"
certificate = "{certificate}"
key = "{key}"
client_ca = "{authority.file}"
[api.accounts.operator]
users = ["{os.getuid()}"]
roles = ["submit", "read-all", "acknowledge", "respond", "audit", "administer"]
[api.accounts.case-system]
certificates = ["{hashlib.sha256(der).hexdigest()}"]
roles = ["submit", "read-all", "acknowledge", "respond"]
""")

    def connect(self):
        self.case_system = CaseSystem.over_tls(self.api_address, *self.pem)


class Desks:
    """Both, verified by each other. `cut`: the wire is cut for each step that is made, and healed after it."""

    def __init__(self, binaries, base, cut=False):
        self.base, self.cuts, self.wire, self.running = base, cut, Wire(), []
        for unit, kind, advertised in zip(["xa.cyber-poc", "xb.ncu"], [Desk, RemoteDesk], self.wire.advertised):
            self.running.append(kind(binaries, base, unit, advertised))
        self.wire.real[:] = [desk.address for desk in self.running]
        self.asking, self.asked = self.running
        cards = [os.path.join(desk.dir, f"{desk.unit}.relaycard") for desk in self.running]
        self.trust = ["--trust", *cards]
        for desk, card in zip(self.running, reversed(cards)):
            desk.desk("peer", "add", card)
        for desk, other in [(self.asking, self.asked), (self.asked, self.asking)]:
            digits = other.desk("peer", "verify", desk.unit, "--read")["fingerprint"]
            desk.desk("peer", "verify", other.unit, "--by", "Sgt. Python", "--fingerprint", digits)
            desk.connect()
        self.case, self.steps = None, 0

    def other(self, desk):
        return self.asked if desk is self.asking else self.asking

    def now(self):
        return self.asking.now()

    def shift(self, by):
        """Puts both clocks ahead of the right time, as in `+80d`."""
        ahead = int(by[1:-1]) * SECONDS[by[-1]]
        for desk in self.running:
            new = os.path.join(desk.dir, "shift.new")
            pathlib.Path(new).write_text(by)
            os.replace(new, os.path.join(desk.dir, "shift"))
        for desk in self.running:
            until(lambda: abs(desk.now() / 1000 - time.time() - ahead) < 10, f"the clock of {desk.unit} is {by}")
        # For a moment one was ahead of the other, and they told each other so.
        for desk in self.running:
            until(lambda: not any(alarm.startswith("CLOCK_") for alarm in desk.status().alarms), "the clocks agree")

    def warned(self, times):
        """Both ends hold so many warnings of the end; the wire is whole."""
        for desk in self.running:
            kinds = lambda: [step.kind for step in self.seen(desk).steps]
            until(lambda: kinds().count(payload_pb2.KIND_EXPIRY_WARNING) == times, f"{desk.unit} has {times} warnings")

    # ---- steps

    def request(self, payload, state="DELIVERED", **more):
        """The asking side's request: a case begins."""
        system = self.asking.case_system
        self.case = None
        return self.step(
            self.asking, lambda: system.send(uuid.uuid4(), self.asked.unit, payload, **more).message_id, state)

    def answer(self, desk, payload, state, **more):
        """One side says something in the case, in answer to the last message of it that there is."""
        last = self.seen(desk).steps[-1].message_id
        return self.step(
            desk, lambda: desk.case_system.answer(uuid.uuid4(), last, payload, **more).message_id, state)

    def says(self, desk, kind, body, state):
        """The same by an officer without a case system: a file, and relay-cli."""
        case, file = self.seen(desk), os.path.join(self.base, f"{self.steps}.json")
        env = {"kind": kind, "profile": "budapest-247", "to": [case.peer], "priority": "ROUTINE", "language": "en",
               "thread_id": case.case_id, "in_reply_to": case.steps[-1].message_id, "sender_ref": "DESK-1"}
        pathlib.Path(file).write_text(json.dumps({"env": env, **body}))
        sent = lambda: desk.desk("send", "message", "--file", file)["message"]["message_id"]  # noqa: E731
        return self.step(desk, sent, state)

    def step(self, desk, send, state):
        """Sends, over a wire that is cut meanwhile or not; both ends then hold the same case, in this state, and can
        prove the message. Gives the case."""
        self.steps += 1
        with self.away(desk) if self.cuts else contextlib.nullcontext([]) as sent:
            message_id = send()
            sent.append(message_id)
        case = self.agree(message_id, state)
        self.prove(message_id)
        return case

    @contextlib.contextmanager
    def away(self, *desks):
        """The wire is cut: what these desks send meanwhile is stored at their own nodes and nowhere else. Every third
        time it stays cut until the session has ended as well."""
        sent = []
        self.wire.cut()
        yield sent
        until(lambda: self.wire.dropped > 0, "something is lost on the cut wire")
        for desk, message_id in zip(desks, sent, strict=True):
            message = desk.case_system.read(message_id)
            assert [one.state for one in message.deliveries] != [api.DELIVERY_STATE_DELIVERED], message
            told(lambda: self.other(desk).case_system.read(message_id), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")
        if self.steps % 3 == 0:
            for desk in desks:
                until(lambda: not desk.reaches(self.other(desk).unit), "the session has ended")
        self.wire.heal()

    def refuses(self, desk, payload, reason, **more):
        """The desk's own node does not send this; nothing changes at either end. Gives the refusal's facts."""
        before = said(self.agree())
        last = before.steps[-1].message_id
        facts = told(lambda: desk.case_system.answer(uuid.uuid4(), last, payload, **more),
                     grpc.StatusCode.FAILED_PRECONDITION, reason)
        assert said(self.agree()) == before, "what was refused changed the case"
        return facts

    # ---- comparing

    def seen(self, desk, name=None):
        return desk.case_system.case(name or self.case)

    def agree(self, message_id=None, state=None):
        """Both ends show the same case; with a message, as its newest step, and the case in this state."""
        name, ends = message_id or self.case, []

        def same():
            ends[:] = [view(desk, name) for desk in self.running]
            one, other = ends
            return one is not None and one == other and (
                message_id is None or message_id in [step["message_id"] for step in one["steps"]])

        try:
            until(same, "both ends hold the same case")
        except AssertionError:
            print(f"step {self.steps}: the ends differ\n{ends[0]}\n{ends[1]}", file=sys.stderr)
            raise
        case = self.seen(self.asking, name)
        self.case = case.case_id
        assert not case.sync_conflict and case.waiting == 0, case
        if state:
            assert api.CaseState.Name(case.state) == f"CASE_STATE_{state}", case
        for desk in self.running:
            shown = desk.desk("case", "show", self.case)["case"]
            assert (shown["etag"], f"CASE_STATE_{shown['state']}") == (case.etag, api.CaseState.Name(case.state)), shown
        return case

    def prove(self, message_id):
        """Each end's evidence of a message is valid to whoever has both cards, and is about the same header."""
        digests = set()
        for desk in self.running:
            until(lambda: all(one.verified for one in desk.case_system.read(message_id).receipts), "receipts")
            folder = os.path.join(self.base, f"evidence-{desk.unit}", message_id)
            desk.desk("evidence", "export", message_id, "--to", folder)
            bundle, = pathlib.Path(folder).glob("*.relayev")
            verdict = desk.desk("evidence", "verify", str(bundle), *self.trust)
            assert verdict["verdict"] == "VALID" and verdict["message_id"] == message_id, verdict
            digests.add(verdict["header_digest"])
        assert len(digests) == 1, "both prove the same message"

    def close(self):
        self.wire.close()
        for desk in self.running:
            desk.end()


def view(desk, name):
    """A case as one end shows it, without what differs by nature: whose view it is, and what that side may send."""
    try:
        case = desk.case_system.case(name)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.NOT_FOUND:
            return None
        raise
    shown = json_format.MessageToDict(case, preserving_proto_field_name=True)
    for field in ["name", "peer", "legal"]:
        shown.pop(field, None)
    for one in shown.get("obligations", []):
        one.pop("case")
    return shown


def said(case):
    """A case without what a node says in it by itself, and when it likes."""
    rest = type(case).FromString(case.SerializeToString())
    rest.ClearField("etag")
    del rest.steps[:]
    rest.steps.extend(step for step in case.steps if step.kind != payload_pb2.KIND_EXPIRY_WARNING)
    return rest


def told(call, code, reason):
    """The call is refused with this code and label; gives the facts that come with it."""
    try:
        call()
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        found = any(detail.Unpack(info) for detail in rpc_status.from_call(error).details)
        assert found and (error.code(), info.reason) == (code, reason), (error.code(), error.details(), info)
        return dict(info.metadata)
    raise AssertionError(f"not refused: {reason}")
