"""Which images belong together: beards, tanned faces, patterned masks; and how well each kind is told apart.

The rule for file names: an image belongs to the first word of its name. A word is a run of at least three letters;
class names, the camera's own words (``IMG``, ``DSC``...) and names that are a hash are passed over, so that
``withMask_beard_012.jpg`` and ``Beard-7.png`` are both ``beard`` and ``004db603b236.jpg`` belongs nowhere. A CSV with
``path,group`` says it outright.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from labeler.domain import LabelerError
from labeler.pool import csv_table
from labeler.pool.names import shown
from labeler.retrain.evaluate import wilson

#: A group of fewer images says nothing: its interval would span half the scale.
SMALLEST = 5
OTHER = "other"

_WORD = re.compile(r"[^\W\d_]{3,}")
_HASH = re.compile(r"[0-9a-f]{8,}", re.IGNORECASE)
# What cameras, telephones and collections of images begin every name with: it tells nothing of what is seen.
_EMPTY_WORDS = frozenset({"augmented", "copy", "dsc", "dscn", "frame", "image", "images", "img", "mvi", "photo", "pic"})
_PATHS = ("path", "file", "filename", "image")
_GUARD = "'"

Names = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """How a model does on the images of one kind: ``low`` and ``high`` bound the accuracy with 95 % certainty."""

    name: str
    n: int
    hits: int
    accuracy: float
    low: float
    high: float


def from_names(paths: Sequence[str], classes: Sequence[str]) -> Names | None:
    """The group of every image by its file name, after the rule above.

    Returns:
        One lower-case word per path, None where a name holds none. None for all when the names do not tell groups
        apart: fewer than two words occur in :data:`SMALLEST` names or more.
    """
    passed_over = _EMPTY_WORDS | {part for name in classes for part in _class_words(name)}
    words = tuple(_first_word(PurePosixPath(path).stem, passed_over) for path in paths)
    counts = Counter(word for word in words if word is not None)
    return words if sum(count >= SMALLEST for count in counts.values()) >= 2 else None


def from_csv(file: Path, paths: Sequence[str], root: Path) -> Names:
    """The group of every image by a UTF-8 CSV with the columns ``path`` and ``group``; without a header in that order.

    A line means the image whose path is given the same way; else the one that lies there as seen from the CSV; else
    the image of that file name, where neither the images nor the CSV hold the name twice (files move between the
    pools, their names stay). Lines about other images are passed over.

    Args:
        file: the CSV.
        paths: (n,) POSIX paths as shown, relative to ``root`` (or absolute).
        root: the folder they are relative to.

    Raises:
        LabelerError: unreadable, not UTF-8, no CSV, a line without path or group, one image in two groups, or no line
            that is about any of the images.
    """
    exact = {path: row for row, path in enumerate(paths)}
    absolute = {os.path.abspath(root / path): row for row, path in enumerate(paths)}
    lines = list(_rows(file))
    named = Counter(PurePosixPath(path).name for path in paths)
    listed = Counter(PurePosixPath(path).name for _, path, _ in lines)
    by_name = {
        name: row for row, path in enumerate(paths) if named[name := PurePosixPath(path).name] == 1 == listed[name]
    }
    found: list[str | None] = [None] * len(paths)
    for line, path, group in lines:
        row = _match(path, file.parent, exact, absolute, by_name)
        if row is not None:
            if found[row] not in (None, group):
                raise LabelerError(
                    f"{shown(file)}, line {line}: {shown(paths[row])} is in two groups, {found[row]} and {group}",
                    "leave one of the lines",
                )
            found[row] = group
    if all(group is None for group in found):
        raise LabelerError(
            f"{shown(file)} names none of the {len(paths)} images", "give paths as the report shows them, or file names"
        )
    return tuple(found)


def summary(
    names: Sequence[str | None], y: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer]
) -> tuple[Group, ...]:
    """How the model does on every group, the worst first, of equals the larger.

    Groups under :data:`SMALLEST` images and images without a group together make :data:`OTHER`, at the end.

    Args:
        names: (n,) the group of each image, or None.
        y: (n,) true class numbers.
        predicted: (n,) predicted ones.

    Raises:
        ValueError: lengths differ.
    """
    if not len(names) == len(y) == len(predicted):
        raise ValueError(f"{len(names)} groups for {len(y)} labels and {len(predicted)} predictions")
    counts = Counter(names)
    correct: dict[str, list[bool]] = defaultdict(list)
    for name, hit in zip(names, (y == predicted).tolist(), strict=True):
        kept = name is not None and counts[name] >= SMALLEST
        correct[name if kept and name is not None else OTHER].append(hit)
    groups = [_group(name, hits) for name, hits in correct.items()]
    return tuple(sorted(groups, key=lambda group: (group.name == OTHER, group.accuracy, -group.n, group.name)))


def _group(name: str, correct: Sequence[bool]) -> Group:
    n, hits = len(correct), sum(correct)
    low, high = wilson(hits, n)
    return Group(name, n, hits, hits / n, low, high)


def _class_words(name: str) -> set[str]:
    """A class name as it may stand in a file name: ``withoutmask``, ``without``, ``mask``."""
    split = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.casefold() for word in re.findall(r"[^\W_]+", split)]
    return {*words, "".join(words)}


def _first_word(stem: str, passed_over: frozenset[str] | set[str]) -> str | None:
    if _HASH.fullmatch(stem):
        return None
    words = (word.casefold() for word in _WORD.findall(stem))
    return next((word for word in words if word not in passed_over), None)


def _match(
    path: str, folder: Path, exact: Mapping[str, int], absolute: Mapping[str, int], by_name: Mapping[str, int]
) -> int | None:
    # A table that this program wrote has an apostrophe before a path that a spreadsheet would run as a formula.
    for form in (path, path.removeprefix(_GUARD)):
        for table, key in (
            (exact, form),
            (absolute, os.path.abspath(folder / form)),
            (by_name, form.rpartition("/")[2]),
        ):
            if key in table:
                return table[key]
    return None


def _rows(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, path and group of every line that is not blank."""
    columns: tuple[int, int] | None = None
    for number, cells in csv_table.lines(file):
        if columns is None:
            columns, is_header = _columns(cells)
            if is_header:
                continue
        values = [cells[at].strip() if at < len(cells) else "" for at in columns]
        if not all(values) or "\0" in values[0]:
            raise LabelerError(f"{shown(file)}, line {number} needs a path and a group", "correct or remove the line")
        yield number, values[0], values[1]


def _columns(cells: Sequence[str]) -> tuple[tuple[int, int], bool]:
    """Where path and group stand, and whether this line was a header."""
    names = [cell.strip().casefold() for cell in cells]
    path = next((names.index(name) for name in _PATHS if name in names), None)
    if path is not None and "group" in names:
        return (path, names.index("group")), True
    return (0, 1), False
