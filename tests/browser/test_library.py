"""web/lib/bhavcast.js alone, in a real browser, against a gateway that says what the test wants.

The pages are served from the installed wheel without a network; `Wire` stands for the WebSocket.
"""

import mimetypes
from importlib.resources import files

import pytest

pytestmark = pytest.mark.browser

E, F = "20261123T0345Z-9f1c03ab77de5a20", "20261124T0345Z-0123456789abcdef"
ORIGIN = "http://bhavcast.test"
WIRE = """
window.wires = [];
window.Wire = class {
  constructor(url, protocols) { this.sent = []; this.shapes = []; this.url = url; this.protocols = protocols; wires.push(this); }
  send(text) { const message = JSON.parse(text); (message.t === "set" ? this.shapes : this.sent).push(message); }
  close() { this.closed = true; }
  say(message) { this.onmessage({ data: JSON.stringify(message) }); }
  end(code, reason = "") { this.onclose({ code, reason }); }
};
window.HELLO = { t: "hello", v: 1, epoch: "e", now: 1000, clock: { virtual: true, speed: 60 }, heartbeat_ms: 5000,
                 limits: { symbols_per_message: 3 } };
"""
LIBRARY = f"const {{ Bhavcast, MarketClock }} = await import('{ORIGIN}/lib/bhavcast.js');"
# A client that holds two quotes at position e:10.
HOLDING = (
    LIBRARY
    + """
const client = new Bhavcast("ws://gateway/ws", { WebSocket: Wire, fields: "ltp", hz: 5, depth: 1 });
const removed = []; client.on("remove", (symbol) => removed.push(symbol));
client.subscribe("500325", "TCS"); client.connect();
const wire = wires[0]; wire.say(HELLO);
const id = wire.sent[0].id;
wire.say({ t: "ack", id, ok: ["500325", "532540"], bad: [], active: 2 });
wire.say({ t: "snap", id, q: [{ symbol: "500325", current_price: 10, ask_price: 11, depth: { asks: [{ price: 11 }] }, rev: 9 },
                              { symbol: "532540", current_price: 20, rev: 10 }] });
wire.say({ t: "sync", id, count: 2, pos: `${E}:10` });
const again = () => new Promise((resolve) => setTimeout(resolve, 350));
"""
)


@pytest.fixture
def run(open_tab):
    """A function that runs the body of an asynchronous function in a page of our own origin."""
    tab = open_tab()
    web = files("bhavcast") / "web"

    def serve(route):
        path = route.request.url.removeprefix(ORIGIN).lstrip("/") or "docs.html"
        kind = "text/javascript" if path.endswith(".js") else mimetypes.guess_type(path)[0]
        route.fulfill(body=(web / path).read_text(encoding="utf-8"), content_type=kind)

    tab.context.route(f"{ORIGIN}/**", serve)
    tab.page.goto(f"{ORIGIN}/lib/bhavcast.js")
    tab.page.evaluate(f"window.E = '{E}'; window.F = '{F}';")
    tab.page.evaluate(WIRE)
    return lambda body: tab.page.evaluate(f"async () => {{ {body} }}")


def test_it_subscribes_with_its_shape_and_is_live_once_the_snapshot_is_complete(run):
    found = run(
        LIBRARY
        + """
const client = new Bhavcast("ws://gateway/ws", { WebSocket: Wire, fields: "ltp" });
const states = []; client.on("link", ({ state }) => states.push(state));
client.subscribe("500325"); client.connect();
wires[0].say(HELLO);
const { id } = wires[0].sent[0];
wires[0].say({ t: "ack", id, ok: ["500325"], bad: [], active: 1 });
wires[0].say({ t: "snap", id, q: [{ symbol: "500325", rev: 1 }] });
const before = client.link.state;
wires[0].say({ t: "sync", id, count: 1, pos: `${E}:1` });
return { sent: wires[0].sent, shapes: wires[0].shapes, before, states, protocols: wires[0].protocols };
"""
    )
    assert found["shapes"] == [{"t": "set", "id": 1, "hz": 10, "fields": "ltp", "depth": 0}]
    assert found["sent"] == [{"t": "sub", "id": 2, "symbols": ["500325"]}]
    assert found["before"] == "syncing"
    assert found["states"] == ["connecting", "syncing", "live"]
    assert found["protocols"] == ["bhavcast.v1.json"]


def test_a_delta_is_merged_and_null_deletes_and_what_is_older_is_dropped(run):
    found = run(
        HOLDING
        + """
const held = client.quotes.get("500325");
wire.say({ t: "u", pos: `${E}:12`, q: [{ symbol: "500325", current_price: 12, ask_price: null, depth: { asks: null, bids: [{ price: 9 }] }, rev: 12 }] });
wire.say({ t: "u", q: [{ symbol: "500325", current_price: 1, rev: 8 }, { symbol: "999999", current_price: 1, rev: 13 }] });
return { held, quote: client.quotes.get("500325"), position: client.position, symbols: [...client.quotes.keys()] };
"""
    )
    assert found["quote"] == {"symbol": "500325", "current_price": 12, "depth": {"bids": [{"price": 9}]}, "rev": 12}
    assert found["held"]["current_price"] == 10
    assert found["position"] == E + ":12"
    assert found["symbols"] == ["500325", "532540"]


def test_after_a_cut_it_resumes_at_its_position_and_asks_anew_for_what_it_did_not_hold(run):
    found = run(
        HOLDING
        + """
client.subscribe("INFY");
wire.end(1006);
const waiting = client.link.state;
await again();
wires[1].say(HELLO);
const [resume, sub] = wires[1].sent;
wires[1].say({ t: "resumed", id: resume.id, recovered: true, changed: 1 });
const between = client.link.state;
wires[1].say({ t: "u", pos: `${E}:20`, q: [{ symbol: "532540", current_price: 21, rev: 20 }] });
wires[1].say({ t: "ack", id: sub.id, ok: ["500209"], bad: [], active: 3 });
wires[1].say({ t: "snap", id: sub.id, q: [{ symbol: "500209", rev: 21 }] });
wires[1].say({ t: "sync", id: sub.id, count: 1, pos: `${E}:21` });
return { waiting, between, resume, sub, state: client.link.state, price: client.quotes.get("532540").current_price, removed };
"""
    )
    assert found["waiting"] == "waiting"
    assert found["between"] == "syncing"
    assert found["resume"] | {"id": 0} == {
        "t": "resume", "pos": E + ":10", "symbols": ["500325", "532540"], "seen": 10, "id": 0,
    }  # fmt: skip
    assert found["sub"]["symbols"] == ["INFY"]
    assert (found["state"], found["price"], found["removed"]) == ("live", 21, [])


def test_when_nothing_can_be_recovered_the_snapshots_replace_all_and_the_rest_is_dropped(run):
    found = run(
        HOLDING
        + """
wire.end(1006); await again();
wires[1].say(HELLO);
const { id: again_ } = wires[1].sent[0];
wires[1].say({ t: "resumed", id: again_, recovered: false, changed: 1 });
const kept = client.quotes.size;
wires[1].say({ t: "snap", id: again_, q: [{ symbol: "500325", current_price: 5, rev: 3 }] });
wires[1].say({ t: "sync", id: again_, count: 1, pos: `${F}:3` });
return { kept, quotes: [...client.quotes.values()], position: client.position, removed, state: client.link.state };
"""
    )
    assert found["kept"] == 2  # shown until better is known
    assert found["quotes"] == [{"symbol": "500325", "current_price": 5, "rev": 3}]
    assert (found["position"], found["removed"], found["state"]) == (F + ":3", ["532540"], "live")


def test_a_reset_forgets_the_position_until_the_new_snapshots_are_complete(run):
    found = run(
        HOLDING
        + """
wire.say({ t: "reset", epoch: "f" });
const during = [client.position, client.link.state];
wire.say({ t: "snap", id: null, q: [{ symbol: "500325", current_price: 1, rev: 50 }, { symbol: "532540", rev: 51 }] });
wire.say({ t: "sync", id: null, count: 2, pos: `${F}:51` });
return { during, position: client.position, state: client.link.state, quote: client.quotes.get("500325"), removed };
"""
    )
    assert found["during"] == [None, "syncing"]
    assert (found["position"], found["state"], found["removed"]) == (F + ":51", "live", [])
    assert found["quote"] == {"symbol": "500325", "current_price": 1, "rev": 50}


def test_what_is_given_up_is_gone_at_once_and_stays_gone(run):
    found = run(
        HOLDING
        + """
client.unsubscribe("TCS");
const [, unsub] = wire.sent;
wire.say({ t: "u", pos: `${E}:11`, q: [{ symbol: "532540", current_price: 22, rev: 11 }] });
const between = [...client.quotes.keys()];
wire.say({ t: "ack", id: unsub.id, ok: ["532540"], bad: [], active: 1 });
return { unsub, between, after: [...client.quotes.keys()], removed };
"""
    )
    assert found["unsub"]["symbols"] == ["532540"]
    assert found["between"] == found["after"] == ["500325"]
    assert found["removed"] == ["532540"]


def test_a_scrip_that_a_group_covers_too_is_asked_for_again_when_its_own_name_is_given_up(run):
    found = run(
        HOLDING
        + """
client.subscribe("group:A");
const group = wire.sent.at(-1).id;
wire.say({ t: "ack", id: group, ok: ["group:A"], bad: [], active: 3 });
wire.say({ t: "snap", id: group, q: [{ symbol: "500209", rev: 11 }] });
wire.say({ t: "sync", id: group, count: 1, pos: `${E}:11` });
client.unsubscribe("TCS");
const [first, third] = wire.sent.slice(-2);
wire.say({ t: "ack", id: first.id, ok: first.symbols, bad: [], active: 1 });
wire.say({ t: "ack", id: third.id, ok: ["group:A"], bad: [], active: 3 });
wire.say({ t: "snap", id: third.id, q: [{ symbol: "500209", rev: 12 }, { symbol: "532540", rev: 12 }] });
wire.say({ t: "sync", id: third.id, count: 2, pos: `${E}:12` });
return { said: [first, third].map(({ t, symbols }) => [t, symbols]), codes: client.codes("group:A"), held: [...client.quotes.keys()].sort() };
"""
    )
    assert found["said"] == [["unsub", ["532540", "group:A"]], ["sub", ["group:A"]]]
    assert found["codes"] == ["500209", "532540"]
    assert found["held"] == ["500209", "500325", "532540"]


def test_many_symbols_go_in_as_many_messages_as_the_gateway_wants(run):
    sent = run(
        LIBRARY
        + """
const client = new Bhavcast("ws://gateway/ws", { WebSocket: Wire });
client.subscribe("1", "2", "3", "4", "IDX:SENSEX/members", "*"); client.connect();
wires[0].say(HELLO);
return wires[0].sent.map(({ symbols }) => symbols);
"""
    )
    assert sent == [["1", "2", "3"], ["4"], ["IDX:SENSEX/members"], ["*"]]


def test_a_refused_symbol_is_told_and_not_asked_for_again(run):
    found = run(
        LIBRARY
        + """
const client = new Bhavcast("ws://gateway/ws", { WebSocket: Wire });
const bad = []; client.on("bad", (each) => bad.push(each));
client.subscribe("NOPE"); client.connect(); wires[0].say(HELLO);
const { id } = wires[0].sent[0];
wires[0].say({ t: "ack", id, ok: [], bad: [{ symbol: "NOPE", code: "unknown_symbol", message: "no" }], active: 0 });
wires[0].say({ t: "sync", id, count: 0, pos: `${E}:1` });
wires[0].end(1006); await new Promise((resolve) => setTimeout(resolve, 350));
wires[1].say(HELLO);
return { bad, sent: wires[1].sent, state: client.link.state };
"""
    )
    assert found == {
        "bad": [{"symbol": "NOPE", "code": "unknown_symbol", "message": "no"}],
        "sent": [],
        "state": "live",
    }


@pytest.mark.parametrize(
    ("code", "state", "wires"),
    [(1006, "connecting", 2), (4008, "connecting", 2), (4500, "refused", 1), (4503, "refused", 1)],
)
def test_the_close_code_says_whether_to_come_again(run, code, state, wires):
    found = run(HOLDING + f"wire.end({code}, 'why'); await again(); return [client.link.state, wires.length];")
    assert found == [state, wires]


def test_what_one_gateway_has_not_seen_yet_is_resumed_at_the_next(run):
    found = run(HOLDING + "wire.end(4010); await again(); wires[1].say(HELLO); return wires[1].sent[0];")
    assert (found["t"], found["pos"]) == ("resume", E + ":10")


def test_a_gateway_that_goes_says_when_to_come_again(run):
    found = run(
        HOLDING
        + """
wire.say({ t: "error", code: "draining", message: "", temporary: true, retry_ms: 60000 });
wire.end(4001);
return client.link.retryAt - performance.now();
"""
    )
    assert 55_000 < found <= 60_000


def test_the_waits_grow_and_have_jitter(run):
    waits = run(
        LIBRARY
        + """
const client = new Bhavcast("ws://gateway/ws", { WebSocket: Wire });
client.connect();
const waits = [];
for (let i = 0; i < 12; i++) {
  wires.at(-1).end(1006);
  waits.push(client.link.retryAt - performance.now());
  client.retryNow();
}
client.close();
return waits;
"""
    )
    for attempt, wait in enumerate(waits):
        ceiling = min(10_000, 250 * 2**attempt)
        assert ceiling / 2 - 50 <= wait <= ceiling


def test_iteration_skips_what_a_slow_reader_missed_but_never_the_last_value(run):
    found = run(
        HOLDING
        + """
const seen = [];
const reading = (async () => { for await (const quotes of client) seen.push(quotes.map((q) => [q.symbol, q.current_price])); })();
await Promise.resolve();
for (const rev of [11, 12, 13]) wire.say({ t: "u", pos: `${E}:${rev}`, q: [{ symbol: "500325", current_price: rev, rev }] });
await new Promise((resolve) => setTimeout(resolve, 20));
client.close();
await reading;
return seen;
"""
    )
    assert found == [[["500325", 10], ["532540", 20]], [["500325", 13]]]


def test_the_clock_runs_at_the_markets_speed_and_never_behind_a_price(run):
    found = run(
        LIBRARY
        + """
const clock = new MarketClock();
const unknown = clock.now();
clock.set("2026-11-23T09:15:00+05:30", { virtual: true, speed: 60 });
const began = clock.now();
await new Promise((resolve) => setTimeout(resolve, 100));
const passed = clock.now() - began;
clock.witness(began + 3_600_000); clock.witness(began);
return { unknown, began, passed, later: clock.now() - began };
"""
    )
    assert found["unknown"] is None
    assert found["began"] == pytest.approx(1795405500000, abs=2000)
    assert 5000 < found["passed"] < 60_000
    assert found["later"] >= 3_600_000
