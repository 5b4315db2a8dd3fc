"""What a setting is: a value with its unit, bounds, meaning and example, and what is made from them."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import msgspec

PREFIX: Final = "BHAVCAST_"
# Settings that one wants to change from run to run; the others belong in the file or the environment.
FLAGS: Final = (
    "data", "host", "port", "frontend_port", "monitor_port", "source", "rate", "scrips", "seed", "at", "speed", "chaos",
)  # fmt: skip


def within(unit: str, ge: float, le: float) -> msgspec.Meta:
    """Say what a number counts and how small and large it may be, for a type that several settings share."""
    return msgspec.Meta(extra={"unit": unit}, ge=ge, le=le)


def says(meaning: str, example: object, *, unit: str = "", **bounds: Any) -> msgspec.Meta:
    """Say what a setting means, with an example of its value."""
    return msgspec.Meta(description=meaning, examples=[example], extra={"unit": unit} if unit else {}, **bounds)


class Setting(NamedTuple):
    """One setting, as the documentation, the environment and the command line see it."""

    name: str
    type: Any
    default: object
    unit: str
    meaning: str
    example: object

    @property
    def variable(self) -> str:
        """Return its environment variable: `limits.symbols` is BHAVCAST_LIMITS_SYMBOLS."""
        return PREFIX + self.name.upper().replace(".", "_")

    @property
    def flag(self) -> str | None:
        """Return its flag, None where it has none: `frontend_port` is --frontend-port."""
        return "--" + self.name.replace("_", "-") if self.name in FLAGS else None

    @property
    def expected(self) -> str:
        """Say what a value must look like."""
        return _expected(msgspec.inspect.type_info(self.type)) + (f" ({self.unit})" if self.unit else "")


def settings_of(struct: type[msgspec.Struct], prefix: str = "") -> Iterator[Setting]:
    """Yield the settings that a value has, those of its sections by `section.name`."""
    for field in msgspec.structs.fields(struct):
        name = prefix + field.name
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            yield from settings_of(field.type, f"{name}.")
            continue
        *shared, own = (each for each in get_args(field.type)[1:] if isinstance(each, msgspec.Meta))
        assert own.description is not None, name
        assert own.examples, name
        unit = "".join((each.extra or {}).get("unit", "") for each in (*shared, own))
        yield Setting(name, field.type, field.default, unit, own.description, own.examples[0])


def plain(value: object) -> object:
    """Return a setting's value as TOML and JSON can write it."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, float):
        return "max" if math.isinf(value) else int(value) if value.is_integer() else value
    return value


def _expected(info: msgspec.inspect.Type) -> str:
    match info:
        case msgspec.inspect.Metadata():
            return _expected(info.type)
        case msgspec.inspect.UnionType():
            return " or ".join(_expected(each) for each in info.types if each != msgspec.inspect.NoneType())
        case msgspec.inspect.LiteralType():
            return "one of " + ", ".join(str(each) for each in info.values)
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "a whole number" + _bounds(info.ge, None, info.le)
        case msgspec.inspect.FloatType():
            return "a number" + _bounds(info.ge, info.gt, info.le)
        case msgspec.inspect.VarTupleType():
            return "a list of texts (in the environment and in flags: separated by commas)"
        case msgspec.inspect.CustomType():
            return "a path"
    return "text"


def _bounds(ge: float | None, gt: float | None, le: float | None) -> str:
    above = f" above {gt}" if gt is not None else ""
    if ge is not None:
        above = f" from {ge}" if le is not None else f" of at least {ge}"
    if le is None:
        return above
    return f"{above} to {le}" if ge is not None else f"{above} and at most {le}"
