"""Folder layouts and CSV files, read into (file, split, class) and written.

Understood: one file; a flat folder; ``Train/withMask/...`` with ``Validation`` and ``Test`` beside it, at any depth
(the 12k Kaggle tree lies in ``Face Mask Dataset/``); one subfolder per class; a CSV ``path,label[,split]``. Folder
names match the classes when they are the same letters and digits: case, ``_``, ``-`` and spaces do not count.
Nothing beyond that is guessed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from labeler.domain import LabelerError, Split, TruthError
from labeler.pool.csv_table import Row, is_table, read_rows, write_csv
from labeler.pool.ingest import walk
from labeler.pool.names import shown

__all__ = ["COMPANION_STEMS", "COMPANION_SUFFIXES", "INTO", "Found", "read_layout", "read_truth", "write_csv"]

INTO = ("unlabelled", "train", "validation", "test", "auto")

COMPANION_STEMS = ("readme", "license", "licence")
COMPANION_SUFFIXES = (".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html")
"""What lies beside images in published data sets and is passed over in a folder: files whose name starts with one
of the stems or ends in one of the suffixes, whatever the case. A file named by itself is never passed over."""

_SPLIT_NAMES = {
    "train": Split.TRAIN,
    "training": Split.TRAIN,
    "val": Split.VALIDATION,
    "valid": Split.VALIDATION,
    "validation": Split.VALIDATION,
    "test": Split.TEST,
    "testing": Split.TEST,
    "unlabelled": Split.UNLABELLED,
    "unlabeled": Split.UNLABELLED,
}
#: A person may well call a folder of labelled images "sorted": as a folder it is ours only inside ``pools``.
_POOLS, _SORTED = "pools", "sorted"


@dataclass(frozen=True, slots=True)
class Found:
    """A file and what its place says of it. :func:`read_layout` always fills ``split`` in."""

    file: Path
    split: Split | None
    label: str | None


def read_layout(source: Path, *, into: str, classes: Sequence[str]) -> Iterator[Found]:
    """Every file of ``source`` with the split and the class it is to get; nothing is opened but a CSV.

    The name of the source folder itself counts only where no folder below it names a split (or a class): importing
    ``data/Test`` gives test images, importing a folder called ``mask`` that holds ``mask`` and ``nomask`` works too.

    Args:
        source: a file, a folder or a ``.csv``.
        into: ``unlabelled`` drops every label; ``train``, ``validation`` and ``test`` ask a class of every file;
            ``auto`` keeps the splits found, puts a file with a class but no split into train, and a file without
            class, or in ``pools/Sorted``, into unlabelled: what a model guessed is no label. In auto an unknown
            folder *inside* a Train, Validation or Test folder is an error, because it stands where a class belongs.
        classes: class names of the workspace.

    Raises:
        LabelerError: no such source; a file without a class where it needs one, an unknown class, or folders of two
            classes around one file; a CSV that cannot be read. Raised at the first such file.
    """
    if into not in INTO:
        raise LabelerError(f"--into {into} is not known", f"choose from {', '.join(INTO)}")
    known = _by_key(classes)
    found = _from_table(source, known) if is_table(source) else _from_disk(source, known)
    for item in found:
        yield _decided(item, into, classes)


def read_truth(source: Path, classes: Sequence[str]) -> Iterator[tuple[Path | str, str]]:
    """What the oracle knows: (file, class) for a folder with one subfolder per class or a CSV ``path,label``.

    From a CSV a path that does not lead to a file (relative to the CSV) is given as text, as written: the caller
    matches it by name. Files of a folder that lie in no subfolder are passed over.

    Raises:
        TruthError: no such source, an unknown class, a row without class, or nothing found.
    """
    known = _by_key(classes)
    count = 0
    try:
        for item in _from_table(source, known) if is_table(source) else _from_disk(source, known):
            if item.split is Split.SORTED or (item.label is None and item.unknown is None and not is_table(source)):
                continue
            if item.label is None:
                raise _unknown_class(item, classes, "correct the truth")
            count += 1
            lost = item.text is not None and not os.path.isfile(item.file)  # noqa: PTH113 (as in _from_disk)
            yield (item.text if lost and item.text else item.file), item.label
    except TruthError:
        raise
    except LabelerError as error:
        raise TruthError(error.what, error.remedy) from None
    if not count:
        raise TruthError(
            f"{shown(source)} holds no labelled image", f"give it a folder for each of {', '.join(classes)}"
        )


def labels_of(source: Path) -> tuple[str, ...]:
    """The class names a truth uses, sorted: of the folders directly below it that hold files, or of a CSV's column.

    Raises:
        TruthError: no such source, or no CSV.
    """
    try:
        if is_table(source):
            return tuple(sorted({row.label for row in read_rows(source) if row.label}))
        if not source.is_dir():
            raise TruthError(f"{shown(source)} does not exist", "give a folder with a subfolder per class, or a CSV")
        files = [file for file in walk(source) if not _is_companion(file.name)]
    except TruthError:
        raise
    except (LabelerError, OSError) as error:
        raise TruthError(str(error)) from None
    return tuple(sorted({file.relative_to(source).parts[0] for file in files if file.parent != source}))


@dataclass(frozen=True, slots=True)
class _Item:
    """A file as it lies, before ``into`` is applied.

    ``unknown`` is the folder or cell that stands where a class belongs and names none; ``text`` the path as a CSV
    wrote it. Split SORTED is what a model filed.
    """

    file: Path
    split: Split | None
    label: str | None
    unknown: str | None = None
    text: str | None = None


def _decided(item: _Item, into: str, classes: Sequence[str]) -> Found:
    if into == "unlabelled":
        return Found(item.file, Split.UNLABELLED, None)
    remedy = "use --into unlabelled, or a workspace made with `labeler init --classes`"
    if into == "auto":
        if item.split in (Split.UNLABELLED, Split.SORTED):
            return Found(item.file, Split.UNLABELLED, None)
        if item.label is None and item.unknown is not None and (item.split is not None or item.text is not None):
            raise _unknown_class(item, classes, remedy)
        if item.label is None:
            return Found(item.file, Split.UNLABELLED, None)
        return Found(item.file, item.split or Split.TRAIN, item.label)
    if item.label is None:
        raise _unknown_class(item, classes, remedy)
    return Found(item.file, Split(into), item.label)


def _unknown_class(item: _Item, classes: Sequence[str], remedy: str) -> LabelerError:
    expected = f"expected one of {', '.join(classes)}"
    if item.unknown is None:
        return LabelerError(f"{shown(item.file)} has no class: {expected}", remedy)
    return LabelerError(f"{shown(item.file)}: unknown class '{shown(item.unknown)}', {expected}", remedy)


def _from_disk(source: Path, known: Mapping[str, str]) -> Iterator[_Item]:
    folder = os.path.isdir(source)  # noqa: PTH112 (Path.is_dir raises for an impossible name)
    if folder:
        files = [file for file in walk(source) if not _is_companion(file.name)]
    elif os.path.lexists(source):
        files = [source]
    else:
        raise LabelerError(f"{shown(source)} does not exist", "give a file, a folder or a CSV that does")
    base = source if folder else source.parent
    folders = {file.parent for file in files}
    name, above = base.resolve().name, base.resolve().parent.name
    places = {folder: _place(folder, folder.relative_to(base).parts, known, name) for folder in folders}
    own = _place(base, (name,), known, above) if folder else _Item(base, None, None)
    own_split = own.split if all(place.split is None for place in places.values()) else None
    own_label = own.label if all(place.label is None for place in places.values()) else None
    for file in files:
        place = places[file.parent]
        split, label = place.split or own_split, place.label or own_label
        yield _Item(file, split, label, None if label else place.unknown)


def _place(folder: Path, parts: Sequence[str], known: Mapping[str, str], above: str) -> _Item:
    """What the folder names from the source down to ``folder`` say; ``above`` is the name before the first."""
    split: Split | None = None
    labels: dict[str, str] = {}
    unknown: str | None = None
    for part, before in zip(parts, (above, *parts), strict=False):
        key = _key(part)
        if key in known:  # first: a workspace may have a class called "test"
            labels[known[key]] = part
        elif split is None and key in _SPLIT_NAMES:
            split, unknown = _SPLIT_NAMES[key], None
        elif split is None and key == _SORTED and _key(before) == _POOLS:
            split, unknown = Split.SORTED, None
        else:
            unknown = unknown or part
    if len(labels) > 1:
        first, second, *_ = labels.values()
        raise LabelerError(
            f"{shown(folder)} lies in folders of two classes, {first} and {second}", "move it out of one"
        )
    label = next(iter(labels), None)
    return _Item(folder, split, label, None if label else unknown)


def _from_table(source: Path, known: Mapping[str, str]) -> Iterator[_Item]:
    for row in read_rows(source):
        label = known.get(_key(row.label)) if row.label else None
        unknown = row.label if row.label and label is None else None
        yield _Item(source.parent / row.path, _split_of(source, row), label, unknown, row.path)


def _split_of(source: Path, row: Row) -> Split | None:
    if not row.split:
        return None
    split = Split.SORTED if _key(row.split) == _SORTED else _SPLIT_NAMES.get(_key(row.split))
    if split is None:
        where = f"{shown(source)}, line {row.line}"
        raise LabelerError(
            f"{where}: unknown split '{shown(row.split)}'", "write train, validation, test, sorted or unlabelled"
        )
    return split


def _is_companion(name: str) -> bool:
    folded = name.casefold()
    return folded.startswith(COMPANION_STEMS) or folded.endswith(COMPANION_SUFFIXES)


def _key(name: str) -> str:
    return name.casefold().translate({ord(c): None for c in "_- "})


def _by_key(classes: Sequence[str]) -> dict[str, str]:
    known = {_key(name): name for name in classes}
    if len(known) < len(classes):
        raise LabelerError(
            f"classes {', '.join(classes)} are not told apart by their letters and digits", "rename one of them"
        )
    return known
