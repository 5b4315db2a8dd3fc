"""TLS by configuration: which versions, and a certificate that is renewed under way."""

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
import structlog

from bhavcast.app.tls import Certificate
from bhavcast.domain.errors import BadConfig


def certify(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Write a certificate of our own and its key; return their files."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run([*command, "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


class Listening:
    """Something that speaks TLS with a certificate."""

    def __init__(self, certificate: Certificate) -> None:
        self._context = certificate.context

    async def __aenter__(self) -> "Listening":
        self._server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def shown(self, least: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
        """Return the certificate that a client is shown."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = least
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        told = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        assert isinstance(told, bytes)
        return told


def der(cert: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(cert.read_text())


async def test_two_versions_are_spoken_and_no_older_one(tmp_path):
    cert, key = certify(tmp_path)
    certificate = Certificate(cert, key)
    assert certificate.context.minimum_version == ssl.TLSVersion.TLSv1_2
    async with Listening(certificate) as here:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            assert await here.shown(version) == der(cert)


async def test_a_renewed_certificate_is_shown_to_whoever_comes_next(tmp_path):
    cert, key = certify(tmp_path)
    certificate = Certificate(cert, key)
    async with Listening(certificate) as here:
        before = await here.shown()
        certify(tmp_path, "renewed")
        certificate.look()
        after = await here.shown()
        assert before != after == der(cert)


@pytest.mark.parametrize("spoil", ["half", "none", "another key", "gone"])
async def test_what_cannot_be_used_changes_nothing_and_is_said(tmp_path, spoil):
    cert, key = certify(tmp_path)
    certificate = Certificate(cert, key)
    good = der(cert)
    async with Listening(certificate) as here:
        (tmp_path / "other").mkdir()
        other, _ = certify(tmp_path / "other", "other")
        match spoil:
            case "half":
                cert.write_text(cert.read_text()[:200])
            case "none":
                cert.write_text("")
            case "another key":
                cert.write_bytes(other.read_bytes())
            case "gone":
                key.unlink()
        with structlog.testing.capture_logs() as lines:
            certificate.look()
            certificate.look()
        assert [each["log_level"] for each in lines] == ["error"]
        assert await here.shown() == good
        certify(tmp_path, "renewed")
        certificate.look()
        assert await here.shown() == der(cert)


def test_a_start_with_files_that_cannot_be_used_is_refused(tmp_path):
    cert, key = certify(tmp_path)
    for one, other in ((cert, cert), (tmp_path / "none", key)):
        with pytest.raises(BadConfig) as error:
            Certificate(one, other)
        assert error.value.field == "tls.cert"


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(tmp_path):
    cert, key = certify(tmp_path)
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:secret", "-out", str(locked)], check=True
    )
    with pytest.raises(BadConfig):
        Certificate(cert, locked)
