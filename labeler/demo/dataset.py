"""A pool and a test set of made-up faces on disk, with the truth an oracle answers from."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image

from labeler.cores import cores
from labeler.demo.faces import draw_face
from labeler.domain import LabelerError, Progress

_UNFINISHED = ".unfinished"
_TURNED = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
_FEW = 48  # below so many pictures a second process costs more than it draws
_MOST_PROCESSES = 8


class DemoError(LabelerError):
    """The demonstration set cannot be written where it was asked for."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where :func:`write_dataset` put things.

    Attributes:
        pool: folder of unlabelled pictures, all in one place.
        test: folder with one subfolder per class.
        csv: ``path,label`` of every picture in either, paths relative to the file's own folder, POSIX separators.
    """

    pool: Path
    test: Path
    csv: Path


@dataclass(frozen=True, slots=True)
class Job:
    """One file to draw: which face, and how it is stored. ``orientation`` is the EXIF tag's value, 1 upright."""

    path: str
    seed: int
    masked: bool
    size: int
    quality: int
    orientation: int


def write_dataset(
    folder: Path,
    *,
    pool: int = 400,
    test: int = 200,
    seed: int = 0,
    classes: tuple[str, str] = ("withMask", "withoutMask"),
    progress: Callable[[Progress], None] | None = None,
) -> Truth:
    """Draw ``pool`` unlabelled and ``test`` labelled faces below ``folder``.

    Between 45 and 55 % of either part are masked. File names, sizes, formats and qualities come from streams that
    know nothing of the class. The same arguments write the same bytes for one version of Pillow and numpy.

    Args:
        folder: made if missing; ``pool/``, ``test/`` and ``truth.csv`` must not be in it yet.
        classes: names of the masked and of the bare class.

    Raises:
        DemoError: something is there already, or the files cannot be written.
    """
    truth = Truth(folder / "pool", folder / "test", folder / "truth.csv")
    for target in (truth.csv, truth.pool, truth.test):
        if target.exists():
            raise DemoError(f"{target} is there already", "choose another folder, or remove it")
    jobs, labels = _plan(pool, test, seed, classes)
    unfinished = folder / _UNFINISHED
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # what an interrupted call left
        for place in {unfinished / "pool", unfinished / "test", *((unfinished / job.path).parent for job in jobs)}:
            place.mkdir(parents=True, exist_ok=True)
        _draw_all(jobs, unfinished, progress)
        with (unfinished / truth.csv.name).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("path", "label"))
            writer.writerows(zip((job.path for job in jobs), labels, strict=True))
        for target in (truth.pool, truth.test, truth.csv):
            (unfinished / target.name).replace(target)
        unfinished.rmdir()
    except OSError as error:
        raise DemoError(f"cannot write faces to {folder}: {error.strerror or error}", "choose another folder") from None
    return truth


def _plan(pool: int, test: int, seed: int, classes: tuple[str, str]) -> tuple[list[Job], list[str]]:
    """What to draw, in the order of the names; names run on from the pool into the test set."""
    rng = np.random.default_rng([seed, 20])
    masked = np.concatenate([_classes_of(pool, rng), _classes_of(test, rng)])
    jobs = []
    for index, is_masked in enumerate(masked.tolist()):
        part = "pool" if index < pool else f"test/{classes[0] if is_masked else classes[1]}"
        suffix = str(rng.choice(("jpg", "png", "webp"), p=(0.86, 0.08, 0.06)))
        turned = suffix == "jpg" and rng.uniform() < 0.06
        jobs.append(
            Job(
                path=f"{part}/face-{index + 1:04d}.{suffix}",
                seed=int(rng.integers(2**62)),
                masked=is_masked,
                size=int(rng.choice((192, 208, 224, 240, 256), p=(0.34, 0.26, 0.3, 0.05, 0.05))),
                quality=int(rng.choice((55, 70, 82, 90), p=(0.1, 0.2, 0.4, 0.3))),
                orientation=int(rng.choice(list(_TURNED))) if turned else 1,
            )
        )
    return jobs, [classes[0] if job.masked else classes[1] for job in jobs]


def _classes_of(count: int, rng: np.random.Generator) -> np.ndarray:
    """Which of ``count`` faces are masked: a share near a half, in random order."""
    masked = np.arange(count) < round(count * float(rng.uniform(0.455, 0.545)))
    return np.asarray(rng.permutation(masked))


def draw_to_file(job: Job, folder: Path) -> None:
    """Draw one face and store it as its job says."""
    picture = draw_face(job.seed, masked=job.masked, size=job.size)
    target = folder / job.path
    if target.suffix == ".jpg":
        exif = Image.Exif()
        if job.orientation != 1:
            exif[0x0112] = job.orientation  # the viewer turns it back
            picture = picture.transpose(_TURNED[job.orientation])
        picture.save(target, "JPEG", quality=job.quality, exif=exif)
    elif target.suffix == ".webp":
        picture.save(target, "WEBP", quality=job.quality, method=2)
    else:
        picture.save(target, "PNG", compress_level=3)


def _draw_all(jobs: Sequence[Job], folder: Path, progress: Callable[[Progress], None] | None) -> None:
    """Draw every job on as many processes as there are cores, telling how many are done."""
    hands = min(cores(), _MOST_PROCESSES, len(jobs) // (_FEW // 2))
    done = _drawn_here(jobs, folder) if hands < 2 else _drawn_by(hands, jobs, folder)
    for count in done:
        if progress is not None:
            progress(Progress("draw", count, len(jobs)))


def _drawn_here(jobs: Sequence[Job], folder: Path) -> Iterator[int]:
    for count, job in enumerate(jobs, start=1):
        draw_to_file(job, folder)
        yield count


def _drawn_by(hands: int, jobs: Sequence[Job], folder: Path) -> Iterator[int]:
    """Draw in ``hands`` processes of their own, yielding how many files are done.

    Drawing is Python most of the time, so threads would take turns. ``multiprocessing`` is avoided: by fork it
    would copy a process that may hold TensorFlow's threads, by spawn it would run the caller's script again.
    """
    home = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-m", "labeler.demo", str(folder)]
    news: queue.Queue[bool] = queue.Queue()  # True: a file is written; False: a process has ended
    with contextlib.ExitStack() as stack:
        workers = []
        for hand in range(hands):
            worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": path},
            )
            stack.callback(_end, worker)
            workers.append(worker)
            threading.Thread(target=_listen, args=(worker.stdout, news), daemon=True).start()
            threading.Thread(target=_hand_out, args=(worker.stdin, jobs[hand::hands]), daemon=True).start()
        count, ended = 0, 0
        while ended < hands:
            if news.get():
                count += 1
                yield count
            else:
                ended += 1
        for worker in workers:
            complaint = worker.stderr.read().strip() if worker.stderr else ""
            if worker.wait() != 0:
                raise DemoError(
                    f"drawing faces failed: {complaint.splitlines()[-1] if complaint else 'killed'}", "try again"
                )


def _hand_out(pipe: IO[str], jobs: Sequence[Job]) -> None:
    with contextlib.suppress(BrokenPipeError), pipe:
        for job in jobs:
            pipe.write(json.dumps(asdict(job)) + "\n")


def _listen(pipe: IO[str], news: queue.Queue[bool]) -> None:
    with pipe:
        for _ in pipe:
            news.put(True)
    news.put(False)


def _end(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()
    if worker.stderr is not None:
        worker.stderr.close()
