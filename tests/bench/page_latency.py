"""From a key press to the next image painted, and to the answer on record, in a real browser.

    python tests/bench/page_latency.py [--n 100] [--think-ms 300]

A real server, real photographs (drawings where there are none), real Chromium, the keyboard. Latency is
``keydown.timeStamp`` -> the next image is in the document and decoded -> next animation frame -> a message task, which
runs after the paint. The floor is the same probe for a key that changes nothing: one to two frames. Both lines,
loopback and 60 ms round trip, are measured in one process, in turn. At the end 20 presses, 20 ms apart, with 100 ms
round trip: how many of them are on record.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from playwright.sync_api import Page, sync_playwright

from labeler import workspace as workspaces
from labeler.rounds import Workspace
from tests.browser.served import FLAGS, Server, Visitor, chromium, decisions
from tests.conftest import photographs_folder
from tests.workspaces import draw

PROBE = """
() => {
  const stage = document.querySelector(".lb-frame");
  window.probe = { times: [], pressed: null };
  const painted = (pressed) => requestAnimationFrame(() => {
    const channel = new MessageChannel();
    channel.port1.onmessage = () => window.probe.times.push(performance.now() - pressed);
    channel.port2.postMessage(0);
  });
  window.addEventListener("keydown", (event) => { // before the page itself hears of it
    if (event.key === "q") painted(event.timeStamp);
    else window.probe.pressed = event.timeStamp;
  }, { capture: true });
  new MutationObserver(() => { // right after the page has put the next image on the stage
    const { pressed } = window.probe;
    if (pressed === null) return;
    window.probe.pressed = null;
    const picture = stage.firstElementChild;
    if (picture.complete && picture.naturalWidth > 0) painted(pressed);
    else picture.addEventListener("load", () => painted(pressed), { once: true });
  }).observe(stage, { childList: true });
}
"""


TARGET = (35.0, 60.0)  # ms at most, median and 95th percentile
HURRY = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=100, help="presses measured on each line")
    parser.add_argument("--think-ms", type=int, default=300, help="pause between presses")
    arguments = parser.parse_args()
    path = chromium()
    if path is None:
        raise SystemExit("page_latency: no Chromium here")
    with tempfile.TemporaryDirectory() as scratch:
        root = _workspace(Path(scratch), arguments.n)
        server = Server(root, k=2 * arguments.n + 10 + HURRY).start()
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
                _machine(browser.version)
                visitor = Visitor(browser, server.url).open()
                visitor.page.evaluate(PROBE)
                _measure(visitor, arguments.n, arguments.think_ms)
                _hurry(visitor, root)
                browser.close()
        finally:
            server.stop()


def _workspace(scratch: Path, n: int) -> Path:
    """Twice n images and some more, in one cold round."""
    source, count = scratch / "source", 2 * n + 10 + HURRY
    source.mkdir()
    photographs = photographs_folder()
    if photographs is not None:
        files = [file for folder in ("withMask", "withoutMask") for file in sorted((photographs / folder).iterdir())]
        for number, file in enumerate(files[:: max(1, len(files) // count)][:count]):
            shutil.copy(file, source / f"{number:05d}{file.suffix}")
    else:
        for seed in range(count):
            draw(source, seed, "round")
    print(f"images: {'photographs' if photographs else 'drawings'}, {count}")
    workspaces.create(scratch / "w")
    with Workspace.open(scratch / "w") as opened:
        opened.import_images(source, into="unlabelled")
        opened.round(k=count)
    return scratch / "w"


def _measure(visitor: Visitor, n: int, think_ms: int) -> None:
    page = visitor.page
    line = visitor.context.new_cdp_session(page)
    presses(page, ["1", "2"] * 3, think_ms)  # warm
    _report("floor (a key that changes nothing)", presses(page, ["q"] * min(n, 50), think_ms))
    for name, latency, target in (("loopback", 0, TARGET), ("60 ms round trip", 60, TARGET)):
        conditions = {"offline": False, "latency": latency, "downloadThroughput": -1, "uploadThroughput": -1}
        line.send("Network.emulateNetworkConditions", conditions)
        page.evaluate("performance.clearResourceTimings(), performance.setResourceTimingBufferSize(5000)")
        painted = presses(page, ["1", "2"] * (n // 2), think_ms)
        visitor.wait_outbox(0)
        _report(f"key -> next image painted, {name}", painted, target)
        saved = page.evaluate(
            "performance.getEntriesByType('resource').filter((entry) => entry.name.endsWith('/api/decisions'))"
            ".map((entry) => entry.duration)"
        )
        _report(f"answer sent -> on record, {name}", saved)


def presses(page: Page, keys: list[str], think_ms: int) -> list[float]:
    """Milliseconds from each press to the paint."""
    page.evaluate("window.probe.times = []")
    for key in keys:
        page.keyboard.press(key)
        page.wait_for_timeout(think_ms)
    page.wait_for_function("n => window.probe.times.length >= n", arg=len(keys))
    return list(page.evaluate("window.probe.times"))


def _hurry(visitor: Visitor, root: Path) -> None:
    """Faster than anybody can look, on a slow line."""
    line = visitor.context.new_cdp_session(visitor.page)
    conditions = {"offline": False, "latency": 100, "downloadThroughput": -1, "uploadThroughput": -1}
    line.send("Network.emulateNetworkConditions", conditions)
    with Workspace.open(root) as opened:
        before = len(decisions(opened))
        visitor.press(*["1", "2"] * (HURRY // 2), delay_ms=20)
        visitor.wait_outbox(0)
        stored = len(decisions(opened)) - before
    print(f"{HURRY} presses 20 ms apart, 100 ms round trip: {stored} of {HURRY} on record", flush=True)


def _report(what: str, times: list[float], target: tuple[float, float] | None = None) -> None:
    ordered = sorted(times)
    p50, p95 = statistics.median(ordered), ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    aim = ""
    if target is not None:
        met = p50 <= target[0] and p95 <= target[1]
        aim = f"  target {target[0]:g}/{target[1]:g}: {'met' if met else 'MISSED'}"
    print(f"{what:<45} n={len(times):<4} p50 {p50:6.1f}  p95 {p95:6.1f}  max {ordered[-1]:6.1f} ms{aim}", flush=True)


def _machine(browser: str) -> None:
    import gradio

    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    print(f"Python {platform.python_version()}, gradio {gradio.__version__}, Chromium {browser}")


if __name__ == "__main__":
    main()
