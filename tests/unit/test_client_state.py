"""What each frame does to what a client holds."""

import msgspec
import pytest

from bhavcast.client.errors import BadFrame
from bhavcast.client.events import Dropped, Hello, Notice, Reset, Resumed, Synced, Trouble, Update
from bhavcast.client.state import Disorder, State
from bhavcast.domain.position import Position

EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
OTHER = "20261124T0345Z-0000000000000001"
HELLO = {"t": "hello", "limits": {"symbols_per_message": 3}, "heartbeat_ms": 1000}


def pos(rev: int, epoch: str = EPOCH) -> str:
    return f"{epoch}:{rev}"


def row(symbol: str, rev: int, **fields: object) -> dict:
    return {"symbol": symbol, **fields, "rev": rev}


def say(client: State, **message: object) -> list:
    return client.receive(msgspec.json.encode(message).decode())


def sent(state: State) -> list[dict]:
    return [msgspec.json.decode(frame) for frame in state.outgoing()]


def greeted(**wish) -> State:
    state = State(**wish)
    say(state, **HELLO)
    sent(state)
    return state


def subscribed(*rows: dict, at: int = 10, state: State | None = None) -> State:
    """A client that holds these rows, complete to `at`."""
    state = state or greeted()
    symbols = [each["symbol"] for each in rows]
    state.subscribe(symbols)
    number = sent(state)[-1]["id"]
    say(state, t="ack", id=number, ok=symbols, bad=[], active=len(rows))
    say(state, t="snap", id=number, q=list(rows))
    say(state, t="sync", id=number, count=len(rows), pos=pos(at))
    assert state.complete
    return state


def reconnect(state: State) -> list[dict]:
    state.disconnected()
    say(state, **HELLO)
    return sent(state)


# -- subscribing


def test_nothing_is_sent_before_the_hello_and_everything_after_it():
    state = State(fields="ltp", hz=2)
    state.subscribe(["500325", "TCS"])
    assert sent(state) == []
    assert isinstance(say(state, **HELLO)[0], Hello)
    shown, sub = sent(state)
    assert (shown["t"], shown["fields"], shown["hz"]) == ("set", "ltp", 2)
    assert (sub["t"], sub["symbols"]) == ("sub", ["500325", "TCS"])


def test_a_subscription_is_complete_at_its_sync():
    state = greeted()
    state.subscribe(["RELIANCE"])
    number = sent(state)[0]["id"]
    assert say(state, t="ack", id=number, ok=["500325"], bad=[], active=1) == []
    [update] = say(state, t="snap", id=number, q=[row("500325", 7, current_price=1.5)])
    assert update == Update(
        symbol="500325", quote=update.changes, changes=row("500325", 7, current_price=1.5), whole=True
    )
    assert state.position is None
    assert say(state, t="sync", id=number, count=1, pos=pos(9)) == [Synced(position=Position(EPOCH, 9), count=1)]
    assert str(state.position) == pos(9)
    assert state.complete
    assert state.subscribed == ["500325"]


def test_a_refused_symbol_is_told_and_forgotten():
    state = greeted()
    state.subscribe(["999999"])
    number = sent(state)[0]["id"]
    bad = [{"symbol": "999999", "code": "unknown_symbol", "message": "no"}]
    assert say(state, t="ack", id=number, ok=[], bad=bad, active=0) == [
        Dropped(symbol="999999", code="unknown_symbol", message="no")
    ]
    assert state.subscribed == []


def test_a_refused_message_drops_all_its_symbols():
    state = greeted()
    state.subscribe(["1", "2"])
    number = sent(state)[0]["id"]
    events = say(state, t="error", id=number, code="too_many_symbols", message="no", temporary=False)
    assert [type(event) for event in events] == [Dropped, Dropped, Trouble]
    assert state.subscribed == []


def test_long_lists_are_sent_in_messages_as_long_as_the_service_takes():
    state = greeted()
    state.subscribe(str(each) for each in range(7))
    assert [message["symbols"] for message in sent(state)] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_asking_twice_sends_once():
    state = subscribed(row("1", 1))
    state.subscribe(["1", "2", "2"])
    state.subscribe(["2"])
    assert [message["symbols"] for message in sent(state)] == [["2"]]


# -- merging


def test_a_delta_is_merged_and_null_deletes():
    state = subscribed(row("1", 5, open=1.0, ask_price=2.0))
    before = state.quotes["1"]
    [update] = say(state, t="u", pos=pos(12), q=[row("1", 12, ask_price=None, volume=7)])
    assert update.quote == row("1", 12, open=1.0, volume=7) == state.quotes["1"]
    assert update.changes == row("1", 12, ask_price=None, volume=7)
    assert before == row("1", 5, open=1.0, ask_price=2.0)  # what was handed out stays as it was
    assert str(state.position) == pos(12)


def test_a_snap_row_replaces_the_held_row_whole():
    state = subscribed(row("1", 5, open=1.0, low=0.5))
    say(state, t="snap", id=None, q=[row("1", 6, open=2.0)])
    assert state.quotes["1"] == row("1", 6, open=2.0)


def test_a_row_older_than_the_held_one_is_dropped():
    state = subscribed(row("1", 20, open=1.0), at=10)
    assert say(state, t="u", pos=pos(15), q=[row("1", 15, open=9.0)]) == []
    assert state.quotes["1"] == row("1", 20, open=1.0)
    assert str(state.position) == pos(15)


def test_a_repeated_frame_changes_nothing():
    state = subscribed(row("1", 5, open=1.0))
    frame = {"t": "u", "pos": pos(12), "q": [row("1", 12, open=3.0)]}
    say(state, **frame)
    held = dict(state.quotes)
    say(state, **frame)
    assert state.quotes == held


def test_a_side_of_the_book_is_replaced_whole_and_null_deletes_it():
    level = {"price": 1.0, "quantity": 5, "orders": 1}
    state = subscribed(row("1", 5, depth={"bids": [level, level], "asks": [level]}))
    say(state, t="u", pos=pos(11), q=[row("1", 11, depth={"bids": [level]})])
    assert state.quotes["1"]["depth"] == {"bids": [level], "asks": [level]}
    say(state, t="u", pos=pos(12), q=[row("1", 12, depth={"asks": None})])
    assert state.quotes["1"]["depth"] == {"bids": [level]}


# -- the position


def test_only_frames_with_a_position_move_it():
    state = subscribed(row("1", 5))
    say(state, t="u", q=[row("1", 11, open=1.0)])
    say(state, t="hb", now=0)
    say(state, t="market", status="open", pos=pos(99))
    assert str(state.position) == pos(10)
    say(state, t="hb", now=0, pos=pos(13))
    assert str(state.position) == pos(13)


def test_a_position_that_goes_back_means_disorder():
    state = subscribed(row("1", 5))
    with pytest.raises(Disorder):
        say(state, t="u", pos=pos(9), q=[])


def test_a_position_of_another_epoch_without_a_reset_means_disorder():
    state = subscribed(row("1", 5))
    with pytest.raises(Disorder):
        say(state, t="u", pos=pos(99, OTHER), q=[])


def test_what_is_not_synced_yet_is_not_resumed():
    state = subscribed(row("1", 5))
    state.subscribe(["2"])
    number = sent(state)[0]["id"]
    say(state, t="ack", id=number, ok=["2"], bad=[], active=2)
    say(state, t="snap", id=number, q=[row("2", 6)])
    _, resume, sub = reconnect(state)
    assert (resume["t"], resume["pos"], resume["symbols"]) == ("resume", pos(10), ["1"])
    assert (sub["t"], sub["symbols"]) == ("sub", ["2"])


def test_a_row_that_is_past_the_position_is_resumed_and_the_service_told_how_far_it_was_seen():
    state = subscribed(row("1", 5), row("2", 5))
    say(state, t="u", q=[row("2", 11, open=1.0)])  # while a snapshot is under way frames have no position
    _, resume = reconnect(state)
    assert resume["symbols"] == ["1", "2"]
    assert (resume["pos"], resume["seen"]) == (pos(10), 11)


def test_who_has_lost_the_position_says_how_far_it_was_seen_once():
    state = subscribed(row("1", 5), row("2", 5))
    state.begin_anew()
    state.subscribe(["group:A"])
    _, *subs = reconnect(state)
    assert [(each["t"], each.get("seen")) for each in subs] == [("sub", 10), ("sub", None)]


def test_what_was_seen_counts_no_more_where_everything_came_anew():
    state = subscribed(row("1", 25))
    number = reconnect(state)[-1]["id"]
    say(state, t="resumed", id=number, recovered=False, changed=1)
    say(state, t="snap", id=number, q=[row("1", 3)])
    say(state, t="sync", id=number, count=1, pos=pos(4))
    assert reconnect(state)[-1]["seen"] == 4


def test_more_than_one_message_may_name_is_resumed_in_several():
    state = subscribed(row("1", 1), row("2", 1), row("3", 1))
    subscribed(row("4", 1), state=state)
    _, first, last = reconnect(state)
    assert (first["t"], first["symbols"], first["more"], "seen" in first) == ("resume", ["1", "2", "3"], True, False)
    assert (last["t"], last["symbols"], "more" in last, last["seen"]) == ("resume", ["4"], False, 10)
    assert first["pos"] == last["pos"]
    say(state, t="resumed", id=last["id"], recovered=True, changed=0)
    assert state.complete


# -- resume and reset


def test_a_recovered_stream_goes_on_where_it_was():
    state = subscribed(row("1", 5, open=1.0))
    number = reconnect(state)[-1]["id"]
    assert say(state, t="resumed", id=number, recovered=True, changed=1) == [Resumed(recovered=True, changed=1)]
    assert str(state.position) == pos(10)  # `resumed` moves nothing
    assert state.complete
    say(state, t="u", pos=pos(30), q=[row("1", 25, open=2.0)])
    assert state.quotes["1"] == row("1", 25, open=2.0)
    assert str(state.position) == pos(30)


def test_a_stream_that_was_not_recovered_gets_everything_anew():
    state = subscribed(row("1", 5), row("2", 5))
    number = reconnect(state)[-1]["id"]
    say(state, t="resumed", id=number, recovered=False, changed=2)
    assert state.position is None
    say(state, t="snap", id=number, q=[row("1", 3, open=4.0)])  # of a board that lost what came later
    say(state, t="sync", id=number, count=1, pos=pos(4, OTHER))
    assert state.quotes == {"1": row("1", 3, open=4.0)}  # the other did not come again
    assert str(state.position) == pos(4, OTHER)


def test_a_symbol_that_a_resume_could_not_find_is_dropped():
    state = subscribed(row("1", 5), row("2", 5))
    number = reconnect(state)[-1]["id"]
    events = say(
        state, t="resumed", id=number, recovered=False, changed=1, bad=[{"symbol": "2", "code": "unknown_symbol"}]
    )
    assert events == [Dropped(symbol="2", code="unknown_symbol"), Resumed(recovered=False, changed=1)]
    assert state.subscribed == ["1"]
    assert "2" not in state.quotes


def test_a_refused_resume_asks_for_everything_anew():
    state = subscribed(row("1", 5))
    number = reconnect(state)[-1]["id"]
    say(state, t="error", id=number, code="bad_request", message="no", temporary=False)
    [sub] = sent(state)
    assert (sub["t"], sub["symbols"]) == ("sub", ["1"])
    assert state.position is None


def test_after_a_reset_only_what_comes_again_is_kept():
    state = subscribed(row("1", 5, open=1.0, low=1.0), row("2", 5))
    assert say(state, t="reset", epoch=OTHER) == [Reset(epoch=OTHER)]
    assert state.position is None
    assert say(state, t="status", symbol="2", state="unknown_symbol")[0].symbol == "2"
    say(state, t="snap", id=None, q=[row("1", 30, open=2.0)])
    say(state, t="sync", id=None, count=1, pos=pos(30, OTHER))
    assert state.quotes == {"1": row("1", 30, open=2.0)}
    assert state.complete


def test_a_cut_between_reset_and_sync_leaves_nothing_to_resume():
    state = subscribed(row("1", 5))
    say(state, t="reset", epoch=OTHER)
    assert [message["t"] for message in reconnect(state)] == ["set", "sub"]


def test_a_subscription_answered_during_a_reset_is_not_the_whole():
    state = subscribed(row("1", 5))
    say(state, t="reset", epoch=OTHER)
    state.subscribe(["2"])
    number = sent(state)[0]["id"]
    say(state, t="ack", id=number, ok=["2"], bad=[], active=1)
    say(state, t="snap", id=number, q=[row("2", 31)])
    say(state, t="sync", id=number, count=1, pos=pos(31, OTHER))
    assert not state.complete
    _, resume, sub = reconnect(state)
    assert resume["symbols"] == ["2"]
    assert sub["symbols"] == ["1"]


# -- unsubscribing


def test_what_was_unsubscribed_is_ignored_until_its_ack():
    state = subscribed(row("1", 5), row("2", 5))
    state.unsubscribe(["1"])
    [unsub] = sent(state)
    assert (unsub["t"], unsub["symbols"]) == ("unsub", ["1"])
    assert say(state, t="u", pos=pos(12), q=[row("1", 12, open=1.0)]) == []
    assert list(state.quotes) == ["2"]
    say(state, t="ack", id=unsub["id"], ok=["1"], bad=[], active=1)
    assert list(state.quotes) == ["2"]
    assert state.subscribed == ["2"]


def test_what_was_unsubscribed_and_asked_for_again_comes_with_its_snap():
    state = subscribed(row("1", 5, open=1.0), row("2", 5))
    state.unsubscribe(["1"])
    state.subscribe(["1"])
    unsub, sub = sent(state)
    say(state, t="u", pos=pos(11), q=[row("1", 11, low=1.0)])  # the service had not heard of it
    say(state, t="ack", id=unsub["id"], ok=["1"], bad=[], active=1)
    say(state, t="ack", id=sub["id"], ok=["1"], bad=[], active=2)
    say(state, t="snap", id=sub["id"], q=[row("1", 12, open=2.0)])
    say(state, t="sync", id=sub["id"], count=1, pos=pos(12))
    assert state.quotes["1"] == row("1", 12, open=2.0)
    assert state.complete


@pytest.mark.parametrize("name", ["reliance", "INE002A01018", "500325"])
def test_a_scrip_is_unsubscribed_by_any_of_its_names(name):
    state = subscribed(row("500325", 5, id="RELIANCE", isin="INE002A01018"))
    state.unsubscribe([name])
    assert sent(state)[0]["symbols"] == ["500325"]
    assert state.quotes == {}


def test_a_group_has_a_message_of_its_own_and_its_rows_are_taken():
    state = greeted()
    state.subscribe(["1", "group:A"])
    one, group = sent(state)
    assert (one["symbols"], group["symbols"]) == (["1"], ["group:A"])
    say(state, t="ack", id=one["id"], ok=["1"], bad=[], active=1)
    say(state, t="ack", id=group["id"], ok=["group:A"], bad=[], active=2)
    say(state, t="snap", id=group["id"], q=[row("7", 3)])
    assert "7" in state.quotes


def test_a_group_comes_anew_when_something_beside_it_goes():
    state = greeted()
    state.subscribe(["1", "group:A"])
    for message in sent(state):
        say(state, t="ack", id=message["id"], ok=message["symbols"], bad=[], active=1)
        say(state, t="snap", id=message["id"], q=[row("1" if message["symbols"] == ["1"] else "7", 3)])
        say(state, t="sync", id=message["id"], count=1, pos=pos(10))
    state.unsubscribe(["1"])
    unsub, sub = sent(state)
    assert unsub["symbols"] == ["1", "group:A"]
    assert sub["symbols"] == ["group:A"]
    assert state.quotes == {}


# -- another shape


def test_a_change_of_fields_drops_the_position_when_it_is_answered():
    state = subscribed(row("1", 5, open=1.0, low=1.0))
    state.show(fields="ltp")
    [shown] = sent(state)
    say(state, t="u", pos=pos(11), q=[row("1", 11, low=2.0)])
    assert str(state.position) == pos(11)
    say(state, t="ack", id=shown["id"], ok=["1"], bad=[], active=1)
    assert state.position is None
    say(state, t="snap", id=shown["id"], q=[row("1", 12, open=1.0)])
    say(state, t="sync", id=shown["id"], count=1, pos=pos(12))
    assert state.quotes["1"] == row("1", 12, open=1.0)
    assert state.complete


def test_a_cut_before_the_answer_to_a_change_of_fields_leaves_nothing_to_resume():
    state = subscribed(row("1", 5))
    state.show(depth=5)
    shown, sub = reconnect(state)
    assert (shown["depth"], sub["t"]) == (5, "sub")


def test_a_refused_change_of_fields_changes_nothing():
    state = subscribed(row("1", 5))
    state.show(fields=["nonsense"])
    [shown] = sent(state)
    say(state, t="error", id=shown["id"], code="bad_request", message="no", temporary=False)
    assert state.fields == "full"
    assert state.complete


def test_a_change_of_rate_keeps_the_position():
    state = subscribed(row("1", 5))
    state.show(hz=1)
    [shown] = sent(state)
    say(state, t="ack", id=shown["id"], ok=["1"], bad=[], active=1)
    assert state.complete


# -- what does not belong


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "{}",
        '{"t":5}',
        '{"t":"hello"}',
        '{"t":"u","pos":"nowhere","q":[]}',
        '{"t":"u","pos":7,"q":[]}',
        '{"t":"u"}',
        '{"t":"u","q":[{"symbol":"1"}]}',
        '{"t":"u","q":[{"rev":1}]}',
        '{"t":"u","q":[7]}',
        '{"t":"snap","q":{}}',
        '{"t":"sync","id":2}',
        '{"t":"ack","ok":[]}',
        '{"t":"ack","id":1,"ok":[1]}',
        '{"t":"resumed","id":77,"recovered":true}',
        '{"t":"u","q":[{"symbol":"1","rev":true}]}',
    ],
)
def test_a_frame_that_is_no_message_is_refused_and_changes_nothing(frame):
    state = subscribed(row("1", 5, open=1.0))
    with pytest.raises(BadFrame):
        state.receive(frame)
    assert state.quotes == {"1": row("1", 5, open=1.0)}
    assert str(state.position) == pos(10)


def test_a_message_of_a_newer_service_is_passed_over():
    assert say(greeted(), t="novelty", whatever=1) == []


def test_anything_before_the_hello_is_refused():
    with pytest.raises(BadFrame, match="hello"):
        say(State(), t="u", q=[])


def test_notices_are_handed_on():
    state = greeted()
    assert say(state, t="market", status="open") == [Notice(kind="market", message={"t": "market", "status": "open"})]
    [trouble] = say(state, t="error", code="draining", message="bye", retry_ms=1500, temporary=True)
    assert trouble == Trouble(code="draining", message="bye", temporary=True, retry_ms=1500)


def test_the_service_sets_the_heartbeat():
    assert greeted().heartbeat_ms == 1000


def test_messagepack_says_the_same():
    state = State(binary=True)
    pack = msgspec.msgpack.encode
    state.receive(pack(HELLO))
    state.subscribe(["1", "2"])
    frame = state.outgoing()[-1]
    assert isinstance(frame, bytes)
    number = msgspec.msgpack.decode(frame)["id"]
    state.receive(pack({"t": "ack", "id": number, "ok": ["1", "2"], "bad": []}))
    rows = [
        row("1", 5, open=1.25, depth={"bids": [{"price": 1.0, "quantity": 70_000, "orders": 3}]}),
        row("2", 6, id="é" * 40),
    ]
    state.receive(pack({"t": "snap", "id": number}) + b"".join(pack(each) for each in rows))
    state.receive(pack({"t": "sync", "id": number, "count": 2, "pos": pos(7)}))
    state.receive(pack({"t": "u", "pos": pos(8)}))
    assert list(state.quotes.values()) == rows
    assert str(state.position) == pos(8)
    assert state.complete
