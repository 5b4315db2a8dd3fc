"""The values behind the files here, and how each is written and read. `python -m tests.formats.samples` writes new ones."""

import datetime
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bhavcast.access.audit import AuditLog
from bhavcast.access.keyfile import KeyFile
from bhavcast.app.control_socket import _Answer, _encode, _Pause
from bhavcast.bus import mirror
from bhavcast.bus.mirror import Mirror
from bhavcast.domain import field, record
from bhavcast.domain import format as formats
from bhavcast.domain.access import Key
from bhavcast.domain.change import Change, Message, RowImage, Snapshot, decode, decode_snapshot, encode
from bhavcast.domain.format import Format
from bhavcast.domain.instrument import Instrument
from bhavcast.domain.span import DayRange
from bhavcast.domain.tick import Batch, Source, Tick
from bhavcast.domain.universe import Universe
from bhavcast.feeds import recording
from bhavcast.journal import layout, reader
from bhavcast.journal.layout import Opening, Pointer
from bhavcast.reference import kept
from bhavcast.reference.store import StoredMaster
from bhavcast.telemetry.clock import ManualClock

HERE = Path(__file__).parent
EPOCH = "20261123T0345Z-9f1c03ab77de5a20"
AT = 1_795_406_100_000  # 23 Nov 2026, 09:25 in India
RELIANCE = Instrument(
    symbol="500325", id="RELIANCE", name="Reliance Industries", isin="INE002A01018", group="A", band=10
)
LADDER = ((193125, 10, 2), (193120, 5, 1))
VALUES: list[Any] = [None] * field.COUNT
REVS = [0] * field.COUNT
for _number, _value in ((field.CURRENT_PRICE, 193130), (field.STATE, "live"), (field.BIDS, LADDER)):
    VALUES[_number], REVS[_number] = _value, 100
SNAPSHOT = Snapshot(
    epoch=EPOCH, rev=100, token=7, market=AT, planned=True, rows=[RowImage("500325", 100, VALUES, REVS)],
    facts={"day": "2026-11-23", "gaps": []}, instruments=[RELIANCE],
)  # fmt: skip
MESSAGE = Message(
    epoch=EPOCH, token=7, from_rev=101, to_rev=102, published=AT + 250, received=AT + 249,
    changes=[Change("500325", 101, {field.CURRENT_PRICE: 193135, field.ASKS: None})], facts={"journal": {"state": "ok"}},
)  # fmt: skip
OPENING = Opening(
    epoch=EPOCH, rev=100, token=7, boot_id="8f0c7a52-1d7b-4b2e-9d53-3d0f6f1f9a11", file="fe01:2a:0000000000000000",
    directory_token="d1", run_id="r1", program="0.1.0", started=AT, market=AT,
)  # fmt: skip
MASTER = StoredMaster("LIST_OF_SCRIPS.csv", datetime.date(2026, 11, 20), 1, {"500325": RELIANCE})
DAY = {"500325": DayRange(193500, 190000, 2)}
UNIVERSE = Universe({"500325": RELIANCE}, {"500325": 193000}, [])
BATCH = Batch(Source("sim", "sim", "tick"), AT, [Tick("500325", AT, {field.CURRENT_PRICE: 193130})])
KEY = Key(id="5b1e9f02", name="desk", role="viewer", sha256="9f86d0" + "0" * 58, created=AT, expires=AT + 1)


class Sample(NamedTuple):
    """A format: what writes its values now, and what reads a file of any version that is still read."""

    format: Format
    write: Callable[[Path], bytes]  # it may use an empty folder
    read: Callable[[Path], Any]
    value: Any


def _journal(_: Path) -> bytes:
    opening = msgspec.msgpack.encode(OPENING)
    records = [(layout.OPEN, opening), (layout.CHECKPOINT, encode(SNAPSHOT)), (layout.MESSAGE, encode(MESSAGE))]
    framed = [record.frame(type_, payload) for type_, payload in [*records, (layout.CLOSE, b"")]]
    return b"".join([record.header(record.JOURNAL), *framed])


def _read_journal(path: Path) -> Any:
    recovered = reader.read(path)
    return recovered.opening, recovered.snapshot.rev, recovered.closed, list(reader.messages(path))


def _recording(folder: Path) -> bytes:
    about = recording.about(origin="a test", source=BATCH.source, date="2026-11-23", started=AT, universe=UNIVERSE)
    with recording.Recorder(folder / "recording", about) as recorder:
        recorder.write(BATCH)
    return (folder / "recording").read_bytes()


def _read_recording(path: Path) -> Any:
    found = recording.inspect(path)
    return found.about.universe, found.about.source, list(recording.batches(path)), found.trailer is not None


def _hash(_: Path) -> bytes:
    names = [each if isinstance(each, bytes) else each.encode() for each in Mirror(SNAPSHOT).whole()]
    told = dict(zip(names[::2], names[1::2], strict=True)) | {b"_pos": f"{EPOCH}:100:7:d1".encode()}
    return msgspec.msgpack.encode(told)


def _keys(folder: Path) -> bytes:
    with KeyFile(folder).change() as keys:
        keys.append(KEY)
    return KeyFile(folder).path.read_bytes()


def _read_keys(path: Path) -> Any:
    file = KeyFile(path.parent)
    file.path = path
    return file.read()


def _audit(folder: Path) -> bytes:
    log = AuditLog(folder, ManualClock(AT))
    log.record(who="desk", role="operator", what="feeds.pause", where="127.0.0.1", outcome="done", target="sim")
    return log.path.read_bytes()


def _read_audit(path: Path) -> Any:
    return [
        {name: value for name, value in json.loads(line).items() if name != "v"}
        for line in path.read_text().splitlines()
    ]


def _line(what: Any) -> bytes:
    return _encode(what) + b"\n"


SAMPLES = {
    "journal": Sample(formats.JOURNAL, _journal, _read_journal, (OPENING, 102, True, [MESSAGE])),
    "pointer": Sample(
        formats.POINTER,
        lambda _: Pointer(803198, sound=True).pack(),
        lambda path: layout.unpack_pointer(path.read_bytes()),
        Pointer(803198, sound=True),
    ),
    "recording": Sample(formats.RECORDING, _recording, _read_recording, (UNIVERSE, BATCH.source, [BATCH], True)),
    "message": Sample(formats.BUS, lambda _: encode(MESSAGE), lambda path: decode(path.read_bytes()), MESSAGE),
    "snapshot": Sample(
        formats.BUS, lambda _: encode(SNAPSHOT), lambda path: decode_snapshot(path.read_bytes()), SNAPSHOT
    ),
    "board": Sample(formats.BUS, _hash, lambda path: mirror.read(msgspec.msgpack.decode(path.read_bytes())), SNAPSHOT),
    "master": Sample(
        formats.REFERENCE,
        lambda _: kept.pack(MASTER),
        lambda path: kept.unpack(path.read_bytes(), StoredMaster),
        MASTER,
    ),
    "day": Sample(
        formats.REFERENCE,
        lambda _: kept.pack(DAY),
        lambda path: kept.unpack(path.read_bytes(), dict[str, DayRange]),
        DAY,
    ),
    "keys": Sample(formats.KEYS, _keys, _read_keys, [KEY]),
    "audit": Sample(
        formats.AUDIT,
        _audit,
        _read_audit,
        [
            {
                "at": "2026-11-23T09:25:00.000+05:30", "who": "desk", "role": "operator", "what": "feeds.pause",
                "where": "127.0.0.1", "outcome": "done", "target": "sim",
            }
        ],
    ),
    "request": Sample(
        formats.CONTROL,
        lambda _: _line(_Pause("sim")),
        lambda path: msgspec.json.decode(path.read_bytes(), type=_Pause),
        _Pause("sim"),
    ),
    "answer": Sample(
        formats.CONTROL,
        lambda _: _line(_Answer(v=1, done={})),
        lambda path: msgspec.json.decode(path.read_bytes(), type=_Answer),
        _Answer(v=1, done={}),
    ),
}  # fmt: skip


def path_of(name: str, version: int) -> Path:
    """Return where the file of a version is."""
    return HERE / f"{name}-{version}"


if __name__ == "__main__":
    import tempfile

    for name, sample in SAMPLES.items():
        path = path_of(name, sample.format.version)
        if not path.exists():
            with tempfile.TemporaryDirectory() as folder:
                path.write_bytes(sample.write(Path(folder)))
            print(path.name, hashlib.sha256(path.read_bytes()).hexdigest()[:12])
