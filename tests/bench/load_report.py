"""What `load.py` makes of what it recorded: percentiles, growth, a few lines for a person, a figure."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.bench.clients import Person, Timed

WINDOW_S = 5  # of the percentiles over time
SETTLED_S = 10  # at the start, when everybody asks for the first batch at once: not part of the percentiles
TARGET_MS = 150


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """n, and p50, p95, p99, max in milliseconds."""
    if len(seconds) < 2:
        return {"n": len(seconds)}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    values = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(seconds)}
    return {"n": len(seconds)} | {name: round(1000 * value, 1) for name, value in values.items()}


def latencies(people: Sequence[Person], begun: float, seconds: float) -> dict[str, Any]:
    kinds: dict[str, list[Timed]] = {
        "acknowledgement": [one for person in people for one in person.answers],
        "batch": [one for person in people for one in person.batches],
        "picture": [one for person in people for one in person.pictures],
    }
    found: dict[str, Any] = {"latency_ms": {}, "windows": [], "per_second": []}
    for name, timed in kinds.items():
        settled = [took for start, took in timed if start - begun >= min(SETTLED_S, seconds / 4)]
        found["latency_ms"][name] = percentiles(settled)
    acks = kinds["acknowledgement"]
    ended = Counter(int(start + took - begun) for start, took in acks)
    found["per_second"] = [ended[second] for second in range(int(seconds))]
    found["acknowledged"] = sum(len(person.acknowledged) for person in people)
    found["throughput"] = round(found["acknowledged"] / seconds, 1)
    found["waited_s"] = round(sum(person.waited for person in people), 1)
    for begin in range(0, int(seconds), WINDOW_S):
        within = [took for start, took in acks if begin <= start - begun < begin + WINDOW_S]
        found["windows"].append({"from_s": begin, **percentiles(within)})
    return found


def growth(values: Sequence[float]) -> float | None:
    """Percent by which the median of the last tenth of the values is above that of the tenth after their middle."""
    known = [value for value in values if not math.isnan(value)]
    tenth = max(len(known) // 10, 1)
    if len(known) < 4:
        return None
    middle = len(known) // 2
    before, after = statistics.median(known[middle : middle + tenth]), statistics.median(known[-tenth:])
    return round(100 * (after / before - 1), 1)


def log_counts(log: Sequence[str]) -> dict[str, int]:
    events = ("slow request", "request failed", "request refused", "job started", "job finished", "job failed")
    text = "".join(log)
    return {event: text.count(f": {event} ") for event in events}


def show(document: dict[str, Any]) -> None:
    """For a person; the file has the rest."""
    versions = ", ".join(f"{name} {value}" for name, value in document["versions"].items())
    print(f"{document['machine']}, {document['cores']} cores, {document['memory_gib']} GiB, {versions}")
    print(f"{document['command']}  (load before: {document['load_average_before']})")
    print(f"acknowledged {document['acknowledged']} ({document['throughput']}/s), lost {document['lost']}, ", end="")
    print(f"answered twice {document['answered_twice']}, with two people {document['handed_doubly']}")
    for name, row in document["latency_ms"].items():
        shown = "  ".join(f"{what} {row[what]:7.1f}" for what in ("p50", "p95", "p99", "max") if what in row)
        print(f"{name:16} n {row['n']:6}  {shown} ms")
    print(f"waited for images {document['waited_s']} s in all; errors {document['errors'] or 'none'}")
    print(f"lock errors {document['lock_errors']}; counters {document['counters']}")
    for name in ("server", "worker"):
        one = document[name]
        print(
            f"{name}: {one['rss_mib'][-1]} MiB, second half {one['rss_growth_second_half_percent']} %; "
            f"{one['open_files'][-1]:g} open files, second half {one['files_growth_second_half_percent']} %"
        )
    print(f"percent of a core: {document['cpu_percent_of_a_core']}")
    print(f"beside: {document['beside']}; log: {document['server_log']}; verify clean: {document['verify_clean']}")
    for line in document["warnings"]:
        print(f"  {line}")


def figure(document: dict[str, Any]) -> bytes:
    """Four panels over one time axis: answers, their times, memory, open files; what ran beside is shaded."""
    from labeler.retrain import drawing

    made, panels = drawing.figures(4, 7.2, heights=[1, 1.6, 1, 1], sharex=True)
    answers, times, memory, files = panels
    seconds = range(len(document["per_second"]))
    answers.plot(seconds, document["per_second"], color=drawing.COLOURS[0], linewidth=0.9)
    answers.set_ylabel("answers / s", fontsize=drawing.TEXT)
    rows = [row for row in document["windows"] if "p95" in row]
    middle = [row["from_s"] + WINDOW_S / 2 for row in rows]
    for number, name in enumerate(("p50", "p95", "p99")):
        line, colour = drawing.LINES[number], drawing.COLOURS[number]
        times.plot(middle, [row[name] for row in rows], color=colour, linestyle=line, linewidth=1.3, label=name)
    times.axhline(TARGET_MS, color=drawing.FAINT, linewidth=0.8)
    times.set_ylabel("until acknowledged, ms", fontsize=drawing.TEXT)
    times.legend(frameon=False, fontsize=drawing.SMALL, ncols=3, loc="upper right", handlelength=2.4)
    for number, name in enumerate(("server", "worker")):
        style = {"color": drawing.COLOURS[number], "linestyle": drawing.LINES[number], "linewidth": 1.3}
        memory.plot(document["times_s"], document[name]["rss_mib"], label=name, **style)
        files.plot(document["times_s"], document[name]["open_files"], label=name, **style)
    memory.set_ylabel("memory, MiB", fontsize=drawing.TEXT)
    files.set_ylabel("open files", fontsize=drawing.TEXT)
    files.set_xlabel("seconds", fontsize=drawing.TEXT)
    memory.legend(frameon=False, fontsize=drawing.SMALL, ncols=2, loc="upper right", handlelength=2.4)
    end = len(document["per_second"])
    for number, (name, side) in enumerate(document["beside"].items()):
        if side["from_s"] is None:
            continue
        for axes in panels:
            axes.axvspan(
                side["from_s"], side["to_s"] or end, color=drawing.COLOURS[5 + number], alpha=0.13, linewidth=0
            )
        place = (side["from_s"], 1.02 + 0.16 * number)
        answers.annotate(name, place, xycoords=("data", "axes fraction"), fontsize=drawing.SMALL, color=drawing.INK)
    for axes in panels:
        axes.set_ylim(0, axes.get_ylim()[1] * 1.2)  # room for the legends
        axes.set_xlim(0, end)
    ack = document["latency_ms"]["acknowledgement"]
    alt = (
        f"{document['people']} people over {end} s: {document['throughput']} answers a second, acknowledged in "
        f"{ack.get('p50')} ms (p50), {ack.get('p95')} ms (p95), {ack.get('p99')} ms (p99); the server's memory grows "
        f"by {document['server']['rss_growth_second_half_percent']} % in the second half"
    )
    return drawing.finished(made, alt).png
