import httpx
import pytest

from bhavcast.client.errors import BadFrame, Refused, Unreachable
from bhavcast.client.rest import Rest
from bhavcast.client.stream import Client
from bhavcast.domain.errors import BadRequest

POS = "20261123T0345Z-9f1c03ab77de5a20:9"


def rest(answer) -> Rest:
    return Rest("http://gateway/", transport=httpx.MockTransport(answer))


async def test_an_id_with_special_characters_reaches_the_service_whole():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.raw_path == b"/api/stock/M%26M%23?depth=5"
        return httpx.Response(200, json={"symbol": "500520"})

    async with rest(answer) as client:
        assert await client.quote("M&M#", depth=5) == {"symbol": "500520"}


async def test_a_long_list_is_asked_for_in_pieces_and_keeps_its_order():
    def answer(request: httpx.Request) -> httpx.Response:
        symbols = request.url.params["symbols"].split(",")
        assert len(symbols) <= 500
        return httpx.Response(200, json=[{"symbol": symbol} for symbol in symbols])

    wanted = [str(each) for each in range(1201)]
    async with rest(answer) as client:
        assert [quote["symbol"] for quote in await client.batch(wanted)] == wanted


async def test_what_changed_since_a_position():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.params["since"] == POS
        return httpx.Response(200, json={"pos": POS, "recovered": True, "link": "ok", "q": [{"symbol": "1"}]})

    async with rest(answer) as client:
        delta = await client.since(["1"], POS)
    assert (delta.pos, delta.recovered, delta.q) == (POS, True, [{"symbol": "1"}])


async def test_a_problem_is_raised_with_all_it_says():
    problem = {
        "type": "x",
        "title": "No data yet",
        "status": 503,
        "code": "no_data_yet",
        "detail": "not seen",
        "retry_after": 5,
    }
    async with rest(lambda _: httpx.Response(503, json=problem)) as client:
        with pytest.raises(Refused, match="not seen") as found:
            await client.quote("1")
    assert (found.value.problem.code, found.value.retry_after) == ("no_data_yet", 5)


async def test_an_answer_of_another_service_is_told_apart():
    async with rest(lambda _: httpx.Response(404, text="<html>")) as client:
        with pytest.raises(Refused) as found:
            await client.status()
    assert found.value.problem.code == "not_bhavcast"
    for content in (b"<html>", b"[" * 100_000, b'{"x":' * 100_000, b'{"x":"\xff"}', b'{"x":' + b"9" * 100_000 + b"}"):
        async with rest(lambda _, content=content: httpx.Response(200, content=content)) as client:
            with pytest.raises(BadFrame):
                await client.quote("1")
        async with rest(lambda _, content=content: httpx.Response(500, content=content)) as client:
            with pytest.raises(Refused) as found:
                await client.quote("1")
        assert found.value.problem.code in ("not_bhavcast", "internal")


async def test_a_key_goes_into_a_header_and_nowhere_else():
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["authorization"] == "Bearer bhk_desk"
        assert b"bhk_desk" not in bytes(str(request.url), "ascii") + request.content
        return httpx.Response(200, json={})

    transport = httpx.MockTransport(answer)
    async with Rest("http://gateway/", key="bhk_desk", headers={"X-Other": "1"}, transport=transport) as client:
        await client.quote("1")


@pytest.mark.parametrize("key", ["", "a b", "bhk_\r\nHost: evil", "clé", "k" * 300])
def test_what_can_be_no_key_is_refused_without_being_said(key):
    for client in (Rest, Client):
        with pytest.raises(BadRequest, match="expected a key") as found:
            client("http://gateway/", key=key)
        assert not key or key not in found.value.detail


async def test_nothing_there_is_unreachable():
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with rest(refuse) as client:
        with pytest.raises(Unreachable, match="does not answer: refused"):
            await client.status()
