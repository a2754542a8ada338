"""The kinds of kill, which command passes which fault point, and the seeded plan of a run."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

#: Commands that are killed in the workspace that eight people work in.
SERVE, ROUND, IMPORT, IMPORT_MOVE, UNDO, SORT, UNSORT, PRUNE = (
    "serve",
    "round",
    "import",
    "import --mode move",
    "undo",
    "sort",
    "sort --undo",
    "models prune",
)
#: Commands that are killed in a workspace of their own, because they need one without open rounds, or take long.
ALONE_ROUND, ALONE_COMPACT, ALONE_REPORT = "round, alone", "round with many shards", "evaluate --report"
ALONE_EXPORT, ALONE_NETWORK, ALONE_TUNE, ALONE_CONVERT = (
    "export",
    "train --model cnn",
    "train --refresh finetune",
    "train without the compiled backbone",
)
#: These start TensorFlow: 10 to 40 s each.
HEAVY = (ALONE_EXPORT, ALONE_NETWORK, ALONE_TUNE, ALONE_CONVERT)
AT_RANDOM = ("server", "worker", "group")
COMMANDS = (ROUND, IMPORT, UNDO, SORT, UNSORT)

#: Which commands pass a fault point, by the beginning of its name; the longest that fits counts.
_WAYS: Mapping[str, Sequence[str]] = {
    "move.": (SERVE, UNDO, SERVE, SORT),
    "move.copied": (IMPORT_MOVE,),
    "move.published": (IMPORT_MOVE,),
    "journal.": (SERVE, UNDO, SERVE, SORT),
    "commit.": (SERVE, ROUND),
    "round.": (SERVE, ROUND),
    "train.": (SERVE, ROUND),
    "rank.": (SERVE, ROUND),
    "ranking.": (SERVE,),
    "cache.": (SERVE,),
    "cache.shard-unlinked": (ALONE_COMPACT,),
    "propose.": (ALONE_ROUND,),
    "import.": (IMPORT,),
    "take.": (IMPORT,),
    "sort.": (SORT,),
    "sort.un": (UNSORT,),
    "versions.": (PRUNE,),
    # A record with triggers is not backed up, and the evidence here is triggers; tests/rounds/test_backup.py kills it
    # at each of these.
    "backup.": (),
    "report.": (ALONE_REPORT,),
    "export.": (ALONE_EXPORT,),
    "network.": (ALONE_NETWORK,),
    "tuning.": (ALONE_TUNE,),
    # A challenger has to win its contest for these; tests/rounds/test_tuning.py has one that does.
    "tuning.embedded": (),
    "tuning.adopted": (),
    # These put another record in the place of the one that is watched here; their own tests kill them.
    "migrate.": (),
    "rebuild.": (),
    "restore.": (),
    "runtime.": (ALONE_CONVERT,),
}
#: Points of a name that nobody foresaw are tried here, one after the other.
_ANYWHERE = (SERVE, ROUND, IMPORT, SORT, UNDO, ALONE_ROUND, PRUNE)
#: Points that a process passes often: which time is the fatal one.
_OFTEN = ("move.", "journal.", "take.")


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill that is planned.

    Attributes:
        how: a command, or ``server``, ``worker`` or ``group`` of the running server.
        point: the fault point it is to die at; empty for a random moment.
        nth: the time it passes there that counts.
        tries: how often this point was missed already.
    """

    how: str
    point: str = ""
    nth: int = 1
    tries: int = 0

    @property
    def fault(self) -> str:
        return f"{self.point}:{self.nth}" if self.point else ""

    @property
    def kind(self) -> str:
        """Its line in the report."""
        return f"{self.how}, {'at a point' if self.point else 'at random'}"


def ways(point: str) -> Sequence[str]:
    """The commands that pass a point."""
    fitting = [beginning for beginning in _WAYS if point.startswith(beginning)]
    return _WAYS[max(fitting, key=len)] if fitting else _ANYWHERE


def tries(point: str) -> int:
    """How often a point is tried before it counts as one that is never reached."""
    possible = ways(point)
    return 1 if possible and possible[0] in HEAVY else max(3, len(possible))


def at_point(point: str, rng: random.Random, tries: int = 0) -> Kill:
    """A kill at that point; where it was missed before, in another command and at the first passing."""
    possible = ways(point)
    if tries == 0 and len(possible) > 1 and possible is not _ANYWHERE:
        how = rng.choice(possible)
    else:
        how = possible[tries % len(possible)]
    often = point.startswith(_OFTEN) and tries == 0 and how != IMPORT_MOVE
    return Kill(how, point, rng.choice((1, 1, 2, 4)) if often else 1, tries)


def plan(count: int, points: Sequence[str], seed: int, *, without: Collection[str] = ()) -> list[Kill]:
    """``count`` kills in a seeded order: half of them at points, each point once before any twice; the rest random.

    Those that start TensorFlow come in the second half.

    Args:
        without: commands that are left out, with the points that only they pass.
    """
    rng = random.Random(f"plan {seed}")
    chosen = [point for point in points if ways(point) and ways(point)[0] not in without]
    rng.shuffle(chosen)
    n_points = min(len(chosen), count // 2) if count < 2 * len(chosen) else count // 2
    named = [at_point(chosen[at % len(chosen)], rng) for at in range(n_points)] if chosen else []
    left = count - len(named)
    moments = [Kill(AT_RANDOM[at % len(AT_RANDOM)]) for at in range(left * 2 // 3)]
    moments += [Kill(COMMANDS[at % len(COMMANDS)]) for at in range(left - len(moments))]
    light = [kill for kill in [*named, *moments] if kill.how not in HEAVY]
    rng.shuffle(light)
    at = len(light) // 2
    return light[:at] + _mixed(light[at:], [kill for kill in named if kill.how in HEAVY], rng)


def _mixed(light: list[Kill], heavy: list[Kill], rng: random.Random) -> list[Kill]:
    both = [*light, *heavy]
    rng.shuffle(both)
    return both
