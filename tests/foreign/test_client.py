#!/usr/bin/env python3
"""Talks to two nodes as a case system in another language does: gRPC over the Unix socket, with stubs that were
generated from proto/relay/v1 and nothing else of ours. Starts the nodes itself and stops them.

usage: test_client.py FOLDER_OF_BINARIES FOLDER_OF_STUBS
"""
import sys, tempfile

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

BINARIES, STUBS = sys.argv[1:]
sys.path.insert(0, STUBS)
from relay.v1 import api_pb2, receipt_pb2  # noqa: E402
from case import WAIT, Node, alert, befriend, new_id, refused  # noqa: E402


def health_and_reflection(node):
    health = health_pb2_grpc.HealthStub(node.channel)
    for service in ["", "relay.v1.MessageService", "store"]:
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=WAIT)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    reflection = reflection_pb2_grpc.ServerReflectionStub(node.channel)
    asked = [reflection_pb2.ServerReflectionRequest(list_services=""),
             reflection_pb2.ServerReflectionRequest(file_containing_symbol="relay.v1.MessageService")]
    services, file = reflection.ServerReflectionInfo(iter(asked), timeout=WAIT)
    names = {service.name for service in services.list_services_response.service}
    ours = {"relay.v1.MessageService", "relay.v1.PeerService", "relay.v1.NodeService"}
    assert ours | {"grpc.health.v1.Health"} <= names, names
    assert file.file_descriptor_response.file_descriptor_proto


def mistakes(node):
    send = node.messages.SendMessage
    refused(send, api_pb2.SendMessageRequest(draft=alert("No id")), grpc.StatusCode.INVALID_ARGUMENT,
            "REQUEST_ID_MISSING", ["request_id"])
    refused(send, api_pb2.SendMessageRequest(request_id=new_id(), draft=alert("Nobody", "xz.ncu")),
            grpc.StatusCode.NOT_FOUND, "UNKNOWN_RECIPIENT", ["draft.to"])
    empty = alert("")
    empty.payload.alert.category = ""
    refused(send, api_pb2.SendMessageRequest(request_id=new_id(), draft=empty), grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_CONTENT", ["draft.payload.alert.title", "draft.payload.alert.category"])
    refused(node.messages.ListMessages, api_pb2.ListMessagesRequest(filter="colour = red"),
            grpc.StatusCode.INVALID_ARGUMENT, "BAD_FILTER", ["filter"])
    refused(node.messages.ListMessages, api_pb2.ListMessagesRequest(page_token="junk"),
            grpc.StatusCode.INVALID_ARGUMENT, "BAD_CURSOR")
    refused(node.messages.WatchEvents, api_pb2.WatchEventsRequest(cursor="junk"), grpc.StatusCode.INVALID_ARGUMENT,
            "BAD_CURSOR", ["cursor"])
    refused(node.messages.GetMessage, api_pb2.GetMessageRequest(name="0000-0000"), grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def send_once(node):
    request = api_pb2.SendMessageRequest(request_id=new_id(), draft=alert("Parcel-fee kit"))
    first = node.messages.SendMessage(request, timeout=WAIT)
    again = node.messages.SendMessage(request, timeout=WAIT)
    assert (first.repeated_request, again.repeated_request) == (False, True)
    assert first.message.message_id == again.message.message_id
    other = api_pb2.SendMessageRequest(request_id=request.request_id, draft=alert("Another"))
    refused(node.messages.SendMessage, other, grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_CONFLICT")
    checked = api_pb2.SendMessageRequest(request_id=new_id(), draft=alert("Checked"), validate_only=True)
    node.messages.SendMessage(checked, timeout=WAIT)
    return first.message


def bulk(node, count):
    requests = [api_pb2.SendMessageRequest(request_id=new_id(), draft=alert(f"Bulk {n}")) for n in range(count)]
    answers = list(node.messages.SendMessages(iter(requests), timeout=WAIT))
    assert {answer.request_id for answer in answers} == {request.request_id for request in requests}
    return {answer.sent.message_id for answer in answers}


def watch(node, cursor, wanted):
    """Reads events from a cursor until one is wanted; gives it."""
    stream = node.messages.WatchEvents(api_pb2.WatchEventsRequest(cursor=cursor), timeout=WAIT)
    for event in stream:
        if wanted(event):
            stream.cancel()
            return event
    raise AssertionError("the stream ended")


def pages(node, filter):
    found, token = [], ""
    while True:
        request = api_pb2.ListMessagesRequest(page_size=2, page_token=token, filter=filter)
        answer = node.messages.ListMessages(request, timeout=WAIT)
        found += [message.message_id for message in answer.messages]
        token = answer.next_page_token
        if not token:
            return found


def acknowledge(node, message_id):
    request = api_pb2.AcknowledgeMessageRequest(
        request_id=new_id(), name=message_id, capacity=api_pb2.ACK_CAPACITY_DESK, by="Sgt. Python")
    first = node.messages.AcknowledgeMessage(request, timeout=WAIT)
    again = node.messages.AcknowledgeMessage(request, timeout=WAIT)
    assert not first.already_acknowledged and first == again
    assert first.receipt.event == receipt_pb2.EVENT_CONSIGNMENT_ACCEPTANCE
    refused(node.messages.AcknowledgeMessage,
            api_pb2.AcknowledgeMessageRequest(request_id=new_id(), name=message_id, capacity=api_pb2.ACK_CAPACITY_DESK),
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_CONTENT", ["by"])


def events_are_resumed(node):
    """From any cursor on: the rest, in order, nothing twice, nothing skipped."""
    def listed(cursor):
        found = []
        while True:
            answer = node.messages.ListEvents(api_pb2.ListEventsRequest(cursor=cursor, page_size=3), timeout=WAIT)
            if answer.next_cursor == cursor:
                return found
            found, cursor = found + [event.cursor for event in answer.events], answer.next_cursor
    whole = listed("")
    assert len(set(whole)) == len(whole) > 3
    for at, cursor in enumerate(whole):
        assert listed(cursor) == whole[at + 1:]


def main(base, nodes):
    for unit in ["xa.cyber-poc", "xb.ncu"]:
        nodes.append(Node(BINARIES, base, unit))
    sender, recipient = nodes
    health_and_reflection(sender)
    befriend(sender, recipient)
    mistakes(sender)
    message = send_once(sender)
    ids = bulk(sender, 4) | {message.message_id}
    seen = set()
    received = api_pb2.UNIT_EVENT_KIND_MESSAGE_RECEIVED
    watch(recipient, "", lambda event: event.kind == received and seen.add(event.message_id) or seen == ids)
    inbox = pages(recipient, "direction = IN AND acknowledged = no")
    assert len(inbox) == len(ids) and set(inbox) == ids, "each once"
    full = recipient.messages.GetMessage(
        api_pb2.GetMessageRequest(
            name=message.message_id, view=api_pb2.MESSAGE_VIEW_FULL, purpose="a test"), timeout=WAIT)
    assert full.payload.alert.title == "Parcel-fee kit" and full.payload.authority.phone == "+1-202-555-0100"
    # The sender's cursor of now: the officer's receipt comes after it.
    before = sender.messages.ListEvents(api_pb2.ListEventsRequest(page_size=1000), timeout=WAIT).next_cursor
    acknowledge(recipient, message.message_id)
    taken = watch(sender, before, lambda event: event.receipt_event == receipt_pb2.EVENT_CONSIGNMENT_ACCEPTANCE)
    assert taken.message_id == message.message_id
    receipts = sender.messages.ListReceipts(api_pb2.ListReceiptsRequest(name=message.short_id), timeout=WAIT).receipts
    assert all(receipt.verified for receipt in receipts) and receipts[-1].actor == "Sgt. Python"
    events_are_resumed(sender)
    for node in nodes:
        node.channel.close()
    assert [node.stop() for node in (recipient, sender)] == [0, 0], "an orderly stop"
    print("OK")


if __name__ == "__main__":
    running = []
    with tempfile.TemporaryDirectory(prefix="relay-foreign.") as folder:
        try:
            main(folder, running)
        finally:
            for one in running:
                one.end()
