"""What the hot path takes from inside uvicorn. A release that changes it must fail here, not in production."""

import ast
import inspect

import uvicorn
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import Server, ServerState

from bhavcast.gateway import connection, hot

SOURCE = inspect.getsource(httptools_impl)


def source_of(function) -> str:
    return inspect.getsource(function)


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def test_the_release_is_the_one_that_was_read():
    assert uvicorn.__version__.split(".")[:2] == ["0", "54"], "read httptools_impl.py again, then this file"


def test_every_method_that_is_overridden_exists_and_takes_what_it_is_given():
    ours = vars(hot.HotProtocol) | vars(connection.Connection)
    ours = {name: member for name, member in ours.items() if inspect.isfunction(member)}
    theirs = {name: parameters(getattr(HttpToolsProtocol, name)) for name in ours if hasattr(HttpToolsProtocol, name)}
    expected = {
        "__init__": ["self", "config", "server_state", "app_state", "_loop"],
        "data_received": ["self", "data"],
        "send_400_response": ["self", "msg"],
        "on_message_begin": ["self"],
        "on_headers_complete": ["self"],
        "handle_websocket_upgrade": ["self"],
        "on_body": ["self", "body"],
        "on_message_complete": ["self"],
        "timeout_keep_alive_handler": ["self"],
        "_start_asgi_task": ["self", "cycle", "app"],
        "connection_lost": ["self", "exc"],
    }
    assert {name: theirs.get(name) for name in expected} == expected
    assert theirs.keys() - expected.keys() <= {"connection_made"}, "a new override: say here what of"


def test_every_attribute_of_a_connection_that_is_used_is_set_up_by_its_constructor():
    used = {
        node.attr
        for module in (hot, connection)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    set_up = {
        node.attr
        for node in ast.walk(ast.parse(source_of(HttpToolsProtocol.__init__).lstrip().replace("\n    ", "\n")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
    }
    taken = {
        "client",
        "connections",
        "cycle",
        "headers",
        "loop",
        "parser",
        "pipeline",
        "scope",
        "server_state",
        "timeout_keep_alive",
    }
    taken |= {"timeout_keep_alive_task", "transport"}
    assert taken <= set_up
    assert taken <= used, "no longer used: take it off the list"
    assert "url" in used
    assert "self.url = b" in source_of(HttpToolsProtocol.on_message_begin)
    assert used & set_up <= taken, "used, but not on the list"


def test_a_cycle_says_whether_its_answer_has_begun_and_is_complete():
    set_up = source_of(RequestResponseCycle.__init__)
    for attribute in ("response_complete = False", "response_started = False", "disconnected = False", "message_event"):
        assert f"self.{attribute}" in set_up
    assert "self.response_complete = True" in source_of(RequestResponseCycle.send)
    assert "if self.disconnected:\n            return" in source_of(RequestResponseCycle.send)


def test_the_parser_calls_back_in_the_order_that_is_counted_on():
    calls: list[str] = []

    class Listener:
        def __getattr__(self, name):
            if not name.startswith("on_"):
                raise AttributeError(name)
            return lambda *_: calls.append(name)

    import httptools

    parser = httptools.HttpRequestParser(Listener())
    parser.feed_data(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
    order = [
        name for name in calls if name in ("on_message_begin", "on_url", "on_headers_complete", "on_message_complete")
    ]
    assert order == ["on_message_begin", "on_url", "on_headers_complete", "on_message_complete"]
    assert parser.get_method() == b"GET"
    assert parser.get_http_version() == "1.1"
    assert parser.should_keep_alive()


def test_an_invalid_request_is_refused_by_the_method_that_is_overridden():
    assert "self.send_400_response(msg)" in source_of(HttpToolsProtocol.data_received)
    assert "self._unset_keepalive_if_required()" in source_of(HttpToolsProtocol.data_received)


def test_a_pipelined_request_waits_for_the_cycle_before_it():
    begun = source_of(HttpToolsProtocol.on_headers_complete)
    assert "existing_cycle is None or existing_cycle.response_complete" in begun
    assert "self.pipeline.appendleft(" in begun


def test_every_request_that_is_answered_is_started_by_the_method_that_is_overridden():
    assert SOURCE.count("create_task") == source_of(HttpToolsProtocol._start_asgi_task).count("create_task")
    assert "self._start_asgi_task(" in source_of(HttpToolsProtocol.on_headers_complete)
    assert "self._start_asgi_task(" in source_of(HttpToolsProtocol.on_response_complete)


def test_the_scope_of_a_request_is_made_when_it_begins_and_handed_to_its_cycle():
    assert "self.scope = {" in source_of(HttpToolsProtocol.on_message_begin)
    assert "scope=self.scope" in source_of(HttpToolsProtocol.on_headers_complete)


def test_a_websocket_protocol_is_made_and_fed_as_ours_expects():
    upgrade = source_of(HttpToolsProtocol.handle_websocket_upgrade)
    for said in ("config=self.config", "server_state=self.server_state", "app_state=self.app_state"):
        assert said in upgrade
    for said in ("protocol.connection_made(self.transport)", "protocol.data_received(", "self.transport.set_protocol("):
        assert said in upgrade


def test_status_lines_and_the_servers_own_headers_are_where_they_are_looked_for():
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert STATUS_LINE[431].startswith(b"HTTP/1.1 431 ")
    state = ServerState()
    assert isinstance(state.default_headers, list)
    assert isinstance(state.connections, set)
    assert state.total_requests == 0
    # A new list, not the old one changed: that it is another object tells that a second has passed.
    assert "self.server_state.default_headers = " in source_of(Server.on_tick)


def test_a_server_can_be_told_not_to_take_signals_and_to_end():
    assert inspect.isfunction(Server.capture_signals)
    assert "self.should_exit" in source_of(Server)
    assert "connection.shutdown()" in source_of(Server.shutdown)
    assert parameters(FlowControl) == ["transport"]
