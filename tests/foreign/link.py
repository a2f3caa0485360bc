"""The link of PROTOCOL.md section 12 over two QUIC stacks that are not the node's: aioquic and qh3.

A stack does packets and TLS; frames, lanes, Hello and the pinning of the node's key are done here.
"""
import select, socket, ssl, tempfile, time

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relay.v1 import link_pb2, receipt_pb2
from unit import encoded, now

LANES = [link_pb2.LANE_CONTROL, link_pb2.LANE_ROUTINE, link_pb2.LANE_URGENT, link_pb2.LANE_EMERGENCY]
WAIT = 20  # seconds that anything may take; nothing here takes one


class Aioquic:
    """Classical key exchange only."""
    name = "aioquic"

    def make(self, alpn, certificate, tls_versions=None):
        from aioquic.quic.configuration import QuicConfiguration
        from aioquic.quic.connection import QuicConnection

        class Connection(QuicConnection):
            def _initialize(self, peer_cid):
                super()._initialize(peer_cid)
                self.tls._supported_versions = tls_versions or self.tls._supported_versions

        from aioquic.quic.packet import QuicProtocolVersion
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=[alpn], verify_mode=ssl.CERT_NONE,
            supported_versions=[QuicProtocolVersion.VERSION_1])
        load(configuration, certificate)
        return Connection(configuration=configuration)

    def certificate_of(self, quic):
        return quic.tls._peer_certificate


class Qh3:
    """X25519MLKEM768 first."""
    name = "qh3"

    def make(self, alpn, certificate):
        from qh3.quic.configuration import QuicConfiguration
        from qh3.quic.connection import QuicConnection
        from qh3.tls import SignatureAlgorithm
        configuration = QuicConfiguration(
            is_client=True, alpn_protocols=[alpn], verify_mode=ssl.CERT_NONE,
            signature_algorithms=[SignatureAlgorithm.ED25519])
        load(configuration, certificate)
        return QuicConnection(configuration=configuration)

    def certificate_of(self, quic):
        return x509.load_der_x509_certificate(quic.get_peercert().public_bytes())


def load(configuration, certificate):
    if certificate:
        with tempfile.NamedTemporaryFile() as chain, tempfile.NamedTemporaryFile() as key:
            for file, pem in zip((chain, key), certificate):
                file.write(pem)
                file.flush()
            configuration.load_cert_chain(chain.name, key.name)


class Closed(Exception):
    """The node ended the connection."""

    def __init__(self, code, text):
        super().__init__(f"{code:#x} {text}")
        self.code, self.text = code, text


class Late(Exception):
    """What was waited for did not come."""


class Link:
    """A QUIC connection and what came over its streams."""

    def __init__(self, quic, address):
        self.quic, self.address = quic, address
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.closed = self.ready = False
        self.frames = []  # that nobody asked for yet
        self.received = {}  # stream: bytes not read yet
        quic.connect(address, now=time.monotonic())

    def step(self, at_most):
        """Sends what there is to send, then takes what comes within this time."""
        for data, _ in self.quic.datagrams_to_send(now=time.monotonic()):
            self.socket.sendto(data, self.address)
        timer = self.quic.get_timer()
        wait = at_most if timer is None else min(at_most, max(0, timer - time.monotonic()))
        if select.select([self.socket], [], [], wait)[0]:
            try:
                data = self.socket.recv(65536)
            except ConnectionRefusedError as why:
                raise Closed(0, "nobody listens") from why
            self.quic.receive_datagram(data, self.address, now=time.monotonic())
        elif timer is not None and timer <= time.monotonic():
            self.quic.handle_timer(now=time.monotonic())
        while (event := self.quic.next_event()) is not None:
            self.take(event)

    def take(self, event):
        kind = type(event).__name__
        if kind == "HandshakeCompleted":
            self.ready = True
        elif kind == "StreamDataReceived":
            self.received[event.stream_id] = self.received.get(event.stream_id, b"") + event.data
        elif kind == "ConnectionTerminated":
            self.closed = Closed(event.error_code, event.reason_phrase)

    def until(self, holds, what, seconds=WAIT):
        late = time.monotonic() + seconds
        while not (found := holds()):
            if self.closed:
                raise self.closed
            left = late - time.monotonic()
            if left <= 0:
                raise Late(f"{what}; came instead: {self.frames}")
            self.step(left)
        return found

    def end(self):
        """Says good-bye and sends it."""
        self.quic.close(error_code=0x1000, reason_phrase="done")
        self.step(0)
        self.socket.close()

    def refusal(self):
        """Waits for the node to close; gives its code."""
        try:
            self.until(lambda: False, "the node closes")
        except Closed as closed:
            self.socket.close()
            return closed.code


def framed(**kind):
    frame = encoded(link_pb2.Frame(**kind))
    return len(frame).to_bytes(4, "big") + frame


class Session(Link):
    """A session of one unit with the node of a card; made when both have taken each other's Hello."""

    def __init__(self, stack, unit, card, address, alpn="relay/1", certificate=True, hello=None, **tls):
        shown = unit.certificate() if certificate is True else certificate
        super().__init__(stack.make(alpn, shown, **tls), address)
        self.unit, self.card, self.lanes, self.answered = unit, card, {}, 0
        self.until(lambda: self.ready, "handshake")
        shown = stack.certificate_of(self.quic).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        pins = [key.public_key for node in card.nodes for key in node.transport_keys]
        if shown not in pins:
            self.end()
            raise ValueError("the node has another key than its card says")
        self.opened = {}
        for lane in LANES:
            self.opened[lane] = self.quic.get_next_available_stream_id()
            self.send(lane, open=link_pb2.Open(lane=lane))
        self.send(link_pb2.LANE_CONTROL, hello=hello or self.hello())
        self.peer = self.next("hello")
        assert 1 in self.peer.versions and (self.peer.unit, self.peer.node) == (card.unit, card.nodes[0].name)
        self.send(link_pb2.LANE_CONTROL, ping=link_pb2.Ping(nonce=2**64 - 1))
        assert self.next("pong").nonce == 2**64 - 1
        # The node takes the session once its own Ping is answered.
        self.until(lambda: self.read() or self.answered, "the node's ping")
        self.step(0)

    def hello(self, **other):
        clock = receipt_pb2.Clock(
            state=receipt_pb2.CLOCK_STATE_UNSYNCED, source=receipt_pb2.CLOCK_SOURCE_KERNEL)
        fields = dict(
            versions=[1], unit=self.unit.name, node="a", software="python 1", instance_id=self.unit.instance_id,
            boot_id=self.unit.boot_id, card_number=1, now_ms=now(), clock=clock, held_checkpoint=self.unit.held.note,
            heads=link_pb2.Heads(transfers_made=self.unit.transfers, receipts_have=self.unit.held.have))
        return link_pb2.Hello(**{**fields, **other})

    def send(self, lane, **kind):
        self.send_bytes(lane, framed(**kind))

    def send_bytes(self, lane, data, end=False):
        self.quic.send_stream_data(self.opened[lane], data, end)

    def next(self, kind, seconds=WAIT):
        """The next frame of a kind; others wait for their turn. Pings are answered on the way."""
        def found():
            self.read()
            at = next((i for i, frame in enumerate(self.frames) if frame.WhichOneof("kind") == kind), None)
            return None if at is None else self.frames.pop(at)
        return getattr(self.until(found, kind, seconds), kind)

    def read(self):
        """Cuts what came into frames: four bytes of length, then a canonical Frame."""
        for stream, data in self.received.items():
            while len(data) >= 4 and len(data) - 4 >= (length := int.from_bytes(data[:4], "big")):
                frame, data = link_pb2.Frame.FromString(data[4:4 + length]), data[4 + length:]
                assert encoded(frame) == self.received[stream][4:4 + length], "the node's frames are canonical"
                self.received[stream] = data
                self.sort(stream, frame)

    def sort(self, stream, frame):
        kind = frame.WhichOneof("kind")
        theirs = stream % 4 == 1
        if theirs and stream not in self.lanes:
            assert kind == "open", "the first frame of a stream"
            self.lanes[stream] = frame.open.lane
            return
        # PROTOCOL.md, section 12: what may stand on which half of which lane.
        control = (self.lanes if theirs else {s: lane for lane, s in self.opened.items()})[stream] == LANES[0]
        allowed = {
            (True, True): {"hello", "receipts", "get_consistency", "get_inclusion", "ping"},
            (True, False): {"have", "consistency", "inclusion", "deferral", "pong"},
            (False, True): {"transfer", "void", "encapsulation"}, (False, False): {"fault", "deferral"}}
        assert kind in allowed[control, theirs], f"{kind} in the wrong place"
        if kind == "ping":
            self.quic.send_stream_data(stream, framed(pong=link_pb2.Pong(nonce=frame.ping.nonce)))
            self.answered += 1
        else:
            self.frames.append(frame)

    def have(self, number):
        """On the reverse half of their control lane."""
        stream = next(stream for stream, lane in self.lanes.items() if lane == link_pb2.LANE_CONTROL)
        self.quic.send_stream_data(stream, framed(have=link_pb2.Have(receipts=number)))
