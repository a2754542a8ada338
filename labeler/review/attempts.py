"""How often somebody may try a password: some tries are free, then pauses that grow."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

LONGEST_S = 60.0
FORGET_S = 900.0
ROOM = 10_000


@dataclass(slots=True)
class _Tries:
    count: int = 0
    last: float = 0.0
    free_at: float = 0.0


class Attempts:
    """Tries by key (a name, an address), in memory and of bounded number.

    A try counts from the moment it begins, so that a hundred begun together are a hundred and not none.

    Args:
        free: tries before the first pause. The pauses last 1, 2, 4, ... seconds, at most 60; a try within one is
            refused and changes nothing. After a quarter of an hour without a try all is forgotten.
        clock: seconds that never go back.
        room: keys that are kept; beyond, those that tried longest ago are forgotten.
    """

    def __init__(self, free: int, clock: Callable[[], float] = time.monotonic, room: int = ROOM) -> None:
        self._free = free
        self._clock = clock
        self._room = room
        self._tries: dict[str, _Tries] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def pause(self, key: str) -> float:
        """Seconds this key has to wait; 0 when it may try."""
        tries = self._tries.get(key)
        return max(0.0, tries.free_at - self._clock()) if tries is not None else 0.0

    def begin(self, key: str) -> None:
        """Count a try."""
        moment = self._clock()
        tries = self._tries.pop(key, None)
        if tries is None or moment - tries.last > FORGET_S:
            tries = _Tries()
        tries.count += 1
        tries.last = moment
        beyond = tries.count - self._free
        if beyond >= 0:
            tries.free_at = moment + min(LONGEST_S, 2.0 ** min(beyond, 10))
        while len(self._tries) >= self._room:
            del self._tries[next(iter(self._tries))]
        self._tries[key] = tries  # last in the dictionary: the first has tried longest ago

    def forget(self, key: str) -> None:
        """The password was right."""
        self._tries.pop(key, None)

    def give_back(self, key: str) -> None:
        """One try was right; the wrong ones still count."""
        tries = self._tries.get(key)
        if tries is not None:
            tries.count -= 1
            tries.free_at = 0.0


class Turnstile:
    """Whether a password may be tried now, by the name it is for and the address it comes from.

    Whoever keeps guessing keeps a name waiting, and its owner with it; so an address from which that name has signed
    in before has tries of its own, which no stranger uses up. Kept in memory, of bounded number.

    Args:
        by_name: wrong passwords for a name before the first pause.
        by_address: the same from an address; it may be that of a whole office.
        clock: seconds that never go back.
        room: names, addresses and known pairs of them that are kept.
    """

    def __init__(
        self, by_name: int, by_address: int, clock: Callable[[], float] = time.monotonic, room: int = ROOM
    ) -> None:
        self._by_name = Attempts(by_name, clock, room)
        self._by_address = Attempts(by_address, clock, room)
        self._room = room
        self._known: dict[tuple[str, str], None] = {}

    def pause(self, name: str, address: str) -> float:
        """Seconds to wait before this name may be tried from there; 0 when it may be."""
        return max(self._by_name.pause(self._key(name, address)), self._by_address.pause(address))

    def begin(self, name: str, address: str) -> None:
        """Count a try."""
        self._by_name.begin(self._key(name, address))
        self._by_address.begin(address)

    def let_in(self, name: str, address: str) -> None:
        """The password was right."""
        self._by_name.forget(self._key(name, address))
        self._by_address.give_back(address)
        pair = (_one_form(name), address)
        self._known.pop(pair, None)
        while len(self._known) >= self._room:
            del self._known[next(iter(self._known))]
        self._known[pair] = None

    def _key(self, name: str, address: str) -> str:
        name = _one_form(name)
        return f"{name}\0{address}" if (name, address) in self._known else name


def _one_form(name: str) -> str:
    """One text for all spellings of a name that mean one account, and a few more: none has tries of its own."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
