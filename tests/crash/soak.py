"""Kill the program again and again and count what was lost: ``python -m tests.crash.soak --kills 200 --seed 6``.

Prints a line for every kill on stderr and the count on stdout. Exit code 1 when anything was lost, doubled, half-done
or left behind, or when the time was over before as many kills as were asked for.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests.crash import invariants, kills, template
from tests.crash.judge import Tally
from tests.crash.machine import Machine
from tests.crash.points import fault_points
from tests.crash.programs import REPOSITORY

POOL, TESTED = 240, 24


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="tests.crash.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=40.0, help="the time it may take, the building left out")
    parser.add_argument("--light", action="store_true", help="leave out the points that only TensorFlow passes")
    parser.add_argument("--keep", type=Path, help="an empty folder for workspace, logs and the clients' pages")
    given = parser.parse_args(arguments)
    points = fault_points(REPOSITORY / "labeler")
    with tempfile.TemporaryDirectory(prefix="labeler-crash-") as temporary:
        scratch = given.keep or Path(temporary)
        _say(f"building a workspace of {POOL} images ...")
        (scratch / "template").mkdir(parents=True)
        template.build(scratch / "template", POOL, TESTED)
        planned = kills.plan(given.kills, list(points), given.seed, without=kills.HEAVY if given.light else ())
        began = time.monotonic()
        with Machine(scratch / "run", scratch / "template", given.seed, say=_say) as machine:
            tally = machine.run(planned, began + 60 * given.minutes)
        seconds = time.monotonic() - began
    print(report(tally, given.kills, points, given.seed, seconds))
    return 0 if not tally.violations and tally.total >= given.kills else 1


def report(tally: Tally, asked: int, points: dict[str, str], seed: int, seconds: float) -> str:
    """The count, as text."""
    lines = [
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, seed {seed}, "
        f"{seconds / 60:.1f} minutes",
        f"kills                     {tally.total} of {asked}",
        *(f"  {kind:44} {count}" for kind, count in sorted(tally.kills.items())),
        f"  of these while the kill before was recovered {tally.in_recovery}",
        f"decisions acknowledged    {tally.acknowledged}",
        f"  sent and not acknowledged when a server died {tally.unacknowledged}",
        f"moves found half-way      {tally.found_pending}",
        f"images handed out         {tally.handed}",
        f"checks                    {tally.checks}, thorough {tally.thorough}",
        *(f"{kind:26}{tally.count(kind)}" for kind in invariants.KINDS),
    ]
    missed = sorted(point for point in points if not tally.reached[point])
    lines.append(f"fault points reached      {len(points) - len(missed)} of {len(points)}")
    lines += [f"  never reached: {point} (labeler/{points[point]})" for point in missed]
    lines += [str(violation) for violation in tally.violations[:40]]
    if tally.total < asked:
        lines.append(f"the time was over after {tally.total} of {asked} kills")
    return "\n".join(lines)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
