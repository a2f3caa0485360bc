#!/usr/bin/env python3
"""The stories of a preservation request, from the first message to the last, at two desks. After each step state,
items, obligations, order of the messages and evidence are the same at both ends.

usage: stories.py FOLDER_OF_BINARIES FOLDER_OF_STUBS [--cut] [STORY]...

With --cut the wire between the nodes is cut for every step and healed after it.
"""
import sys, tempfile, time, uuid

ARGUMENTS = [word for word in sys.argv[1:] if word != "--cut"]
BINARIES, STUBS, *CHOSEN = ARGUMENTS
sys.path.insert(0, STUBS)
from desks import Desks  # noqa: E402
from relay.v1 import api_pb2 as api, casework_pb2 as casework, envelope_pb2  # noqa: E402
import payloads as say  # noqa: E402

MINUTE = 60_000  # milliseconds


def plain(desks):
    """Asked, taken, accepted, preserved, followed by mutual assistance, released."""
    asking, asked = desks.asking, desks.asked
    case = desks.request(say.request(desks.now()))
    owed(case, ACKNOWLEDGE=asked)
    taken = {"q_reference": "XB-PRES-77", "desk": "night desk, A. Pillai", "next_update_by": "@+6h"}
    case = desks.says(asked, "REQUEST_ACK", {"ack": taken}, "ACKNOWLEDGED")
    owed(case, DECIDE=asked)
    case = desks.answer(asked, say.accepted(["1"]), "ACCEPTED")
    owed(case, CONFIRM=asked)
    assert not case.obligations[0].HasField("due_time"), "the treaty says `expeditiously`"
    now = desks.now()
    case = desks.answer(asked, say.preserved(now, ["1"]), "PRESERVED")
    owed(case, USE_OR_LOSE=asking)
    items(case, PRESERVED=["1"])
    assert case.preserved_until.ToMilliseconds() == now + 90 * say.DAY
    case = desks.answer(asking, say.mla_sent(desks.now()), "PRESERVED")
    owed(case, CONFIRM_MLA=asked, USE_OR_LOSE=asking)
    case = desks.answer(asked, say.mla_received(desks.now()), "MLA_PENDING")
    owed(case)
    assert not case.HasField("preserved_until"), "nothing ends while it is pending"
    desks.refuses(asked, say.closed(desks.now(), "RELEASED"), "ILLEGAL_TRANSITION")
    case = desks.answer(asked, say.mla_received(desks.now(), casework.MLA_OUTCOME_EXECUTED), "MLA_PENDING")
    owed(case, CLOSE=asked)
    case = desks.answer(asked, say.closed(desks.now(), "RELEASED"), "RELEASED")
    ended(desks, case, RELEASED=["1"])


def questions_and_risk(desks):
    """A form with a gap, a warning, one item dropped, one withdrawn later, the rest withdrawn at last."""
    asking, asked = desks.asking, desks.asked
    desks.request(say.request(desks.now(), items=["1", "2", "3"]))
    desks.answer(asked, say.acknowledged(desks.now()), "ACKNOWLEDGED")
    case = desks.answer(asked, say.questions(desks.now(), {"items[1].description": "Which mailbox?"}), "INFO_REQUIRED")
    owed(case, ANSWER=asking)
    assert case.obligations[0].rule == api.TERM_RULE_STATED and case.obligations[0].due_time == case.answers_due
    desks.refuses(asked, say.accepted(["1"]), "ILLEGAL_TRANSITION")
    case = desks.answer(asking, say.answers(2, {"items[1].description": "The one for invoices."}), "ACKNOWLEDGED")
    assert case.revision == 2 and not case.HasField("answers_due")
    case = desks.answer(asked, say.risk(["1"]), "RISK_NOTIFIED")
    owed(case, DECIDE_RISK=asking)
    case = desks.answer(asking, say.change(3, drop=["1"], proceed=["2", "3"]), "ACKNOWLEDGED")
    items(case, WITHDRAWN=["1"], PENDING=["2", "3"])
    facts = desks.refuses(asked, say.accepted(["2", "3"], revision=2), "ILLEGAL_TRANSITION")
    assert facts["state"] == "ACKNOWLEDGED", facts
    desks.answer(asked, say.accepted(["2", "3"], revision=3), "ACCEPTED")
    case = desks.answer(asked, say.preserved(desks.now(), ["2", "3"], withdrawn=["1"]), "PRESERVED")
    items(case, WITHDRAWN=["1"], PRESERVED=["2", "3"])
    case = desks.answer(asking, say.withdrawn(["3"]), "PRESERVED")
    items(case, WITHDRAWN=["1"], PRESERVED=["2"], RELEASED=["3"])
    owed(case, USE_OR_LOSE=asking)
    case = desks.answer(asking, say.withdrawn(), "WITHDRAWN")
    owed(case, CLOSE=asked)
    case = desks.answer(asked, say.closed(desks.now(), "WITHDRAWN"), "WITHDRAWN")
    ended(desks, case, WITHDRAWN=["1"], RELEASED=["2", "3"])


def refusal(desks):
    """Grounds that do not hold are not sent at all; one of the closed list that does ends the case."""
    asked = desks.asked
    desks.request(say.request(desks.now()))
    case = desks.answer(asked, say.acknowledged(desks.now()), "ACKNOWLEDGED")
    for ground, article, signers in [
            ("DUAL_CRIMINALITY_RESERVED", "29(4)", ()),  # the offence is of Article 8
            ("ESSENTIAL_INTERESTS", "29(5)(b)", ["R. Lindqvist"]),  # one officer alone
            ("DOMESTIC_LAW_LIMIT", "29(3)", ()),  # not in this network
    ]:
        desks.refuses(asked, say.refused(["1"], ground, article, signers), "UNFOUNDED_REFUSAL")
    owed(desks.agree(), DECIDE=asked)
    officers = ["R. Lindqvist", "A. Pillai"]
    case = desks.answer(asked, say.refused(["1"], "ESSENTIAL_INTERESTS", "29(5)(b)", officers), "REFUSED")
    ended(desks, case, REFUSED=["1"])
    # Of an offence outside of Articles 2 to 11 dual criminality may be asked for.
    desks.request(say.request(desks.now(), articles=["other"]))
    desks.answer(asked, say.acknowledged(desks.now()), "ACKNOWLEDGED")
    case = desks.answer(asked, say.refused(["1"], "DUAL_CRIMINALITY_RESERVED", "29(4)"), "REFUSED")
    ended(desks, case, REFUSED=["1"])


def to_the_end(desks):
    """An extension is asked for and refused; nobody asks for mutual assistance; the period ends."""
    asking, asked = desks.asking, desks.asked
    desks.request(say.request(desks.now()))
    desks.answer(asked, say.acknowledged(desks.now()), "ACKNOWLEDGED")
    desks.answer(asked, say.accepted(["1"]), "ACCEPTED")
    now = desks.now()
    end = now + 60 * say.DAY
    desks.answer(asked, say.preserved(now, ["1"], days=60), "PRESERVED")
    case = desks.answer(asking, say.extension(end + 30 * say.DAY), "PRESERVED")
    assert case.extension_pending
    owed(case, DECIDE_EXTENSION=asked, USE_OR_LOSE=asking)
    case = desks.answer(asked, say.no_extension(), "PRESERVED")
    assert not case.extension_pending and case.preserved_until.ToMilliseconds() == end
    # The node that holds the data warns by itself, of points that were missed together once.
    for times, (day, stage) in enumerate([(31, "HALF"), (49, "LATE"), (59, "LATE")], 1):
        desks.shift(f"+{day}d")
        desks.warned(times)
        owed(desks.agree(), stage, USE_OR_LOSE=asking)
    # The end has passed. What is asked for too late is refused; and for a day nothing expires: an extension that was
    # signed in time may still be on its way.
    desks.shift(f"+{60 * 24 * 60 + 60}m")
    owed(desks.agree(), "OVERDUE", USE_OR_LOSE=asking)
    desks.refuses(asking, say.extension(end + 30 * say.DAY), "ILLEGAL_TRANSITION")
    desks.refuses(asked, say.closed(desks.now(), "EXPIRED"), "ILLEGAL_TRANSITION")
    desks.shift("+62d")
    case = desks.answer(asked, say.closed(desks.now(), "EXPIRED"), "EXPIRED")
    ended(desks, case, EXPIRED=["1"])


def emergency_by_night(desks):
    """Nobody answers in time: both ends show it; then another desk takes it."""
    asking, asked = desks.asking, desks.asked
    payload = say.request(desks.now(), urgency_reason="a child is in danger")
    case = desks.request(payload, priority=envelope_pb2.PRIORITY_EMERGENCY)
    owed(case, "RUNNING", ACKNOWLEDGE=asked)
    term, = case.obligations
    assert term.due_time.ToMilliseconds() - term.begin_time.ToMilliseconds() == 15 * MINUTE
    desks.shift("+20m")
    owed(desks.agree(), "OVERDUE", ACKNOWLEDGE=asked)
    for desk in desks.running:
        late, = desk.desk("deadlines", status=(1,))["obligations"]  # 1: somebody has to act
        assert (late["stage"], late["unit"], late["short_id"]) == ("OVERDUE", asked.unit, case.short_id), late
    # An officer's word that he has the message is a receipt, and no step of the case.
    asked.desk("ack", case.short_id, "--by", "Det. Sgt. Arun Pillai")
    case = desks.agree()
    assert len(case.steps) == 1
    owed(case, "OVERDUE", ACKNOWLEDGE=asked)
    fallback = "fallback contact: T. Okoro, +1-202-555-0199"
    case = desks.answer(asked, say.acknowledged(desks.now(), desk=fallback), "ACKNOWLEDGED")
    owed(case, "RUNNING", DECIDE=asked)
    assert asking.case_system.read(case.steps[-1].message_id).payload.request_ack.desk == fallback


def crossing(desks):
    """What each side says before it has the other's word: both ends put it in one order."""
    asking, asked = desks.asking, desks.asked
    desks.request(say.request(desks.now()))
    desks.answer(asked, say.acknowledged(desks.now()), "ACKNOWLEDGED")
    last = desks.answer(asked, say.accepted(["1"]), "ACCEPTED").steps[-1].message_id
    with desks.away(asking, asked) as sent:
        for desk, payload in [(asking, say.withdrawn()), (asked, say.preserved(desks.now(), ["1"]))]:
            sent.append(desk.case_system.answer(uuid.uuid4(), last, payload).message_id)
        states = [desks.seen(desk).state for desk in desks.running]
        assert states == [api.CASE_STATE_WITHDRAWN, api.CASE_STATE_PRESERVED], states
    for message_id in sent:
        case = desks.agree(message_id, "WITHDRAWN")
        desks.prove(message_id)
    # The confirmation comes first, whichever was sent first: what it preserved is released.
    assert [step.message_id for step in case.steps[-2:]] == sent[::-1]
    assert {step.outcome for step in case.steps} == {api.STEP_OUTCOME_MADE}
    owed(case, CLOSE=asked)
    case = desks.answer(asked, say.closed(desks.now(), "WITHDRAWN"), "WITHDRAWN")
    ended(desks, case, RELEASED=["1"])


STORIES = [plain, questions_and_risk, refusal, to_the_end, emergency_by_night, crossing]


# ---- what a case must show


def owed(case, stage=None, **duties):
    """These duties, each from this desk's unit, and no others; all as far as this, where that is stated."""
    found = {api.Duty.Name(one.duty).removeprefix("DUTY_"): one.unit for one in case.obligations}
    assert found == {duty: desk.unit for duty, desk in duties.items()}, case.obligations
    stages = {api.TermStage.Name(one.stage).removeprefix("TERM_STAGE_") for one in case.obligations}
    assert stage is None or stages == {stage}, case.obligations


def items(case, **states):
    found = {one.item_id: api.ItemState.Name(one.state).removeprefix("ITEM_STATE_") for one in case.items}
    assert found == {item: state for state, named in states.items() for item in named}, case.items


def ended(desks, case, **states):
    """Nothing is owed, it is nobody's turn, and nothing may be sent."""
    items(case, **states)
    owed(case)
    for desk in desks.running:
        shown = desks.seen(desk)
        assert not shown.turn and not shown.legal, shown


def main(cut):
    chosen = [story for story in STORIES if not CHOSEN or story.__name__ in CHOSEN]
    assert chosen, f"the stories: {[story.__name__ for story in STORIES]}"
    for story in chosen:
        begin = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="relay-stories.") as base:
            desks = Desks(BINARIES, base, cut)
            try:
                story(desks)
            finally:
                desks.close()
        print(f"{story.__name__:20} {desks.steps:2} steps, {time.monotonic() - begin:.0f} s", flush=True)
    print("OK")


if __name__ == "__main__":
    main("--cut" in sys.argv[1:])
