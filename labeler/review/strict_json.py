"""JSON as this server takes it: RFC 8259 in UTF-8, and nothing that two readers could read in two ways.

Python's reader takes more: ``NaN`` and ``Infinity``, halves of surrogate pairs, a name twice in one object, numbers of
any length. Behind it these are errors that nobody expects, in the record or while an answer is written: refused here
once, for our endpoints and for Gradio's.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

#: Lists and objects within one another; ours are four deep.
DEEPEST = 32
#: Digits of a whole number: what a record can hold has at most 19.
LONGEST_NUMBER = 19


class _Refused(ValueError):
    pass


def fault(body: bytes) -> str | None:
    """Why ``body`` is not taken, in a few words; None when it is."""
    try:
        value = json.loads(
            body.decode("utf-8"),
            parse_constant=_constant,
            parse_int=_whole,
            parse_float=_broken,
            object_pairs_hook=_names_once,
        )
        if b"\\u" in body:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        if body.count(b"[") + body.count(b"{") > DEEPEST and _deep(value):
            raise _Refused("lists or objects nested too deeply")
    except _Refused as refused:
        return str(refused)
    except RecursionError:
        return "lists or objects nested too deeply"
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos}"
    except UnicodeError:
        return "text that is no Unicode"
    return None


def _constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > LONGEST_NUMBER:
        raise _Refused("a whole number of too many digits")
    return int(digits)


def _broken(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise _Refused("a number that is too large")
    return number


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _Refused("a name that stands twice in one object")
    return found


def _deep(value: Any) -> bool:
    """Level by level, not by recursion: that is what is being guarded against."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for one in level
            if isinstance(one, (dict, list))
            for inner in (one.values() if isinstance(one, dict) else one)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return False
    return True
