"""Packets: what comes back is the user's, whole, once, and goes over nobody's head."""

import hmac
import json
from datetime import timedelta

import pytest

from pipeline.review.desk import Desk
from pipeline.review.listing import View
from pipeline.review.packets import DAYS, Packet, key_of_packet
from pipeline.review.people import Person
from pipeline.review.refusals import Forbidden, Missing, Refusal
from pipeline.review.work import Action
from tests.pipeline.review.scored import ADA, ANN, BOB, EVE, LEA, MONDAY, Clock, desk_config, score_batch

PASSWORD = "correct horse battery"
AT = "2025-03-03T12:30:00.000Z"


def pack(desk: Desk, view: View | None = None, user: str = "ann") -> Packet:
    if not any(other.name == user for other in desk.users(ADA)):
        desk.add_user(user, PASSWORD, "analyst", ADA)
    return desk.make_packet(view or View(), user, ADA, lambda packet: None)


def filled(source: Packet, labels: dict[str, str], **changes: object) -> str:
    """The file that a packet's page would give, signed by the packet's key as the standard library does it."""
    decisions = {key: {"label": label, "code": "", "comment": "seen", "at": AT} for key, label in labels.items()}
    body = json.dumps({"packet": source.id, "decisions": decisions, **changes})
    return json.dumps(
        {"body": body, "signature": hmac.new(bytes.fromhex(source.key), body.encode(), "sha256").hexdigest()}
    )


def by_id(packet: Packet) -> dict[str, str]:
    return {carried.line.id: carried.line.key for carried in packet.alerts}


def test_decisions_come_in_as_those_of_the_user_with_the_moment_and_the_packet(desk: Desk, clock: Clock) -> None:
    packet = pack(desk)
    assert [carried.line.id for carried in packet.alerts] == [str(number) for number in range(1, 11)]
    assert list(packet.alerts[0].cells) == ["card", "shop", "channel", "device"]
    keys = by_id(packet)
    clock.ahead(hours=5)
    arrival = desk.take_packet(filled(packet, {keys["1"]: "fraud", keys["4"]: "not_fraud"}), ADA)
    assert (arrival.packet, arrival.user, arrival.clashes) == (packet.id, "ann", ())
    line = desk.page(View(state="decided"), ANN).lines[0]
    assert (line.id, line.label, line.decided_by, line.decided_at) == ("1", "fraud", "ann", MONDAY + timedelta(hours=5))
    (event,) = desk.alert(keys["4"], LEA).events
    assert (event.kind, event.who, event.at) == ("decide", "ann", MONDAY + timedelta(hours=5))
    noted = {name: event.after[name] for name in ("label", "comment", "packet", "made_at")}
    assert noted == {
        "label": "not_fraud",
        "comment": "seen",
        "packet": packet.id,
        "made_at": "2025-03-03T12:30:00+00:00",
    }
    assert desk.rebuild() == desk.verify().number
    assert desk.page(View(), ANN).counts["decided"] == 2


def test_a_packet_is_ones_own_or_an_admins_to_make_and_to_bring_back(desk: Desk) -> None:
    pack(desk)
    for who in (BOB, LEA, EVE):
        with pytest.raises(Forbidden, match="'people' needs admin"):
            desk.make_packet(View(), "ann", who, lambda packet: None)
    packet = desk.make_packet(View(), "ann", ANN, lambda packet: None)
    file = filled(packet, {by_id(packet)["1"]: "fraud"})
    before = desk.verify().number
    for who in (BOB, LEA):
        with pytest.raises(Forbidden, match="'people' needs admin"):
            desk.take_packet(file, who)
    assert desk.verify().number == before
    assert len(desk.take_packet(file, ANN).events) == 1


def test_one_undo_takes_back_what_a_packet_decided(desk: Desk) -> None:
    packet = pack(desk)
    keys = by_id(packet)
    desk.take_packet(filled(packet, {keys["1"]: "fraud", keys["2"]: "fraud"}), ADA)
    assert desk.undo(ANN).sentence == "taken back: decide of 2 alerts"
    assert desk.page(View(), ANN).counts["decided"] == 0


def test_a_packet_comes_back_once_and_is_told_when_that_was(desk: Desk, clock: Clock) -> None:
    packet = pack(desk)
    key = by_id(packet)["1"]
    desk.take_packet(filled(packet, {key: "fraud"}), ADA)
    clock.ahead(days=1)
    with pytest.raises(Refusal, match=r"was brought back on 2025-03-03 at 09:00 UTC by ada already, and that is done"):
        desk.take_packet(filled(packet, {key: "not_fraud"}), ADA)
    assert desk.page(View(state="decided"), ANN).lines[0].label == "fraud"


def test_what_was_done_since_stays_and_is_listed(desk: Desk) -> None:
    packet = pack(desk)
    keys = by_id(packet)
    numbers = {line.id: line.event for line in desk.page(View(), BOB).lines}
    desk.act({keys["1"]: numbers["1"]}, Action(kind="decide", label="not_fraud"), BOB)
    desk.act({keys["2"]: numbers["2"]}, Action(kind="escalate", why="odd"), BOB)
    desk.act({keys["3"]: numbers["3"]}, Action(kind="assign", assignee="bob"), BOB)
    desk.hold(keys["4"], BOB)
    score_batch(desk.config, [6, 7, 8, 9, 10], batch="b2", replaces=["b1"])
    desk.sync()
    arrival = desk.take_packet(filled(packet, dict.fromkeys(keys.values(), "fraud")), ADA)
    assert {clash.id: clash.why for clash in arrival.clashes} == {
        "1": "a colleague has decided 'not fraud'; supersede that, or leave it",
        **dict.fromkeys("2345", "the alert was withdrawn: its file was replaced by a changed one"),
        **dict.fromkeys(("6", "7", "8", "9", "10"), "the alert has changed since the packet was made"),
    }
    assert arrival.events == ()
    assert desk.page(View(), ANN).counts["decided"] == 1


def test_what_another_holds_or_a_rule_forbids_is_left_out_alone(tmp_path) -> None:
    config = desk_config(tmp_path, codes=["stolen"], code_needed=["fraud"])
    score_batch(config, range(1, 4))
    desk = Desk(config, Clock(), chance=lambda: 1.0)
    desk.sync()
    packet = pack(desk)
    keys = by_id(packet)
    desk.hold(keys["2"], BOB)
    labels = {keys["1"]: "fraud", keys["2"]: "not_fraud", keys["3"]: "not_fraud"}
    arrival = desk.take_packet(filled(packet, labels), ADA)
    assert {clash.id: clash.why for clash in arrival.clashes} == {
        "1": "a decision of 'fraud' needs a reason code: stolen",
        "2": "bob holds the alert until 09:10 UTC",
    }
    assert [event.subject for event in arrival.events] == [keys["3"]]
    desk.close()


def test_a_file_that_was_changed_or_is_of_another_packet_changes_nothing(desk: Desk) -> None:
    packet, other = pack(desk), pack(desk, View(search="card-1"))
    key = by_id(packet)["1"]
    before = desk.verify().number
    file = json.loads(filled(packet, {key: "not_fraud"}))
    changed = json.dumps({**file, "body": file["body"].replace("not_fraud", "fraud")})
    as_other = filled(other, {key: "fraud"}, packet=packet.id)
    for text, words in {
        changed: "is not as the packet's page wrote it; nothing was taken in",
        as_other: "is not as the packet's page wrote it",
        filled(packet, {"0" * 20: "fraud"}): f"decides '{'0' * 20}', which packet {packet.id} has not",
        filled(packet, {key: "fraud"}, packet="0" * 16): "has made no packet '0000000000000000'",
        filled(packet, {key: "maybe"}): "is no file of decisions",
        filled(packet, {key: "fraud"}, who="lea"): "is no file of decisions",
        "[" * 100_000: "is no file of decisions",
        "": "is no file of decisions",
        json.dumps({"body": 1, "signature": "é"}): "is no file of decisions",
    }.items():
        with pytest.raises(Refusal, match=words):
            desk.take_packet(text, ADA)
    assert desk.verify().number == before


def test_a_packet_that_is_too_old_or_whose_user_is_gone_is_refused(desk: Desk, clock: Clock) -> None:
    packet, other = pack(desk), pack(desk, user="cal")
    keys = by_id(packet)
    desk.change_user("cal", ADA, is_ended=True)
    with pytest.raises(Missing, match="no user 'cal' who may log in"):
        desk.take_packet(filled(other, {keys["1"]: "fraud"}), ADA)
    desk.change_user("ann", ADA, role="viewer")
    with pytest.raises(Forbidden, match="ann is viewer"):
        desk.take_packet(filled(packet, {keys["1"]: "fraud"}), ADA)
    desk.change_user("ann", ADA, role="analyst")
    clock.ahead(days=DAYS, seconds=1)
    with pytest.raises(Refusal, match=f"ended on 2025-03-10, {DAYS} days after it was made"):
        desk.take_packet(filled(packet, {keys["1"]: "fraud"}), ADA)


def test_packets_are_of_what_the_user_may_have_and_nothing_for_viewers(tmp_path) -> None:
    config = desk_config(tmp_path, sensitive=["card"])
    score_batch(config, range(1, 6))
    desk = Desk(config, Clock())
    desk.sync()
    desk.add_user("vic", PASSWORD, "viewer", ADA)
    assert "card-" not in repr(pack(desk))
    desk.add_user("lea", PASSWORD, "lead", ADA)
    assert "card-1" in repr(pack(desk, user="lea"))
    lines = {line.id: line for line in desk.page(View(), LEA).lines}
    desk.act({lines["2"].key: lines["2"].event}, Action(kind="assign", assignee="bob"), LEA)
    assert sorted(by_id(pack(desk, View(state="decided", start=3)))) == ["1", "3", "4", "5"]
    for who, user, error in ((LEA, "ann", Forbidden), (ADA, "vic", Forbidden), (ADA, "nil", Missing)):
        with pytest.raises(error):
            desk.make_packet(View(), user, who, lambda packet: None)
    with pytest.raises(Missing, match="no open alert is like that"):
        pack(desk, View(search="nothing"))
    with pytest.raises(Forbidden):
        desk.take_packet("", EVE)
    desk.close()


def test_a_packet_that_could_not_be_left_was_never_made(desk: Desk) -> None:
    desk.add_user("ann", PASSWORD, "analyst", ADA)
    before = desk.verify().number

    def leave(packet: Packet) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        desk.make_packet(View(), "ann", ADA, leave)
    assert desk.verify().number == before


def test_the_key_is_another_one_for_each_packet_user_and_desk_and_says_nothing_of_the_secret(tmp_path) -> None:
    config, other = desk_config(tmp_path / "one"), desk_config(tmp_path / "other")
    keys = {
        key_of_packet(where, packet, user) for where in (config, other) for packet in ("p", "q") for user in ("a", "b")
    }
    assert len(keys) == 8
    secret = (tmp_path / "one" / "work" / "packets.key").read_bytes()
    text = json.dumps(["packet", "cards", "p", "a"], separators=(",", ":"))
    assert key_of_packet(config, "p", "a") == hmac.new(secret, text.encode(), "sha256").digest()


def test_the_events_page_says_who_took_one_along_and_who_brought_it(desk: Desk) -> None:
    from pipeline.review.recent import recent
    from pipeline.review.web.journal import in_words

    packet = pack(desk)
    desk.take_packet(filled(packet, {by_id(packet)["1"]: "fraud"}), ADA)
    with desk.store.reading() as reading:
        said = [in_words(event) for event in recent(reading, Person("lea", "lead"))]
    assert said[:3] == ["brought a packet back of ann", "decided fraud in a packet: seen", "made a packet of ann"]
