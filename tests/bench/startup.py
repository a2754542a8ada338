"""How long `labeler serve` takes from nothing to the first image, and what it costs when nobody works.

    python tests/bench/startup.py [PHOTOGRAPHS] [--rounds 3] [--idle 30]

A workspace with a round in hand; the command is started as a person would, in a fresh process; the clock stops when
the first image of the batch has arrived over HTTP. Then one page is opened in Chromium and left alone, and the
processor time of server and worker is read for a while.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from playwright.sync_api import sync_playwright

from labeler import workspace as workspaces
from labeler.rounds import Workspace
from tests.browser.served import FLAGS, chromium

DEFAULT_PHOTOGRAPHS = Path(__file__).resolve().parents[3] / "shared" / "data" / "facemask"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", nargs="?", type=Path, default=DEFAULT_PHOTOGRAPHS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", type=float, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labeler-startup-") as scratch:
        root = Path(scratch) / "w"
        prepare(root, options.photographs)
        seconds = []
        for number in range(options.rounds):
            last = number == options.rounds - 1
            seconds.append(start(root, options.idle if last else 0.0))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, n {options.rounds}")
    print(f"process start to first image: median {statistics.median(seconds):.1f} s, most {max(seconds):.1f} s")


def prepare(root: Path, photographs: Path) -> None:
    source = root.parent / "source"
    source.mkdir()
    for file in sorted(photographs.glob("*/*"))[:300]:
        shutil.copy(file, source / f"{file.parent.name}-{file.name}")
    workspaces.create(root)
    with Workspace.open(root) as ws:
        ws.import_images(source, into="unlabelled", mode="move")
        ws.round()


def start(root: Path, idle: float) -> float:
    begun = time.monotonic()
    command = [str(Path(sys.executable).with_name("labeler")), "serve", "--workspace", str(root), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        address = next(found[1] for line in process.stderr if (found := re.search(r"(http://[\d.:]+/)", line)))
        item = json.load(urlopen(f"{address}api/batch"))["items"][0]
        urlopen(f"{address}image/{item['image_id']}?v={item['sha256']}").read()
        seconds = time.monotonic() - begun
        if idle:
            rest(process.pid, address, idle)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    return seconds


def rest(pid: int, address: str, idle: float) -> None:
    """What server and worker take while one page is open and nobody touches it."""
    path = chromium()
    if path is None:
        raise SystemExit("no Chromium here: idle is not measured")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector('.lb[data-state="label"]')
        time.sleep(5)
        server = psutil.Process(pid)
        both = {"server": server, "worker": server.children()[0]}
        before = {name: sum(process.cpu_times()[:2]) for name, process in both.items()}
        time.sleep(idle)
        for name, process in both.items():
            share = 100 * (sum(process.cpu_times()[:2]) - before[name]) / idle
            print(f"idle {name}: {share:.1f} % of a core, {process.memory_info().rss / 2**20:.0f} MiB")
        browser.close()


if __name__ == "__main__":
    main()
