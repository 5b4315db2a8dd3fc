"""What of a data folder is of another version than this program writes: told, refused, or rewritten.

Nothing needs to be rewritten for this program to run: it reads the version before its own. It needs to be for the next
one, which will not. So `upgrade` is for an hour of one's choice, and after a kill in its midst every file is whole, of
one version or the other, and the next call does the rest.
"""

import contextlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from bhavcast.access import audit, keyfile
from bhavcast.app import config
from bhavcast.domain import format as formats
from bhavcast.domain.errors import Unavailable, UnknownFormat
from bhavcast.domain.format import Format
from bhavcast.journal import layout, reader
from bhavcast.journal.layout import sync_directory
from bhavcast.journal.lease import SUPERVISOR, DirectoryLease
from bhavcast.reference import kept

STAGED: Final = "upgrade.new"
BEFORE: Final = "before-upgrade"
_LAST_LINE_BYTES: Final = 64 * 1024
State = Literal["current", "due", "newer", "older", "damaged"]


class Stored(NamedTuple):
    """A format of files: where in a data folder they are, and how the version of one is found.

    `version` returns None for what is no such file. `rewrite` makes the content of the version before into that of the
    present one; there is none where there was no version before.
    """

    format: Format
    files: tuple[str, ...]
    version: Callable[[Path], int | None]
    rewrite: Callable[[bytes], bytes] | None = None


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one format and one version; `version` is None where they are none of it."""

    format: str
    version: int | None
    present: int
    state: State
    files: list[str]


def _of_pointer(path: Path) -> int | None:
    content = path.read_bytes()
    # One that says nothing is as good as none: a process may have been killed before it wrote it.
    return layout.pointer_version(content) if content else formats.POINTER.version


def _again(content: bytes) -> bytes:
    pointer = layout.unpack_pointer(content)
    # What does not add up stays so: nobody vouches for that journal.
    return layout.Pointer(0, sound=False).pack() if pointer is None else pointer.pack()


def _of_reference(path: Path) -> int | None:
    with path.open("rb") as file:
        return kept.version_of(file.read(len(kept.MAGIC)))


def _of_json(path: Path) -> int | None:
    return _number(json.loads(path.read_bytes()).get("version"))


def _of_lines(path: Path) -> int | None:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_LINE_BYTES))
        lines = file.read().splitlines()
    return _number(json.loads(lines[-1]).get("v", 1)) if lines else formats.AUDIT.version


def _of_toml(path: Path) -> int | None:
    return _number(tomllib.loads(path.read_text(encoding="utf-8")).get("version", formats.CONFIG.version))


def _number(found: object) -> int | None:
    return found if isinstance(found, int) and not isinstance(found, bool) else None


STORED: Final = (
    Stored(formats.JOURNAL, (f"journal/*{layout.SUFFIX}", f"journal/*{layout.SEALED_SUFFIX}"), reader.version_of),
    Stored(formats.POINTER, (f"journal/*{layout.POINTER_SUFFIX}",), _of_pointer, _again),
    Stored(formats.REFERENCE, ("reference/*.ref", "days/*.day"), _of_reference),
    Stored(formats.KEYS, (keyfile.NAME,), _of_json),
    Stored(formats.AUDIT, (audit.NAME,), _of_lines),
    Stored(formats.CONFIG, (config.FILE_NAME,), _of_toml),
)


def survey(data: Path, stored: Sequence[Stored] = STORED) -> list[Found]:
    """Return what is in a data folder, by format and version.

    Raises:
        OSError: something there cannot be read.
    """
    found: dict[tuple[str, int | None], Found] = {}
    for kind in stored:
        for path in sorted(path for pattern in kind.files for path in data.glob(pattern)):
            try:
                version = kind.version(path)
            except FileNotFoundError:  # it was removed or sealed since we looked
                continue
            except (ValueError, AttributeError):  # no JSON or TOML, or no table of names
                version = None
            one = found.setdefault(
                (kind.format.name, version),
                Found(
                    format=kind.format.name,
                    version=version,
                    present=kind.format.version,
                    state=_state(kind.format, version),
                    files=[],
                ),
            )
            one.files.append(str(path.relative_to(data)))
    return list(found.values())


def _state(format_: Format, version: int | None) -> State:
    if version is None:
        return "damaged"
    if version == format_.version:
        return "current"
    if version > format_.version:
        return "newer"
    return "due" if version >= format_.oldest else "older"


def refuse(data: Path, stored: Sequence[Stored] = STORED) -> None:
    """Raise UnknownFormat where a data folder holds what this program does not read; what is damaged is the reader's."""
    by_name = {kind.format.name: kind.format for kind in stored}
    for found in survey(data, stored):
        if found.version is not None:
            more = f" (and {len(found.files) - 1} more)" if len(found.files) > 1 else ""
            by_name[found.format].check(found.version, f"{data / found.files[0]}{more}")


def upgrade(data: Path, stored: Sequence[Stored] = STORED) -> list[Found]:
    """Rewrite what is of the version before, all or nothing but for a kill between two files; return what was rewritten.

    What it was stays in `before-upgrade`, in place of what was there from an earlier time.

    Raises:
        NotTheWriter: a system runs on the folder.
        UnknownFormat: it holds what this program does not read; nothing has changed.
        Unavailable: there is no room, or a disk fails; nothing has changed.
    """
    leases = [DirectoryLease(data), DirectoryLease(data, SUPERVISOR)]
    try:
        for lease in leases:
            lease.acquire()
        refuse(data, stored)
        due = [found for found in survey(data, stored) if found.state == "due"]
        try:
            _rewrite(data, {kind.format.name: kind for kind in stored}, due)
        except OSError as error:
            raise Unavailable(f"cannot rewrite what is in {data}: {error}") from error
        return due
    finally:
        for lease in leases:
            lease.release()


def _rewrite(data: Path, kinds: dict[str, Stored], due: list[Found]) -> None:
    staged, before = data / STAGED, data / BEFORE
    shutil.rmtree(staged, ignore_errors=True)
    if not due:
        return
    try:
        for found in due:
            for name in found.files:
                _stage(kinds[found.format], data / name, staged / name)
    except OSError:
        shutil.rmtree(staged, ignore_errors=True)
        raise
    shutil.rmtree(before, ignore_errors=True)
    for found in due:
        for name in found.files:
            _keep(data / name, before / name)
            (staged / name).replace(data / name)
            sync_directory((data / name).parent)
    shutil.rmtree(staged, ignore_errors=True)


def _stage(kind: Stored, path: Path, staged: Path) -> None:
    """Write what a file becomes, with its times and mode, and see that it is what it should be."""
    assert kind.rewrite is not None, f"there was no version before of {kind.format.name}"
    staged.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with staged.open("wb") as file:
        file.write(kind.rewrite(path.read_bytes()))
        file.flush()
        os.fsync(file.fileno())
    shutil.copystat(path, staged)
    if kind.version(staged) != kind.format.version:
        raise UnknownFormat(f"{path} was not rewritten to version {kind.format.version}; this is a defect of Bhavcast")


def _keep(path: Path, beside: Path) -> None:
    beside.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        beside.hardlink_to(path)
        return
    shutil.copy2(path, beside)  # a file system without links
