"""What the locked packages are worth: `python -m tests.audit`, a part of `make check`.

Looked at: that every package is pinned to one version by hash; that the pins are what `pyproject.toml` asks for; that
what is installed is what is pinned, and fits together; that no pin is older than the release that mended a weakness
known to `tests/advisories.toml`; that no licence binds whoever passes this program on. Then, in one request, the
advisory service is asked about all pins; where it does not answer within a few seconds that is said, and is no fault.

Exit code 1 and one line for each fault.
"""

from __future__ import annotations

import argparse
import importlib.metadata as metadata
import json
import os
import re
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).resolve().parent.parent
#: Answers a list of packages with the advisories for them (https://google.github.io/osv.dev/post-v1-querybatch/).
SERVICE = "https://api.osv.dev/v1/querybatch"
SERVICE_ENVIRONMENT = "LABELER_ADVISORIES_URL"
PATIENCE_S = 5.0
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)(?:\s*;\s*(?P<marker>[^\\]+))?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
#: Licences that bind a program which only uses the package. LGPL and MPL do not.
_BINDING = re.compile(r"\bA?GPL|GNU (Affero )?General Public", re.IGNORECASE)
_NOT_BINDING = re.compile(r"LGPL|Lesser|exception", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Pin:
    """One package of the lock file."""

    name: str
    version: Version
    marker: Marker | None
    hashes: int

    @property
    def is_for_here(self) -> bool:
        return self.marker is None or self.marker.evaluate()


def pins(lock: Path) -> list[Pin]:
    """The packages of a lock file.

    Raises:
        ValueError: a line that is neither a pin nor a hash, a comment or empty: an address, an option, a range.
    """
    found: list[Pin] = []
    for entry in lock.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        line = entry.split("#")[0].strip()
        if not line:
            continue
        hashes = len(_HASH.findall(line))
        match = _PIN.fullmatch(_HASH.sub("", line).strip())
        if match is None:
            raise ValueError(f"{lock.name}: no pin: {line[:80]}")
        marker = Marker(match["marker"].strip()) if match["marker"] else None
        found.append(Pin(canonicalize_name(match["name"]), Version(match["version"]), marker, hashes))
    return found


def unpinned(locked: Sequence[Pin]) -> Iterator[str]:
    """Pins without a hash: what comes under that name could be another file tomorrow."""
    for pin in locked:
        if not pin.hashes:
            yield f"{pin.name} {pin.version} is pinned without a hash"


def unasked(locked: Sequence[Pin], project: Mapping[str, Any], extras: Sequence[str]) -> Iterator[str]:
    """What the project asks for and the lock does not hold, or holds in another version."""
    wanted = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    for line in wanted:
        asked = Requirement(line)
        held = [pin for pin in locked if pin.name == canonicalize_name(asked.name)]
        if asked.marker is not None and not asked.marker.evaluate():
            continue
        if not any(asked.specifier.contains(pin.version, prereleases=True) for pin in held):
            versions = ", ".join(str(pin.version) for pin in held) or "nothing"
            yield f"pyproject.toml asks for {asked.name}{asked.specifier}, the lock holds {versions}: run `make lock`"


def misfits(locked: Sequence[Pin]) -> Iterator[str]:
    """Pinned packages that are installed in another version, or whose own requirements are not met."""
    for pin in locked:
        if not pin.is_for_here:
            continue
        try:
            here = metadata.distribution(pin.name)
        except metadata.PackageNotFoundError:
            yield f"{pin.name} {pin.version} is pinned and not installed"
            continue
        if Version(here.version) != pin.version:
            yield f"{pin.name} is pinned to {pin.version}, installed is {here.version}"
        yield from _unmet(pin, here.requires or [])


def _unmet(pin: Pin, requires: Sequence[str]) -> Iterator[str]:
    for line in requires:
        asked = Requirement(line)
        if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(asked.name)
        except metadata.PackageNotFoundError:
            yield f"{pin.name} {pin.version} needs {asked.name}, which is not installed"
            continue
        if not asked.specifier.contains(version, prereleases=True):
            yield f"{pin.name} {pin.version} needs {asked}, installed is {version}"


def weaknesses(locked: Sequence[Pin], known: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Pins older than the release that mended a weakness."""
    for row in known:
        for pin in locked:
            if pin.name == canonicalize_name(row["package"]) and pin.version < Version(row["mended_in"]):
                yield f"{pin.name} {pin.version} has {row['id']}, mended in {row['mended_in']}: {row['what']}"


def binding(locked: Sequence[Pin], accepted: Mapping[str, str]) -> Iterator[str]:
    """Packages whose licence would bind whoever passes this program on."""
    for pin in locked:
        try:
            told: Any = metadata.metadata(pin.name)  # an email.message.Message
        except metadata.PackageNotFoundError:
            continue
        classified = [line for line in told.get_all("Classifier") or [] if line.startswith("License ::")]
        first = (told.get("License") or "").strip().splitlines()[:1]
        licence = told.get("License-Expression") or "; ".join([*first, *classified])
        if _BINDING.search(licence) and not _NOT_BINDING.search(licence) and pin.name not in accepted:
            yield f"{pin.name} {pin.version} is under {licence}"


def advised(locked: Sequence[Pin], service: str, accepted: Mapping[str, str]) -> Iterator[str]:
    """What the service knows against the pins.

    Raises:
        OSError: it does not answer.
        ValueError: what it answers is no answer.
    """
    asked = [{"package": {"name": pin.name, "ecosystem": "PyPI"}, "version": str(pin.version)} for pin in locked]
    body = json.dumps({"queries": asked}).encode()
    request = urllib.request.Request(service, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        results = json.load(answer)
    if not isinstance(results, dict) or len(results.get("results", ())) != len(asked):
        raise ValueError("an answer of another form")
    for pin, result in zip(locked, results["results"], strict=True):
        for one in result.get("vulns") or []:
            if one["id"] not in accepted:
                yield f"{pin.name} {pin.version} has {one['id']}, says the advisory service"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print every fault; 1 when there is one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lock", type=Path, default=REPOSITORY / "requirements.lock")
    parser.add_argument("--project", type=Path, default=REPOSITORY / "pyproject.toml")
    parser.add_argument("--advisories", type=Path, default=REPOSITORY / "tests" / "advisories.toml")
    parser.add_argument("--service", default=os.environ.get(SERVICE_ENVIRONMENT, SERVICE))
    parser.add_argument("--extra", action="append", help="optional dependencies that are locked too")
    given = parser.parse_args(arguments)
    known = tomllib.loads(given.advisories.read_text(encoding="utf-8"))
    project = tomllib.loads(given.project.read_text(encoding="utf-8"))["project"]
    try:
        locked = pins(given.lock)
    except ValueError as error:
        print(f"audit: {error}")
        return 1
    accepted = known.get("accepted", {})
    faults = [
        *unpinned(locked),
        *unasked(locked, project, given.extra or ["dev", "onnx"]),
        *misfits(locked),
        *weaknesses(locked, known["advisory"]),
        *binding(locked, accepted),
    ]
    asked = "the advisory service was asked"
    try:
        faults += advised(locked, given.service, accepted)
    except (OSError, ValueError, urllib.error.URLError) as error:
        asked = f"the advisory service could NOT be asked ({error}): newer advisories are unknown"
    for fault in faults:
        print(f"audit: {fault}")
    print(f"audit: {len(locked)} pins, {len(known['advisory'])} known advisories; {asked}; {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
