"""What a case system in Python has of ours: stubs generated from proto/relay/v1, over gRPC on the Unix socket."""
import time, uuid

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from node import WAIT, Program
from relay.v1 import alert_pb2, api_pb2, api_pb2_grpc, payload_pb2

# Refusals that pass by themselves: they say how long to wait.
PASSES = ["BUSY", "QUEUE_FULL", "QUOTA", "SIGNER_UNAVAILABLE", "STOPPING", "STORAGE_FULL"]


class Node(Program):
    """A node of our own in a folder, and a channel to it."""

    def __init__(self, binaries, base, unit, config=""):
        super().__init__(binaries, base, unit, config)
        # gRPC sends the socket's path as the authority, which HTTP/2 servers refuse: say another.
        self.channel = grpc.insecure_channel(f"unix:{self.socket}", options=[("grpc.default_authority", "localhost")])
        grpc.channel_ready_future(self.channel).result(WAIT)
        self.messages = api_pb2_grpc.MessageServiceStub(self.channel)
        self.peers = api_pb2_grpc.PeerServiceStub(self.channel)
        self.node = api_pb2_grpc.NodeServiceStub(self.channel)


def new_id():
    return str(uuid.uuid4())


def alert(title, to="xb.ncu"):
    now = int(time.time() * 1000)
    body = alert_pb2.Alert(
        alert_id=uuid.uuid4().bytes, revision=1, lifecycle=alert_pb2.LIFECYCLE_NEW, alert_type=alert_pb2.ALERT_TYPE_WARN,
        category="fraud/phishing", severity=alert_pb2.SEVERITY_LOW, title=title, summary="A wave in the name of a bank.",
        observed_from_ms=now - 60_000, confidence_plus_one=81, affected_countries=["XB"], valid_until_ms=now + 86_400_000,
        action_requested=[alert_pb2.ACTION_REQUESTED_CHECK_OWN_SYSTEMS],
        dissemination=alert_pb2.Dissemination(audience=alert_pb2.AUDIENCE_NAMED, onward=alert_pb2.ANSWER_YES))
    return api_pb2.Draft(profile="budapest-247", to=[to], payload=payload_pb2.Payload(alert=body, sender_ref="CASE-7"))


def details(error, *kinds):
    """The details of these kinds of google.rpc that a status carries, None for one that it does not."""
    found = []
    for kind in kinds:
        packed = [detail for detail in rpc_status.from_call(error).details if detail.Is(kind.DESCRIPTOR)]
        assert len(packed) <= 1, "a kind of detail stands once"
        found.append(kind.FromString(packed[0].value) if packed else None)
    return found


def reason_of(status):
    """The stable reason in an encoded google.rpc.Status."""
    info = error_details_pb2.ErrorInfo()
    assert sum(detail.Unpack(info) for detail in status.details) == 1
    return info.reason


def refused(call, request, code, reason, fields=()):
    """The call fails with this code, this stable reason, and faults of at least these fields."""
    try:
        answer = call(request, timeout=WAIT)
        list(answer) if hasattr(answer, "__next__") else answer
    except grpc.RpcError as error:
        told(error, code, reason, fields)
        return error
    raise AssertionError(f"not refused: {reason}")


def told(error, code, reason, fields=()):
    """A status says this, and when to come back where that helps."""
    assert error.code() == code, (error.code(), error.details())
    info, bad, retry = details(
        error, error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo)
    assert (info.reason, info.domain) == (reason, "relay.v1"), info
    found = {violation.field: violation for violation in bad.field_violations} if bad else {}
    assert all(violation.description for violation in found.values()), bad
    assert set(fields) <= set(found), (fields, found)
    assert bool(retry and retry.retry_delay.ToMilliseconds() > 0) == (reason in PASSES), (reason, retry)


def introduce(one, other):
    """Cards, then the digits that the other side reads out."""
    card = other.node.GetCard(api_pb2.GetCardRequest(), timeout=WAIT).card
    peer = one.peers.AddPeer(api_pb2.AddPeerRequest(request_id=new_id(), card=card), timeout=WAIT)
    assert peer.trust == api_pb2.PEER_TRUST_UNVERIFIED
    refused(one.messages.SendMessage, api_pb2.SendMessageRequest(request_id=new_id(), draft=alert("Early", other.unit)),
            grpc.StatusCode.FAILED_PRECONDITION, "PEER_UNVERIFIED", ["draft.to"])
    return peer.fingerprint


def befriend(one, other):
    """Both import each other's card, read the same number and say so."""
    digits = [introduce(one, other), introduce(other, one)]
    assert digits[0] == digits[1], "both sides read the same number"
    for node, peer in [(one, other), (other, one)]:
        request = api_pb2.VerifyPeerRequest(request_id=new_id(), unit=peer.unit, fingerprint=digits[0], by="Sgt. Python")
        assert node.peers.VerifyPeer(request, timeout=WAIT).trust == api_pb2.PEER_TRUST_VERIFIED
