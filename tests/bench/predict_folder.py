"""`labeler predict FOLDER --json` against a plain Keras loop: whole processes, in turn, on the same photographs.

    python tests/bench/predict_folder.py [--photographs FOLDER] [--n 1000] [--runs 3]

The Keras loop is what a person writes in ten lines: decode with Pillow, resize, batches of 32 through the same network
and head (the same weights, as one Keras model), `predict_on_batch`. Both start with their backbone prepared: the
command has its compiled file, the loop its `.keras` file. Also printed: the speed of the runtime alone, on squares in
memory, as the bound that decoding, starting and printing add to.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
LOOP = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
from pathlib import Path
import keras, numpy as np
from PIL import Image
model = keras.saving.load_model(sys.argv[1], compile=False)
files, answers = sorted(Path(sys.argv[2]).iterdir()), []
for start in range(0, len(files), 32):
    squares = [np.asarray(Image.open(f).convert("RGB").resize((224, 224), 2)) for f in files[start:start + 32]]
    answers.append(model.predict_on_batch(np.stack(squares).astype("float32")))
print(len(np.concatenate(answers)))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("LABELER_TEST_DATA", str(REPOSITORY.parent / "shared" / "data" / "facemask"))
    parser.add_argument("--photographs", type=Path, default=Path(default))
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), arguments.photographs, arguments.n, arguments.runs)


def measure(folder: Path, photographs: Path, n: int, runs: int) -> None:
    root, many = prepared(folder, photographs, n)
    n = len(list(many.iterdir()))
    command = [sys.executable, "-m", "labeler", "-w", str(root), "predict", str(many), "--json", "--quiet"]
    loop = [sys.executable, "-c", LOOP, str(folder / "model.keras"), str(many)]
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(timed(command, n))
        theirs.append(timed(loop, n))
    bound = n / runtime_speed(root, many)
    versions = ", ".join(f"{name} {version(name)}" for name in ("keras", "tensorflow", "ai-edge-litert", "pillow"))
    print(f"{processor()}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}")
    print(f"n = {n} photographs, {runs} runs in turn; the whole process, medians")
    (a, used_a), (b, used_b) = (
        [statistics.median(column) for column in zip(*pairs, strict=True)] for pairs in (ours, theirs)
    )
    for name, clock, used, pairs in (
        ("labeler predict --json", a, used_a, ours),
        ("plain Keras loop", b, used_b, theirs),
    ):
        each = ", ".join(f"{seconds:.1f}" for seconds, _ in pairs)
        print(f"{name:<23} {clock:7.2f} s  {n / clock:6.1f} images/s  processors {used:6.1f} s  (runs {each})")
    print(f"ratio                   {b / a:7.2f} by the clock, {used_b / used_a:.2f} of the processors' time")
    print(
        f"LiteRT alone, in memory {bound:7.2f} s  {n / bound:6.1f} images/s; the command reaches {bound / a:.0%} of it"
    )


def prepared(folder: Path, photographs: Path, n: int) -> tuple[Path, Path]:
    """A workspace with a model, its backbone compiled, the same as a Keras model, and a folder of n photographs."""
    from labeler import workspace
    from labeler.retrain import export_graph
    from labeler.rounds import Workspace, versions

    classes = ("withMask", "withoutMask")
    root, many = workspace.create(folder / "w", classes).root, folder / "many"
    many.mkdir()
    files = {name: sorted((photographs / name).iterdir()) for name in classes}
    for name in classes:
        for file in files[name][:20]:
            (folder / "train" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / "train" / name)
        for file in files[name][20 : 20 + (n + 1) // 2]:
            shutil.copy(file, many / f"{name}-{file.name}")
    with Workspace.open(root) as opened:
        opened.import_images(folder / "train", into="train")
        opened.train()
        _, model = versions.load(opened.store, opened.paths)
        export_graph.classifier(opened.learner.backbone, model).save(folder / "model.keras")
    return root, many


def timed(command: list[str], n: int) -> tuple[float, float]:
    """Seconds by the clock, and of the processors, which other work on the machine disturbs less."""
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    seconds, now = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(done.stdout)
    assert (said if isinstance(said, int) else len(said)) == n
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def runtime_speed(root: Path, many: Path) -> float:
    """Images per second of the compiled backbone on every core, pixels in memory, no head."""
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from labeler.embed.pixels import load_square
    from labeler.embed.runtime import open_runtime
    from labeler.embed.service import thread_count
    from labeler.rounds import Workspace

    with Workspace.open(root) as opened:
        backbone, compiled = opened.learner.backbone, opened.paths.compiled
    threads = thread_count(0)
    squares = np.stack([load_square(file, backbone.input_size, 10**8) for file in sorted(many.iterdir())[:128]])
    runtime = open_runtime(backbone, compiled, threads=threads)
    parts = np.array_split(squares, threads * 4)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(runtime.embed, parts[:threads]))
        started = time.perf_counter()
        list(pool.map(runtime.embed, parts))
    return len(squares) / (time.perf_counter() - started)


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
