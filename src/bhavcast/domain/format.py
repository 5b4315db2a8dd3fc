"""The versions of everything that is stored or sent: which one this program writes, and which it reads.

A version is a whole number. A program writes one version of each format and reads that and the one before it, so that
any release takes up what its predecessor left; `bhavcast upgrade` rewrites what is of the version before, so that the
next release can read it too. What is of another version is refused, before anything of it is believed.

What a reader may pass over (a name it does not know, a fact, a field with a number past its last) makes no new version.
On the bus, where programs of two releases meet, such additions are counted: the low byte of the number that stands
there is the version, the rest is the count. docs/reference/formats.md says where each version stands.
"""

from typing import Final, NamedTuple

from bhavcast.domain.errors import UnknownFormat


class Format(NamedTuple):
    """One format: its name, the version that is written, and how much was added since that version began."""

    name: str
    version: int = 1
    additions: int = 0

    @property
    def written(self) -> int:
        """The number that stands in what this program writes."""
        return self.version | self.additions << 8

    @property
    def oldest(self) -> int:
        """The oldest version that is read."""
        return max(1, self.version - 1)

    def check(self, found: int, what: str) -> int:
        """Return the version that stands in `what`; raise UnknownFormat where this program does not read it."""
        version = found & 0xFF
        if self.oldest <= version <= self.version:
            return version
        read = f"{self.oldest} or {self.version}" if self.oldest < self.version else f"{self.version}"
        if version > self.version:
            told = "a newer Bhavcast wrote it: run that one, or a newer one, here"
        else:
            told = "take it up with each Bhavcast between that one and this, one after the other (bhavcast upgrade)"
        raise UnknownFormat(f"{what} — expected version {read} of its format ({self.name}), got {version}: {told}")

    def extended(self, found: int) -> bool:
        """Tell whether something of this version was added that this program does not know."""
        return found & 0xFF == self.version and found >> 8 > self.additions


JOURNAL: Final = Format("journal")
RECORDING: Final = Format("recording")
POINTER: Final = Format("pointer of a journal", 2)  # 1 had no number: docs/adr/0030-versions.md
BUS: Final = Format("bus")  # messages and snapshots, in Redis and in journals
LEASE: Final = Format("lease")
REFERENCE: Final = Format("reference data")  # masters, official days, past days
KEYS: Final = Format("keys")
AUDIT: Final = Format("audit log")
CONFIG: Final = Format("configuration")
ROLES: Final = Format("state of processes")
CONTROL: Final = Format("control socket")
SESSION: Final = Format("session")
STREAM: Final = Format("stream")  # WebSocket and events, as clients speak it

FORMATS: Final = (
    JOURNAL,
    RECORDING,
    POINTER,
    BUS,
    LEASE,
    REFERENCE,
    KEYS,
    AUDIT,
    CONFIG,
    ROLES,
    CONTROL,
    SESSION,
    STREAM,
)
