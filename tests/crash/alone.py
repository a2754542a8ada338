"""Commands that are killed in a workspace of their own: they need one without open rounds, or they take long."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from labeler import faults
from labeler.embed.cache import VectorCache
from labeler.rounds import Workspace
from tests.crash import invariants, kills
from tests.crash.commands import KILLED, failed, run
from tests.crash.evidence import record_of
from tests.crash.invariants import Violation
from tests.crash.kills import Kill
from tests.crash.programs import Programs
from tests.crash.template import draw

#: As short as a training can be.
_SHORT = {"LABELER_EPOCHS": "1", "LABELER_VIEWS": "1", "LABELER_BATCH": "8"}
_ENVIRONMENTS: Mapping[str, Mapping[str, str]] = {
    kills.ALONE_NETWORK: {**_SHORT, "LABELER_INPUT_SIZE": "32"},
    kills.ALONE_TUNE: {**_SHORT, "LABELER_INPUT_SIZE": "64"},
}
_ONE_MORE = 9_999


class Alone:
    """Kills commands one by one, each in a fresh copy of the template."""

    def __init__(self, programs: Programs, template: Path, folder: Path) -> None:
        self._programs, self._template, self._folder = programs, template, folder
        self._root, self._out = folder / "w", folder / "out"

    def takes(self, how: str) -> bool:
        return how not in (*kills.AT_RANDOM, *kills.COMMANDS, kills.SERVE, kills.IMPORT_MOVE, kills.PRUNE)

    def kill(self, planned: Kill, rng: random.Random) -> tuple[str, list[Violation]]:
        """Start the command, have it die, run it again to its end, and judge; returns the kind of the kill as well."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        shutil.copytree(self._template / "w", self._root)
        shutil.copytree(self._template / "truth", self._folder / "truth")
        self._out.mkdir()
        self._prepare(planned.how)
        expected = {image.sha256: image.label or "" for image in record_of(self._root).images}
        argv = ["--workspace", str(self._root), *self._argv(planned.how)]
        environment = dict(_ENVIRONMENTS.get(planned.how, {}))
        code, log, _ = run(self._programs, argv, {**environment, faults.ENVIRONMENT_NAME: planned.fault})
        found = [] if code in KILLED else failed(argv, code, log)
        if code in KILLED:
            code_again, log, _ = run(self._programs, argv, environment)
            found += failed(argv, code_again, log)
        return (planned.kind if code in KILLED else ""), [*found, *self._judged(expected)]

    def _prepare(self, how: str) -> None:
        """What makes the command pass its points."""
        if how in (kills.ALONE_COMPACT, kills.ALONE_CONVERT):
            draw(self._folder / "more", _ONE_MORE)  # without a new image nothing is embedded
            draw(self._folder / "truth", _ONE_MORE)
            with Workspace.open(self._root) as opened:
                opened.import_images(self._folder / "more", into="unlabelled")
        if how == kills.ALONE_COMPACT:
            self._cut_into_shards()
        if how == kills.ALONE_CONVERT:
            shutil.rmtree(self._root / "db" / "cache" / "compiled")

    def _cut_into_shards(self) -> None:
        """The vectors in one shard each, as after many small imports: the next embedding puts them together."""
        with Workspace.open(self._root) as opened:
            backbone = opened.learner.configured
            folder = opened.paths.vectors / backbone.key
            shas = [image.sha256 for image in record_of(self._root).images]
        cache = VectorCache(folder, backbone.dimension)
        known = [sha for at, sha in enumerate(shas) if at not in set(cache.missing(shas))]
        vectors = cache.gather(known)
        for file in list(folder.iterdir()):
            file.unlink()
        empty = VectorCache(folder, backbone.dimension)
        cuts = [*range(0, 40, 2), len(known)]
        for start, stop in pairwise(cuts):
            empty.append(known[start:stop], vectors[start:stop])

    def _argv(self, how: str) -> list[str]:
        a_round = ["round", "--k", "8", "--oracle", str(self._folder / "truth")]
        return {
            kills.ALONE_REPORT: ["evaluate", "--report", str(self._out / "report")],
            kills.ALONE_EXPORT: ["export", str(self._out / "model.tflite"), "--format", "litert", "--force"],
            kills.ALONE_NETWORK: ["train", "--model", "cnn"],
            kills.ALONE_TUNE: ["train", "--refresh", "finetune"],
        }.get(how, a_round)

    def _judged(self, expected: Mapping[str, str]) -> list[Violation]:
        record = record_of(self._root)
        found = [Violation("damaged", line) for line in record.damage]
        found += invariants.in_place(self._root, record, expected)
        found += invariants.stepped(record)
        found += [v for v in invariants.at_rest(self._root, record) if not v.what.startswith("a job ")]
        with Workspace.open(self._root) as opened:
            differences = opened.verify()["differences"]
        found += [Violation("half-done", f"verify: {difference}") for difference in differences]
        left = [name for _, folders, names in os.walk(self._out) for name in (*folders, *names) if name.startswith(".")]
        return [*found, *(Violation("orphan", f"{name} beside what was written") for name in left)]

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
