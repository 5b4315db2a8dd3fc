"""The client against a service that behaves and misbehaves."""

import asyncio
import contextlib
import socket
from functools import partial

import pytest
from websockets.asyncio.server import serve

from bhavcast.client.errors import StreamClosed
from bhavcast.client.events import Link, Reset, Resumed, Synced, Update
from bhavcast.client.stream import LAST_RETRY_S, Client
from tests.integration.peer import OTHER, Peer, peer, pos


def row(symbol: str, rev: int, **fields: object) -> dict:
    return {"symbol": symbol, **fields, "rev": rev}


class Waits:
    """Sleeps not at all, and remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def client(url: str, waits: Waits | None = None, **wish) -> Client:
    return Client(url, sleep=waits or Waits(), chance=lambda: 0.5, **wish)


async def until(client: Client, done) -> list:
    """Read events until one satisfies `done`; return them all."""
    events = []
    async with asyncio.timeout(20):
        async for event in client.events():
            events.append(event)
            if done(event):
                return events
    raise AssertionError("the stream ended")


async def impatiently(client: Client) -> list:
    """Ask for what happens, again and again, and never wait for it as long as the client waits to connect."""
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                return await client.receive()


def is_update(event) -> bool:
    return isinstance(event, Update)


def is_down(event) -> bool:
    return isinstance(event, Link) and not event.up


async def test_who_asks_with_less_patience_than_the_wait_before_an_attempt_is_connected_all_the_same():
    async def goes(line: Peer) -> None:
        await line.greet()

    async with peer(goes, behaves) as url, Client(url, chance=lambda: 0.5) as stream:
        await stream.subscribe("500325")
        async with asyncio.timeout(20):
            while not any(is_update(event) for event in await impatiently(stream)):
                pass


async def behaves(line: Peer) -> None:
    await line.greet()
    await line.serve(row("500325", 5, id="RELIANCE", current_price=10.0), at=6)
    await line.say("u", pos=pos(7), q=[row("500325", 7, current_price=11.0, open=None)])
    await line.stay()


async def goes_on(line: Peer) -> None:
    await line.greet()
    resume = await line.hear("resume")
    assert resume["symbols"] == ["500325"]
    await line.say("resumed", id=resume["id"], recovered=True, changed=1)
    await line.say("u", pos=pos(20), q=[row("500325", 15, current_price=12.5)])
    await line.stay()


@pytest.mark.parametrize("binary", [False, True], ids=["json", "msgpack"])
async def test_it_subscribes_and_merges_in_either_encoding(binary):
    async with peer(behaves) as url, client(url, binary=binary) as stream:
        await stream.subscribe("RELIANCE")
        prices = []
        async for update in stream.updates():
            prices.append(update.quote["current_price"])
            if len(prices) == 2:
                break
        assert prices == [10.0, 11.0]
        assert str(stream.position) == pos(7)


async def test_what_is_subscribed_later_goes_out_at_once():
    async def twice(line: Peer) -> None:
        await line.greet()
        await line.serve(row("1", 5), at=6)
        await line.serve(row("2", 7), at=8)
        await line.stay()

    async with peer(twice) as url, client(url) as stream:
        await stream.subscribe("1")
        await until(stream, lambda event: isinstance(event, Synced))
        await stream.subscribe("2")
        await until(stream, lambda event: isinstance(event, Synced))
        assert set(stream.quotes) == {"1", "2"}
        assert stream.state.complete


@pytest.mark.parametrize("part", [b"", b'\x81\x7e\x40\x00{"t":"u","pos'], ids=["between frames", "within a frame"])
async def test_a_cut_line_is_resumed_with_nothing_lost(part):
    async def cuts(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0, open=9.0), at=6)
        await line.cut(part)

    waits = Waits()
    async with peer(cuts, goes_on) as url, client(url, waits) as stream:
        await stream.subscribe("500325")
        events = await until(stream, lambda event: is_update(event) and not event.whole)
        assert Resumed(recovered=True, changed=1) in events
        assert stream.quotes["500325"] == row("500325", 15, current_price=12.5, open=9.0)
        await until_position(stream, 20)
        assert len(waits.seconds) == 1


async def until_position(stream: Client, rev: int) -> None:
    async with asyncio.timeout(20):
        while stream.position is None or stream.position.rev < rev:
            await stream.receive()


async def test_a_position_that_is_lost_means_everything_anew():
    async def other_epoch(line: Peer) -> None:
        await line.greet()
        resume = await line.hear("resume")
        await line.say("resumed", id=resume["id"], recovered=False, changed=1)
        await line.say("snap", id=resume["id"], q=[row("500325", 2, current_price=8.0)])
        await line.say("sync", id=resume["id"], count=1, pos=pos(3, OTHER))
        await line.stay()

    async def cuts(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0, open=9.0), at=6)
        await line.cut()

    async with peer(cuts, other_epoch) as url, client(url) as stream:
        await stream.subscribe("500325")
        await until(stream, lambda event: isinstance(event, Resumed))
        await until(stream, lambda event: isinstance(event, Synced))
        assert stream.quotes["500325"] == row("500325", 2, current_price=8.0)
        assert str(stream.position) == pos(3, OTHER)


async def test_a_reset_while_connected_brings_everything_anew():
    async def resets(line: Peer) -> None:
        await line.greet()
        await line.serve(row("1", 5, open=1.0), row("2", 5), at=6)
        await line.say("reset", epoch=OTHER)
        await line.say("snap", id=None, q=[row("1", 30)])
        await line.say("sync", id=None, count=1, pos=pos(30, OTHER))
        await line.stay()

    async with peer(resets) as url, client(url) as stream:
        await stream.subscribe("1", "2")
        events = await until(stream, lambda event: isinstance(event, Reset))
        events += await until(stream, lambda event: isinstance(event, Synced))
        assert stream.quotes == {"1": row("1", 30)}


async def test_frames_in_the_wrong_order_are_not_trusted():
    async def disordered(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0), at=6)
        await line.say("u", pos=pos(9), q=[row("500325", 9, current_price=12.0)])
        await line.say("u", pos=pos(8), q=[row("500325", 8, open=11.0)])
        await line.stay()

    async def anew(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 9, current_price=12.0, open=11.0), at=10)
        await line.stay()

    async with peer(disordered, anew) as url, client(url) as stream:
        await stream.subscribe("500325")
        await until(stream, is_down)
        await until(stream, lambda event: isinstance(event, Synced))
        assert stream.quotes["500325"] == row("500325", 9, current_price=12.0, open=11.0)


async def test_repeated_frames_do_no_harm():
    async def repeats(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0, open=3.0), at=6)
        for _ in range(3):
            await line.say("u", pos=pos(9), q=[row("500325", 9, current_price=12.0, open=None)])
        await line.say("hb", now=0, pos=pos(10))
        await line.stay()

    async with peer(repeats) as url, client(url) as stream:
        await stream.subscribe("500325")
        await until_position(stream, 10)
        assert stream.quotes["500325"] == row("500325", 9, current_price=12.0)


async def test_nonsense_makes_it_reconnect_and_resume():
    async def talks_nonsense(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0), at=6)
        await line.socket.send("{nonsense")
        await line.stay()

    async with peer(talks_nonsense, goes_on) as url, client(url) as stream:
        await stream.subscribe("500325")
        [*_, down] = await until(stream, is_down)
        assert "JSON" in down.reason
        await until_position(stream, 20)
        assert stream.quotes["500325"]["current_price"] == 12.5


async def test_a_service_that_never_answers_is_left():
    async def silent(line: Peer) -> None:
        await line.stay()

    async with peer(silent, behaves) as url, client(url, silence=0.2) as stream:
        await stream.subscribe("500325")
        [*_, down] = await until(stream, is_down)
        assert "nothing was heard" in down.reason
        await until(stream, is_update)


async def test_a_service_that_falls_silent_is_left_after_three_heartbeats():
    async def falls_silent(line: Peer) -> None:
        await line.greet(heartbeat_ms=50)
        await line.serve(row("500325", 5, current_price=10.0), at=6)
        await line.stay()

    async with peer(falls_silent, goes_on) as url, client(url) as stream:
        await stream.subscribe("500325")
        [*_, down] = await until(stream, is_down)
        assert down.reason == "nothing was heard for 0.15 s"
        await until_position(stream, 20)


async def test_a_server_that_takes_the_line_and_never_shakes_hands_is_left():
    with socket.create_server(("127.0.0.1", 0)) as deaf:  # the kernel takes the line, nobody else does
        async with client(f"ws://127.0.0.1:{deaf.getsockname()[1]}/ws", silence=0.2) as stream:
            [event] = await stream.receive()
            assert is_down(event)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 4001, 4005, 4008, 4010, 4013, 4499])
async def test_a_close_that_says_come_again_is_followed(code):
    async def closes(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5, current_price=10.0), at=6)
        await line.socket.close(code, "reason")

    async with peer(closes, goes_on) as url, client(url) as stream:
        await stream.subscribe("500325")
        [*_, down] = await until(stream, is_down)
        assert down.reason == f"closed with {code}: reason"
        await until_position(stream, 20)


@pytest.mark.parametrize("code", [4500, 4501, 4503, 4504, 4999])
async def test_a_close_that_says_do_not_is_raised(code):
    async def closes(line: Peer) -> None:
        await line.greet()
        await line.socket.close(code, "reason")

    async with peer(closes) as url, client(url) as stream:
        with pytest.raises(StreamClosed, match=f"{code} reason") as found:
            await until(stream, is_down)
        assert found.value.close_code == code


@pytest.mark.parametrize(("status", "final"), [(403, True), (404, True), (421, True), (429, False), (503, False)])
async def test_a_refused_handshake_is_final_or_not_by_its_status(status, final):
    def refuse(connection, request):
        return connection.respond(status, "no\n")

    async def never(_connection) -> None: ...

    async with serve(never, "127.0.0.1", 0, process_request=refuse) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/ws"
        async with client(url) as stream:
            if final:
                with pytest.raises(StreamClosed) as found:
                    await stream.receive()
                assert found.value.close_code == status
            else:
                [event] = await stream.receive()
                assert is_down(event)


async def test_a_line_that_is_lost_before_the_first_word_is_tried_again(monkeypatch):
    loop = asyncio.get_running_loop()
    connect = loop.create_connection
    left = ["the first is lost"]

    async def loses(*arguments, **options):
        transport, protocol = await connect(*arguments, **options)
        if left:
            left.pop()
            transport.abort()
            await asyncio.sleep(0)  # so that the protocol hears of it before its owner does
        return transport, protocol

    monkeypatch.setattr(loop, "create_connection", loses)
    async with peer(behaves) as url, client(url) as stream:
        await stream.subscribe("RELIANCE")
        events = await until(stream, is_update)
    assert is_down(events[0])


async def test_the_wait_grows_is_capped_and_has_chance_in_it():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused at once
        url = f"ws://127.0.0.1:{taken.getsockname()[1]}/ws"
        for chance, part in ((0.0, 0.5), (0.999, 0.9995)):
            waits = Waits()
            stream = Client(url, sleep=waits, chance=partial(float, chance))
            for _ in range(12):
                assert is_down((await stream.receive())[0])
            assert waits.seconds[0] == pytest.approx(0.25 * part)
            assert waits.seconds[1] == pytest.approx(0.5 * part)
            assert waits.seconds[-1] == pytest.approx(LAST_RETRY_S * part)
            assert waits.seconds == sorted(waits.seconds)


async def test_a_success_makes_the_wait_short_again():
    async def cuts(line: Peer) -> None:
        await line.greet()
        await line.serve(row("500325", 5), at=6)
        await line.cut()

    async def early(line: Peer) -> None:
        await line.cut()

    waits = Waits()
    async with peer(early, early, early, cuts, early) as url, client(url, waits) as stream:
        await stream.subscribe("500325")
        await until(stream, lambda event: isinstance(event, Synced))
        await until(stream, is_down)
        await stream.receive()
        assert waits.seconds[2] == pytest.approx(0.75)
        assert waits.seconds[3] == pytest.approx(0.1875)


@pytest.mark.parametrize("by", ["reason", "message"])
async def test_a_draining_service_says_when_to_come_again(by):
    async def drains(line: Peer) -> None:
        await line.greet()
        if by == "message":
            await line.say("error", code="draining", message="bye", retry_ms=2500, temporary=True)
        await line.socket.close(4001, "draining: retry_ms=2500" if by == "reason" else "draining")

    async with peer(drains) as url, client(url) as stream:
        [*_, down] = await until(stream, is_down)
        assert down.retry_seconds == 2.5


async def test_hanging_up_keeps_what_is_held_and_a_new_iteration_goes_on():
    async with peer(behaves, goes_on) as url, client(url) as stream:
        await stream.subscribe("500325")
        await until_position(stream, 7)
        await stream.aclose()
        assert not stream.connected
        await until_position(stream, 20)
        assert stream.quotes["500325"]["current_price"] == 12.5


async def test_a_cancellation_in_the_turn_of_a_frame_ends_the_wait():
    async with client("ws://127.0.0.1:1/ws") as stream:

        class Ready:
            """A connection whose frame comes in the very turn in which the user gives up."""

            def __init__(self) -> None:
                self.frame = asyncio.get_running_loop().create_future()

            async def recv(self) -> str:
                return str(await self.frame)

        stream._socket = Ready()  # type: ignore[assignment]  # stands for a connection
        waiting = asyncio.create_task(stream.receive())
        await asyncio.sleep(0)
        stream._socket.frame.set_result('{"t":"hb"}')  # type: ignore[union-attr]  # the one above
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        stream._socket = None
