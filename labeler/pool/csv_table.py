"""CSV files of path, label and split: read as people write them, written so that no spreadsheet runs a cell."""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeler.domain import LabelerError
from labeler.pool.disk import replacing
from labeler.pool.names import shown

_COLUMNS: Mapping[str, str] = {
    "path": "path",
    "file": "path",
    "filename": "path",
    "image": "path",
    "label": "label",
    "class": "label",
    "split": "split",
}
_ORDER = ("path", "label", "split")
# What spreadsheets take for the start of a formula, the full-width forms that some of them fold to it included, and
# the guard itself, so that a cell that really starts with an apostrophe is read back as it was.
_RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")  # noqa: RUF001
_GUARD = "'"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table. ``path`` as written; ``label`` and ``split`` empty where the line has none."""

    line: int
    path: str
    label: str
    split: str


def is_table(file: Path) -> bool:
    """Whether a source is read as a CSV: the one place where a name decides."""
    return file.suffix.casefold() == ".csv" and not os.path.isdir(file)  # noqa: PTH112 (Path.is_dir raises for an impossible name)


def lines(file: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every line of a UTF-8 CSV that is not blank, with or without a byte-order mark.

    Raises:
        LabelerError: no file, unreadable, not UTF-8, or no CSV.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):  # a pipe would be waited for without end
            raise LabelerError(f"{shown(file)} is no regular file", "save it as a file first")
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, cells
    except OSError as error:
        raise LabelerError(f"{shown(file)} cannot be read: {error.strerror}", "give a readable CSV") from None
    except UnicodeDecodeError:
        raise LabelerError(f"{shown(file)} is not UTF-8 text", "save it as CSV UTF-8") from None
    except csv.Error as error:
        raise LabelerError(f"{shown(file)} is not a CSV: {error}", "save it as CSV UTF-8") from None


def read_rows(file: Path) -> Iterator[Row]:
    """The rows of a UTF-8 CSV, with or without a byte-order mark and a header.

    A header is a first line that has a cell ``path`` (or ``file``, ``filename``, ``image``); it may name ``label``
    (or ``class``) and ``split`` in any order, other columns are passed over. Without one the columns are path,
    label, split. An apostrophe that :func:`write_csv` put before a cell is taken off.

    Raises:
        LabelerError: unreadable, not UTF-8, no CSV, a row without path, or an impossible path.
    """
    columns: dict[str, int] | None = None
    for number, cells in lines(file):
        if columns is None:
            columns = _header(cells)
            if columns is not None:
                continue
            columns = {name: index for index, name in enumerate(_ORDER)}
        values = {name: _plain(cells[at]) for name, at in columns.items() if at < len(cells)}
        path = values.get("path", "")
        if not path.strip() or "\0" in path:
            raise LabelerError(f"{shown(file)}, line {number} has no usable path", "correct or remove the line")
        yield Row(number, path, values.get("label", "").strip(), values.get("split", "").strip())


def _header(cells: Sequence[str]) -> dict[str, int] | None:
    named: dict[str, int] = {}
    for index, cell in enumerate(cells):
        column = _COLUMNS.get(cell.strip().casefold())
        if column is not None:
            named.setdefault(column, index)
    return named if "path" in named else None


def write_csv(file: Path, rows: Iterable[Sequence[str]], *, header: Sequence[str] = ("path", "label")) -> int:
    """Write a UTF-8 CSV; it is there whole or not at all, and replaces an older one. Returns the rows written.

    A cell that a spreadsheet would run as a formula gets an apostrophe before it (OWASP, "CSV Injection"), which
    :func:`read_rows` takes off again.

    Raises:
        LabelerError: the file cannot be written.
    """
    count = 0
    with replacing(file) as stream:
        writer = csv.writer(stream, lineterminator="\n")
        # A carriage return ends a line for whoever reads this, and the module does not quote it: what follows in the
        # cell would be a line of its own, without a guard.
        careful = csv.writer(stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writerow(header)
        for row in rows:
            (careful if any("\r" in cell for cell in row) else writer).writerow([_guarded(cell) for cell in row])
            count += 1
    return count


def _guarded(cell: str) -> str:
    return _GUARD + cell if cell.startswith(_RISKY) else cell


def _plain(cell: str) -> str:
    return cell[1:] if cell.startswith(_GUARD) and cell[1:].startswith(_RISKY) else cell
