#!/usr/bin/env python3
"""What a case system meets on bad days, in Python over gRPC: deadlines that pass, calls that it cancels, watches that
break and are resumed, also over a restart of the node, and refusals that say when to come back.

usage: test_api.py FOLDER_OF_BINARIES FOLDER_OF_STUBS
"""
import sys, tempfile, time

import grpc
from google.rpc import status_pb2

BINARIES, STUBS = sys.argv[1:]
sys.path.insert(0, STUBS)
from relay.v1 import api_pb2  # noqa: E402
from case import WAIT, Node, alert, befriend, new_id, refused, reason_of, told  # noqa: E402
from node import until  # noqa: E402

Code = grpc.StatusCode
STREAMS = 256  # that the node serves at once
QUEUE = 100  # the least that `outbox.queue_messages_max` may be


def requests(count, title):
    drafts = [alert(f"{title} {n}") for n in range(count)]
    return [api_pb2.SendMessageRequest(request_id=new_id(), draft=draft) for draft in drafts]


def sent(node):
    """Message id of all that this node sent, each once."""
    found, token = [], ""
    while True:
        request = api_pb2.ListMessagesRequest(page_size=100, page_token=token, filter="direction = OUT")
        answer = node.messages.ListMessages(request, timeout=WAIT)
        found += [message.message_id for message in answer.messages]
        token = answer.next_page_token
        if not token:
            assert len(set(found)) == len(found), "listed twice"
            return found


def events(node):
    """Cursors of all events until now."""
    found, cursor = [], ""
    while True:
        answer = node.messages.ListEvents(api_pb2.ListEventsRequest(cursor=cursor, page_size=100), timeout=WAIT)
        if answer.next_cursor == cursor:
            return found
        found, cursor = found + [event.cursor for event in answer.events], answer.next_cursor


def watch(node, cursor, timeout=WAIT):
    return node.messages.WatchEvents(api_pb2.WatchEventsRequest(cursor=cursor), timeout=timeout)


def ends(stream):
    """The error that a stream ends with; what came before is thrown away."""
    try:
        for _ in stream:
            pass
    except grpc.RpcError as error:
        return error
    raise AssertionError("the stream ended well")


def deadlines(node):
    """A deadline ends a call at its time; what became of it is asked by its request id."""
    begin = time.monotonic()
    assert ends(watch(node, events(node)[-1], timeout=0.3)).code() == Code.DEADLINE_EXCEEDED
    assert 0.3 <= time.monotonic() - begin < 5
    before, late = len(sent(node)), 0
    asked = requests(20, "In a hurry")
    for n, request in enumerate(asked):
        try:
            # The first one is late for certain; of the others some are, by what the machine does.
            node.messages.SendMessage(request, timeout=max(1e-6, 0.0005 * n))
        except grpc.RpcError as error:
            # The node ends the call at the same time; its word may come before the client's own clock.
            assert error.code() in (Code.DEADLINE_EXCEEDED, Code.CANCELLED), error
            late += 1
    assert late > 0, "no deadline passed"
    answers = [node.messages.SendMessage(request, timeout=WAIT) for request in asked]
    ids = {answer.message.message_id for answer in answers}
    assert len(ids) == len(asked) and len(sent(node)) == before + len(asked), "each once, whether it was answered or not"


def cancellation(node):
    """A stream that is cancelled gives its place back; a cancelled bulk is sent again without doubles."""
    last = events(node)[-1]
    for _ in range(2):
        open_now = [watch(node, last) for _ in range(STREAMS)]
        for stream in open_now:
            stream.initial_metadata()  # that is, the node has begun its answer
        assert streams_are_full(node, last)
        for stream in open_now:
            stream.cancel()
            assert ends(stream).code() == Code.CANCELLED
        until(lambda: not streams_are_full(node, last), "places come back")
    before = len(sent(node))
    asked = requests(60, "Of a bulk that was cancelled")
    stream = node.messages.SendMessages(iter(asked), timeout=WAIT)
    first = next(stream)
    stream.cancel()
    assert ends(stream).code() == Code.CANCELLED
    answers = {answer.request_id: answer.sent for answer in node.messages.SendMessages(iter(asked), timeout=WAIT)}
    assert answers.keys() == {request.request_id for request in asked}
    assert answers[first.request_id].message_id == first.sent.message_id
    assert len(sent(node)) == before + len(asked), "each once"


def streams_are_full(node, cursor):
    stream = watch(node, cursor, timeout=0.5)
    error = ends(stream)
    if error.code() == Code.DEADLINE_EXCEEDED:
        return False
    told(error, Code.UNAVAILABLE, "BUSY")
    return True


def resumed(node):
    """A watch that breaks after every few events and is resumed sees what a whole one sees, also what comes later."""
    whole, seen, cursor = events(node), [], ""
    while len(seen) < len(whole):
        stream = watch(node, cursor)
        for _ in range(min(7, len(whole) - len(seen))):
            cursor = next(stream).cursor
            seen.append(cursor)
        stream.cancel()
    assert seen == whole, "in order, nothing twice, nothing skipped"
    stream = watch(node, cursor)
    message = node.messages.SendMessage(requests(1, "While watched")[0], timeout=WAIT).message
    # What came in between are receipts of what was sent before.
    event = next(one for one in stream if one.message_id == message.message_id)
    assert event.kind == api_pb2.UNIT_EVENT_KIND_MESSAGE_SENT, event
    # The node stops and starts: the watch is told, and its cursor holds.
    stop_and_start(node, stream)
    after = node.messages.SendMessage(requests(1, "After a restart")[0], timeout=WAIT, wait_for_ready=True).message
    for event in watch(node, event.cursor):
        if event.message_id == after.message_id:
            return
        assert event.message_id != message.message_id or event.kind != api_pb2.UNIT_EVENT_KIND_MESSAGE_SENT, "twice"


def stop_and_start(node, stream):
    assert node.stop() == 0
    told(ends(stream), Code.UNAVAILABLE, "STOPPING")
    node.start()


def full_queue(node, peer):
    """One more than fits, for a peer that is down: refused, with a time to come back; in a bulk the same."""
    room = QUEUE - node.peers.GetPeer(api_pb2.GetPeerRequest(unit=peer), timeout=WAIT).outbox_messages
    refusals = []
    for answer in node.messages.SendMessages(iter(requests(room + 3, "For nobody")), timeout=WAIT):
        if answer.WhichOneof("outcome") == "status":
            refusals.append(reason_of(status_pb2.Status.FromString(answer.status)))
    assert refusals == ["QUEUE_FULL"] * 3, refusals
    refused(node.messages.SendMessage, requests(1, "Too many")[0], Code.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    refused(node.peers.PingPeer, api_pb2.PingPeerRequest(unit=peer), Code.UNAVAILABLE, "PEER_UNREACHABLE")


def main(base, nodes):
    config = f"\n[outbox]\nqueue_messages_max = {QUEUE}\nwindow_messages = {QUEUE}\n"
    sender, recipient = (Node(BINARIES, base, unit, config) for unit in ["xa.cyber-poc", "xb.ncu"])
    nodes += [sender, recipient]
    befriend(sender, recipient)
    deadlines(sender)
    cancellation(sender)
    resumed(sender)
    assert recipient.stop() == 0
    full_queue(sender, recipient.unit)
    sender.channel.close()
    assert sender.stop() == 0
    print("OK")


if __name__ == "__main__":
    running = []
    with tempfile.TemporaryDirectory(prefix="relay-foreign.") as folder:
        try:
            main(folder, running)
        finally:
            for one in running:
                one.end()
