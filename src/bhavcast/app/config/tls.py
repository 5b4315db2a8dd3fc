"""Settings of TLS."""

from pathlib import Path
from typing import Annotated

import msgspec

from bhavcast.app.config.setting import says


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What every port speaks TLS with; renewed files are taken without a restart."""

    cert: Annotated[
        Path | None,
        says("certificate chain, PEM; with it every port speaks TLS 1.2 or 1.3 alone", "/etc/bhavcast/cert.pem"),
    ] = None
    key: Annotated[Path | None, says("private key of the certificate, PEM", "/etc/bhavcast/key.pem")] = None
