"""Quotes over HTTP: one, many, or what changed since a position."""

import ssl
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote as escape

import httpx
import msgspec

from bhavcast.client import frames
from bhavcast.client.errors import BadFrame, Problem, Refused, Unreachable
from bhavcast.client.events import Quote
from bhavcast.client.key import key_header

AT_ONCE: Final = 500  # symbols in one request
_T = TypeVar("_T")


class Delta(msgspec.Struct, frozen=True):
    """What changed since a position: rows `q` to be merged, or all of them where `recovered` is False."""

    pos: str
    recovered: bool
    q: list[dict[str, Any]]
    link: str = "ok"


_decode_quote = msgspec.json.Decoder(dict[str, Any]).decode
_decode_batch = msgspec.json.Decoder(list[dict[str, Any]]).decode
_decode_delta = msgspec.json.Decoder(Delta).decode
_decode_problem = msgspec.json.Decoder(Problem).decode


def trusting(url: str) -> ssl.SSLContext | bool:
    """Return whom to believe at an address: by TLS whom the machine believes, and $SSL_CERT_FILE where that is set."""
    return ssl.create_default_context() if url.startswith("https") else False


class Rest:
    """A gateway's REST routes.

    Args:
        url: the gateway's address, such as http://127.0.0.1:5000.
        timeout: seconds for one request.
        key: of this service; it goes into a header, never into a URL.
        headers: sent with every request.
        transport: in the place of real connections, for tests.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=timeout,
            headers={**(headers or {}), **key_header(key)},
            verify=trusting(self.url),
            transport=transport,
            trust_env=False,
        )

    async def quote(self, symbol: str, *, fields: str = "", depth: int = 0) -> Quote:
        """Return one quote.

        Raises:
            Refused: unknown, ambiguous, without data yet …; its `problem` says which.
            Unreachable: nothing answers.
        """
        return _decoded(_decode_quote, await self.get(f"/api/stock/{escape(symbol, safe='')}", **_wish(fields, depth)))

    async def batch(self, symbols: list[str], *, fields: str = "", depth: int = 0) -> list[dict[str, Any]]:
        """Return a quote, or an object with `symbol` and `error`, for each symbol in its order."""
        found: list[dict[str, Any]] = []
        for start in range(0, len(symbols), AT_ONCE):
            piece = ",".join(symbols[start : start + AT_ONCE])
            answer = await self.get("/api/stocks/batch", symbols=piece, **_wish(fields, depth))
            found += _decoded(_decode_batch, answer)
        return found

    async def since(self, symbols: list[str], position: str, *, fields: str = "", depth: int = 0) -> Delta:
        """Return what changed of at most 500 symbols since a position."""
        answer = await self.get("/api/stocks/batch", symbols=",".join(symbols), since=position, **_wish(fields, depth))
        return _decoded(_decode_delta, answer)

    async def status(self) -> dict[str, Any]:
        """Return the market's status: phase, next transition, clock, feeds."""
        return _decoded(_decode_quote, await self.get("/api/market/status"))

    async def get(self, path: str, **parameters: str) -> httpx.Response:
        """Return a successful answer to any GET request; raise Refused or Unreachable otherwise."""
        try:
            answer = await self._http.get(path, params=parameters)
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.url} does not answer: {str(error) or type(error).__name__}") from error
        if answer.is_error:
            raise Refused(_problem(answer))
        return answer

    async def aclose(self) -> None:
        """Close the connections; idempotent."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


def _wish(fields: str, depth: int) -> dict[str, str]:
    wish = {"fields": fields} if fields else {}
    return wish | ({"depth": str(depth)} if depth else {})


def _problem(answer: httpx.Response) -> Problem:
    try:
        return _decode_problem(answer.content)
    except frames.UNREADABLE:
        return Problem(code="not_bhavcast", status=answer.status_code, detail=f"the answer was {answer.status_code}")


def _decoded(decode: Callable[[bytes], _T], answer: httpx.Response) -> _T:
    try:
        return decode(answer.content)
    except frames.UNREADABLE as error:
        raise BadFrame(f"{answer.request.url} — expected an answer of this service, got: {error}") from error
