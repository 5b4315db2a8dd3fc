"""TLS by configuration: one context for every port, whose certificate is renewed under way."""

import asyncio
import ssl
import tempfile
from pathlib import Path
from typing import Final

import structlog

from bhavcast.app.config import Config
from bhavcast.domain.errors import BadConfig

log = structlog.get_logger()

LOOK_S: Final = 1.0


class Certificate:
    """A certificate and its key from two files; `look` takes them up again when they were renewed."""

    def __init__(self, cert: Path, key: Path) -> None:
        self._cert = cert
        self._key = key
        self.context = _context()
        self._seen = self._stamp()
        try:
            self._load()
        except (OSError, ssl.SSLError) as error:
            raise BadConfig(
                f"tls.cert, tls.key — expected a certificate and its key in PEM, without a passphrase, got {cert}, {key}: {error}",
                field="tls.cert",
            ) from None

    def look(self) -> None:
        """Take up renewed files; connections that are open keep what they began with. Unusable ones are left alone."""
        try:
            stamp = self._stamp()
            if stamp == self._seen:
                return
            self._seen = stamp
            self._load()
        except (OSError, ssl.SSLError) as error:
            log.error("the certificate cannot be renewed; the one before it stands", error=str(error))
        else:
            log.info("the certificate was renewed", cert=str(self._cert))

    async def run(self) -> None:
        """Look once a second."""
        while True:
            await asyncio.sleep(LOOK_S)
            self.look()

    def _stamp(self) -> list[tuple[int, int, int]]:
        found = []
        for path in (self._cert, self._key):
            try:
                told = path.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((told.st_mtime_ns, told.st_ino, told.st_size))
        return found

    def _load(self) -> None:
        # What was tried is what is taken, whatever is being written meanwhile: a pair that does not fit would leave the
        # context with half of each.
        with tempfile.TemporaryDirectory() as folder:
            cert, key = Path(folder, "cert"), Path(folder, "key")
            cert.write_bytes(self._cert.read_bytes())
            key.touch(mode=0o600)
            key.write_bytes(self._key.read_bytes())
            for context in (_context(), self.context):
                # A passphrase would be asked for on the terminal, of a service that may have none.
                context.load_cert_chain(cert, key, password=lambda: "")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    return context


def certificate(config: Config) -> Certificate | None:
    """Return the certificate that is configured; None where there is none, and nothing speaks TLS."""
    tls = config.tls
    return None if tls.cert is None or tls.key is None else Certificate(tls.cert, tls.key)
