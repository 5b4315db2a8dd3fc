"""Find scrips and indices by what people call them: code, id, ISIN, name, group."""

from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import Final

from bhavcast.domain.errors import AmbiguousSymbol, BadRequest, UnknownSymbol
from bhavcast.domain.index import IndexBasis
from bhavcast.domain.instrument import Instrument

LONGEST: Final = 64  # of what can be asked for: no id, ISIN or index name is nearly as long

_EXACT, _PREFIX, _WORD, _WITHIN = "0", "1", "2", "3"


class Directory:
    """All instruments by symbol, id, ISIN and group. Looking one up costs a dictionary or two."""

    def __init__(self, instruments: Iterable[Instrument], indices: Iterable[IndexBasis] = ()) -> None:
        self._by_symbol: dict[str, Instrument] = {}
        self._named: dict[str, dict[str, Instrument]] = {}  # id or ISIN, in capitals → symbol → instrument
        self._groups: dict[str, set[str]] = {}
        self._members = {basis.symbol: tuple(basis.members) for basis in indices}
        for instrument in instruments:
            self.add(instrument)

    def __len__(self) -> int:
        return len(self._by_symbol)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._by_symbol

    def __getitem__(self, symbol: str) -> Instrument:
        return self._by_symbol[symbol]

    def add(self, instrument: Instrument) -> None:
        """Take in a new instrument, or a new description of a known symbol."""
        symbol = instrument.symbol
        known = self._by_symbol.get(symbol)
        if known is not None:
            self._forget(known)
        self._by_symbol[symbol] = instrument
        for name in _names(instrument):
            self._named.setdefault(name, {})[symbol] = instrument
        if instrument.group and instrument.status == "A":
            self._groups.setdefault(instrument.group.upper(), set()).add(symbol)

    def resolve(self, text: str) -> Instrument:
        """Return the instrument that a code, id, ISIN or `IDX:NAME` means, in any case.

        Of several active scrips of one id or ISIN it is the only one of type EQ that settles T+1.

        Raises:
            UnknownSymbol: nothing is called so.
            AmbiguousSymbol: several scrips are, and the rule does not choose one.
        """
        name = text.strip().upper() if len(text) <= LONGEST else ""
        found = self._by_symbol.get(name)
        if found is not None:
            return found
        named = self._named.get(name)
        if named is None:
            raise UnknownSymbol(f"no scrip or index is called {text[:LONGEST]!r}", field="symbol")
        return next(iter(named.values())) if len(named) == 1 else _choose(text, list(named.values()))

    def search(
        self, query: str = "", group: str = "", limit: int = 100, cursor: str = ""
    ) -> tuple[list[Instrument], str | None]:
        """Return a page of the instruments that match, and the cursor of the next page or None.

        A match is in the id, name, code or ISIN; exact ones come first, then beginnings, then beginnings of a word of
        the name, then the rest; among equals active scrips, then by symbol. A cursor stays valid when instruments
        are added.

        Raises:
            BadRequest: the limit is not positive, or the cursor is not one of ours.
        """
        if limit < 1:
            raise BadRequest(f"expected a positive limit, got {limit}", field="limit")
        if cursor and (len(cursor) > LONGEST or cursor[0] not in "0123" or cursor[1:2] not in ("0", "1")):
            raise BadRequest(f"expected a cursor as received, got {cursor[:LONGEST]!r}", field="cursor")
        wanted, group = query.strip().upper(), group.strip().upper()
        matches = []
        for instrument in self._by_symbol.values():
            if group and instrument.group.upper() != group:
                continue
            rank = _rank(instrument, wanted) if wanted else _EXACT
            if rank is not None:
                key = f"{rank}{'0' if instrument.status == 'A' else '1'}{instrument.symbol}"
                if key > cursor:
                    matches.append((key, instrument))
        page = nsmallest(limit, matches, key=lambda match: match[0])
        more = len(matches) > len(page)
        return [instrument for _, instrument in page], page[-1][0] if more else None

    def group(self, name: str) -> list[str]:
        """Return the symbols of the active scrips of a group, in order; raise UnknownSymbol if there are none."""
        symbols = self._groups.get(name.strip().upper())
        if not symbols:
            raise UnknownSymbol(f"no active scrip is of a group {name[:LONGEST]!r}", field="group")
        return sorted(symbols)

    def groups(self) -> dict[str, int]:
        """Return the groups that have active scrips, and how many."""
        return {name: len(symbols) for name, symbols in sorted(self._groups.items()) if symbols}

    def members(self, text: str) -> list[str]:
        """Return the symbols of an index's members; raise UnknownSymbol if it is no index whose members are known."""
        instrument = self.resolve(text)
        members = self._members.get(instrument.symbol)
        if members is None:
            raise UnknownSymbol(f"{text[:LONGEST]!r} is not an index with known members", field="symbol")
        return list(members)

    def _forget(self, instrument: Instrument) -> None:
        for name in _names(instrument):
            named = self._named[name]
            named.pop(instrument.symbol, None)
            if not named:
                del self._named[name]
        self._groups.get(instrument.group.upper(), set()).discard(instrument.symbol)


def _names(instrument: Instrument) -> set[str]:
    if instrument.is_index:  # found as IDX:NAME only: BSE's index ids (BSE IT, AUTO) may be a scrip's one day
        return set()
    return {name for name in (instrument.id.upper(), instrument.isin.upper()) if name}


def _choose(text: str, named: list[Instrument]) -> Instrument:
    candidates = [i for i in named if i.status == "A"] or named
    # What only a day's file speaks of does not put a name of the master in doubt.
    candidates = [i for i in candidates if not i.provisional] or candidates
    if len(candidates) == 1:
        return candidates[0]
    shares = [i for i in candidates if i.kind == "EQ" and i.settlement == 1]
    if len(shares) == 1:
        return shares[0]
    codes = tuple(sorted(i.symbol for i in candidates))
    raise AmbiguousSymbol(
        f"{text[:LONGEST]!r} names {len(codes)} scrips: {', '.join(codes[:10])}", candidates=codes, field="symbol"
    )


def _rank(instrument: Instrument, wanted: str) -> str | None:
    symbol, identity, isin, name = instrument.symbol, instrument.id.upper(), instrument.isin, instrument.name.upper()
    if wanted in (symbol, identity, isin, name):
        return _EXACT
    if any(text.startswith(wanted) for text in (identity, symbol, name, isin)):
        return _PREFIX
    if f" {wanted}" in name:
        return _WORD
    return _WITHIN if wanted in identity or wanted in name or wanted in isin or wanted in symbol else None
