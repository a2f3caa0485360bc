#!/usr/bin/env python3
"""A case system and its relay node: connect, send, watch, read, take, look at a case, answer.

    case_system.py SOCKET CURSOR_FILE                     prints what comes in and takes it, for ever
    case_system.py HOST:PORT CURSOR_FILE CA CERT KEY      the same over TLS (`[api.tcp]` in relay.toml)

It needs grpcio, and the stubs of proto/relay/v1 on PYTHONPATH: README.md in the folder above says how. Copy it.
"""
import os, pathlib, sys, time, uuid

import grpc
from relay.v1 import api_pb2 as api, api_pb2_grpc as rpc, envelope_pb2, payload_pb2

WAIT = 30  # seconds until a call is given up; the same request id asks later what became of it
RECEIVED = api.UNIT_EVENT_KIND_MESSAGE_RECEIVED


class CaseSystem:
    def __init__(self, channel):
        self.messages, self.cases = rpc.MessageServiceStub(channel), rpc.CaseServiceStub(channel)
        # The first call tells at once what is wrong with address or certificate.
        self.unit = rpc.NodeServiceStub(channel).GetStatus(api.GetStatusRequest(), timeout=WAIT).unit

    @classmethod
    def over_socket(cls, path):
        # gRPC would name the path as the authority, which HTTP/2 servers refuse.
        return cls(grpc.insecure_channel(f"unix:{path}", options=[("grpc.default_authority", "localhost")]))

    @classmethod
    def over_tls(cls, address, authority, certificate, key):
        """Files in PEM: who signed the node's certificate; our own and its key."""
        pem = [pathlib.Path(file).read_bytes() for file in (authority, key, certificate)]
        return cls(grpc.secure_channel(address, grpc.ssl_channel_credentials(*pem)))

    def send(self, request_id, to, payload, priority=envelope_pb2.PRIORITY_ROUTINE, profile="budapest-247"):
        """The message is stored for good when this returns. Keep the request id (a UUID) and the payload before the
        call: whatever broke, the same call again sends nothing twice and gives the same answer."""
        draft = api.Draft(profile=profile, to=[to], priority=priority, payload=payload)
        request = api.SendMessageRequest(request_id=str(request_id), draft=draft)
        return self.messages.SendMessage(request, timeout=WAIT).message

    def answer(self, request_id, name, payload, **more):
        """Says something in the case of a message, as an answer to that message. What is not legal there now is
        refused with FAILED_PRECONDITION, reason ILLEGAL_TRANSITION."""
        case = self.case(name)
        # Ids are text in the API and sixteen bytes in a payload.
        payload.case_id, payload.in_reply_to = uuid.UUID(case.case_id).bytes, uuid.UUID(name).bytes
        return self.send(request_id, case.peer, payload, **more)

    def case(self, name):
        """By the id of any of its messages, or its own: state, whose turn it is, what we may send (legal), what is
        due (obligations). NOT_FOUND where the message belongs to no case: an alert."""
        return self.cases.GetCase(api.GetCaseRequest(name=name), timeout=WAIT)

    def events(self, file):
        """What happens, from the cursor in the file on, for ever. The file moves on when the next event is asked for:
        what was not finished comes again after a restart, so whatever is done with an event must bear that."""
        file = pathlib.Path(file)
        while True:
            cursor = file.read_text() if file.exists() else ""
            try:
                for event in self.messages.WatchEvents(api.WatchEventsRequest(cursor=cursor), wait_for_ready=True):
                    yield event
                    new = file.with_name(file.name + ".new")
                    new.write_text(event.cursor)
                    os.replace(new, file)
            except grpc.RpcError as error:
                # The node stops, or too many watch: it is there again later, and the cursor still holds.
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                time.sleep(1)

    def read(self, message_id, purpose="casework"):
        """A message with its content. The node writes down who read it, when and for what."""
        return self.messages.GetMessage(
            api.GetMessageRequest(name=message_id, view=api.MESSAGE_VIEW_FULL, purpose=purpose), timeout=WAIT)

    def take(self, message_id, officer=""):
        """Tells the sender that this system has the message, or that an officer has it. The request id follows from
        the message, so that a repetition after a restart is the same request."""
        capacity = api.ACK_CAPACITY_DESK if officer else api.ACK_CAPACITY_HANDOVER
        request = api.AcknowledgeMessageRequest(
            request_id=str(uuid.uuid5(uuid.UUID(message_id), f"{capacity} {officer}")), name=message_id,
            capacity=capacity, by=officer)
        return self.messages.AcknowledgeMessage(request, timeout=WAIT)


def shown(text):
    """What others wrote, made harmless: no character of it moves a cursor or turns the direction of a line."""
    return "".join(c if c.isprintable() else f"\\u{{{ord(c):x}}}" for c in text)


def line(message):
    """One line about a message; the sender's name is a word of Python, so getattr reads it."""
    kind = payload_pb2.Kind.Name(message.kind).removeprefix("KIND_")
    return f"{message.short_id}  {getattr(message, 'from')}  {kind}  {shown(message.title)}"


def main(node, cursor_file, *pem):
    system = CaseSystem.over_tls(node, *pem) if pem else CaseSystem.over_socket(node)
    print(f"case system of {system.unit}", flush=True)
    for event in system.events(cursor_file):
        if event.kind == RECEIVED:
            message = system.read(event.message_id)
            # Here a real system stores message.payload, for good, before it takes the message.
            print(line(message), flush=True)
            system.take(event.message_id)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 6):
        sys.exit(__doc__)
    main(*sys.argv[1:])
