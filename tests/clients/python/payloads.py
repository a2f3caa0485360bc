"""What the two sides of a case say: one function a kind of message. Fields that are left out are filled by the node
from its card and the profile (sender, authority, marks, legal basis, language, ids)."""
import datetime

from relay.v1 import alert_pb2, casework_pb2 as casework, payload_pb2, preservation_pb2 as preservation

DAY = 24 * 60 * 60 * 1000  # milliseconds, as all times in a payload
YES, NO = alert_pb2.ANSWER_YES, alert_pb2.ANSWER_NO
ASKING, ASKED = "XA-2026-0342", "XB-PRES-77"  # each side's own number of the case


def request(now, items=("1",), articles=("8",), **more):
    """Article 29: what paragraph 2 asks for, and no more."""
    contact = preservation.Contact
    body = preservation.PreservationRequest(
        status_of_request=preservation.REQUEST_STATUS_NEW,
        requesting_authority=contact(name="Insp. Mira Valtonen"),
        confirmation_contact=contact(name="J. Okafor", phone="+1-202-555-0144"),
        proceeding_stage=preservation.PROCEEDING_STAGE_INVESTIGATION,
        offences=[preservation.Offence(
            title="Computer-related fraud", provision="Penal Code XA s.312", convention_articles=articles)],
        facts="The account was used to redirect invoices of two firms.",
        items=[preservation.PreservationItem(
            item_id=item, provider="Mail Provider Ltd (invented)", relationship="sender of the false invoices",
            identifier=alert_pb2.Identifier(type="email", value=f"a.nonym{item}@example.com"),
            data_class=[preservation.DATA_CLASS_SUBSCRIBER, preservation.DATA_CLASS_TRAFFIC],
            time_from_ms=now - 39 * DAY, time_to_ms=now) for item in items],
        necessity=preservation.Necessity(code=preservation.NECESSITY_CODE_LOG_ROTATION, text="logs kept 30 days"),
        mla_intent=YES, mla_measures=[preservation.MLA_MEASURE_DISCLOSE], mla_intended_by_ms=now + 50 * DAY,
        traffic_data_art30=YES, may_close_account=NO,
        confidentiality=preservation.Confidentiality(keep_secret=YES, do_not_notify_user=YES, reason="suspect unaware"),
        **({"dual_criminality_note": "Fraud is an offence here and there."} if "other" in articles else {}))
    return payload_pb2.Payload(preservation_request=body, sender_ref=ASKING, **more)


def acknowledged(now, desk="night desk, A. Pillai", **more):
    body = casework.RequestAck(q_reference=ASKED, desk=desk, next_update_by_ms=now + DAY, **more)
    return payload_pb2.Payload(request_ack=body, sender_ref=ASKED)


def questions(now, asked):
    body = casework.InfoRequired(questions=each(asked), due_ms=now + 2 * DAY)
    return payload_pb2.Payload(info_required=body, sender_ref=ASKED)


def answers(revision, given):
    return payload_pb2.Payload(info_reply=casework.InfoReply(revision=revision, answers=each(given)), sender_ref=ASKING)


def each(texts):
    return [casework.Question(field=field, text=text) for field, text in texts.items()]


def risk(items):
    body = casework.RiskNotice(
        type=casework.RISK_TYPE_CONFIDENTIALITY, affected_items=items,
        explanation="The provider rents from an associate of the suspects: an order would be seen by them.")
    return payload_pb2.Payload(risk_notice=body, sender_ref=ASKED)


def change(revision, drop, proceed):
    body = casework.RiskDecision(
        value=casework.RISK_ANSWER_CHANGE, new_revision=revision, drop_items=drop, proceed_items=proceed,
        signer="Insp. Mira Valtonen")
    return payload_pb2.Payload(risk_decision=body, sender_ref=ASKING)


def accepted(items, revision=1):
    items = [casework.DecidedItem(item_id=item, decision=casework.ITEM_DECISION_ACCEPTED) for item in items]
    body = casework.PreservationDecision(q_reference=ASKED, revision=revision, items=items)
    return payload_pb2.Payload(preservation_decision=body, sender_ref=ASKED)


def refused(items, ground, article, signers=()):
    ground = casework.RefusalGround.Value(f"REFUSAL_GROUND_{ground}")
    items = [casework.DecidedItem(
        item_id=item, decision=casework.ITEM_DECISION_REFUSED, ground=ground, article=article) for item in items]
    body = casework.PreservationDecision(
        q_reference=ASKED, revision=1, items=items, reasons="As the ministry decided on the facts stated.",
        signers=signers)
    return payload_pb2.Payload(preservation_decision=body, sender_ref=ASKED)


def preserved(now, items, days=90, withdrawn=()):
    found = [casework.ConfirmedItem(
        item_id=item, status=casework.FOUND_STATUS_PRESERVED, custodian="Mail Provider Ltd (invented)",
        preserved_from_ms=now, preserved_until_ms=now + days * DAY) for item in items]
    found += [casework.ConfirmedItem(item_id=item, status=casework.FOUND_STATUS_WITHDRAWN) for item in withdrawn]
    body = casework.PreservationConfirmation(q_reference=ASKED, items=found)
    return payload_pb2.Payload(preservation_confirmation=body, sender_ref=ASKED)


def extension(until):
    body = casework.ExtensionRequest(
        previous_reference=ASKED, requested_until_ms=until, reason="The translation takes until then.",
        mla_status=casework.MLA_STATUS_DRAFTED)
    return payload_pb2.Payload(extension_request=body, sender_ref=ASKING)


def no_extension():
    body = casework.ExtensionDecision(granted=NO, remark="The law here knows one period and no second one.")
    return payload_pb2.Payload(extension_decision=body, sender_ref=ASKED)


def mla_sent(now):
    body = casework.MlaNotice(
        mla_reference="XA-MOJ-92", status=casework.MLA_STATUS_SENT, channel="post",
        central_authority="Ministry of Justice XB", date=day(now))
    return payload_pb2.Payload(mla_notice=body, sender_ref=ASKING)


def mla_received(now, outcome=None):
    """Without an outcome: it is here. With one: it is decided. The kind is the same."""
    body = casework.MlaReceived(
        q_mla_reference="XB-MOJ-5521", received_on=day(now), central_authority="Ministry of Justice XB",
        **({"outcome": outcome} if outcome else {"effect": casework.MLA_EFFECT_PRESERVED_PENDING_DECISION}))
    return payload_pb2.Payload(mla_received=body, sender_ref=ASKED)


def withdrawn(items=()):
    body = casework.Withdrawal(items=items, reason=casework.WITHDRAWAL_REASON_OBTAINED_OTHERWISE)
    return payload_pb2.Payload(withdrawal=body, sender_ref=ASKING)


def closed(now, state):
    state = casework.FinalState.Value(f"FINAL_STATE_{state}")
    return payload_pb2.Payload(closure=casework.Closure(final_state=state, at_ms=now), sender_ref=ASKED)


def day(now):
    return datetime.datetime.fromtimestamp(now / 1000, datetime.timezone.utc).strftime("%Y-%m-%d")
