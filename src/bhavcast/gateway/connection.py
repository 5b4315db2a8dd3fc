"""An HTTP connection as uvicorn keeps it, with what long-lived answers need."""

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Connection(HttpToolsProtocol):
    """Tells an event stream of its transport, and of its end.

    uvicorn tells the newest request of a connection that the client has gone. An event stream with another request
    behind it is not the newest: it would never hear of it, and go on for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._running: Any = None

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["bhavcast.transport"] = self.transport  # type: ignore[typeddict-unknown-key]  # for event streams

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the request that is being answered, whichever it is."""
        super().connection_lost(exc)
        self.pipeline.clear()
        running, self._running = self._running, None
        if running is not None and not running.response_complete:
            running.disconnected = True
            running.message_event.set()
