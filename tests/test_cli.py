"""The command line as a program sees it: output, exit codes, one-line errors, and what it imports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import cli
from tests.workspaces import CLASSES, POOL, TEST


def labeler(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "labeler", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def here(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in this process: to start a new one for each of so many takes a minute of processor."""
    result = CliRunner().invoke(cli.app, [*map(str, arguments)], env=environment)
    return subprocess.CompletedProcess([], result.exit_code, result.stdout, result.stderr)


def document(done: subprocess.CompletedProcess[str]) -> Any:
    """The one JSON document on stdout."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("labeler: ")
    for word in words:
        assert word in line


def test_a_round_prints_the_document_of_the_contract(fresh: Callable[[], Path], truth: Path) -> None:
    result = document(labeler("round", "-w", fresh(), "--k", 6, "--oracle", truth, "--json"))
    fixed = "round state k strategy backbone pool labelled proposals decisions metrics timing"
    assert set(result) >= set(fixed.split())
    assert set(result["proposals"][0]) == {"sha256", "path", "rank", "probability", "uncertainty", "predicted"}
    assert set(result["decisions"]) == {"confirm", "correct", "skip"}
    assert set(result["metrics"]) >= {
        "split", "n", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "ece", "confusion",
    }  # fmt: skip
    assert set(result["timing"]) == {"scan", "embed", "fit", "rank", "commit", "retrain", "evaluate", "total"}
    assert (result["k"], result["labelled"], result["pool"], result["state"]) == (6, 6, POOL - 6, "EVALUATED")
    assert all(p["path"].startswith("pools/Unlabelled/") for p in result["proposals"])


def test_a_warm_round_loads_neither_tensorflow_nor_gradio(fresh: Callable[[], Path], truth: Path) -> None:
    script = """
import sys
from labeler import cli
sys.argv = ["labeler", "round", "-w", sys.argv[1], "--k", "6", "--oracle", sys.argv[2], "--json", "--quiet"]
try:
    cli.main()
except SystemExit as end:
    assert end.code == 0, end.code
loaded = {"tensorflow", "keras", "gradio", "fastapi", "sklearn", "alembic", "ai_edge_litert"} & set(sys.modules)
print(sorted(loaded), file=sys.stderr)
"""
    workspace = fresh()
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", script, str(workspace), str(truth)],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        assert done.stderr.splitlines()[-1] == "[]"


def test_help_loads_nothing_heavy() -> None:
    script = """
import sys
from labeler import cli
sys.argv = ["labeler", "--help"]
try:
    cli.main()
except SystemExit:
    pass
print(sorted({"numpy", "sqlalchemy", "PIL", "tensorflow", "gradio"} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_init_import_status_and_the_empty_pool(tmp_path: Path, truth: Path) -> None:
    workspace = tmp_path / "w"
    assert document(labeler("init", workspace, "--classes", ",".join(CLASSES), "--json"))["classes"] == list(CLASSES)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not really")
    bad = document(here("-w", workspace, "import", tmp_path / "broken.jpg", "--json"))
    assert bad["imported"] == 0
    [quarantined] = bad["quarantined"]
    assert quarantined["path"].endswith("broken.jpg")
    assert quarantined["reason"]
    again = document(here("-w", workspace, "import", truth, "--json"))
    assert (again["imported"], again["labelled"]) == (POOL + TEST, POOL + TEST)
    twins = document(here("-w", workspace, "import", truth, "--json"))
    assert (twins["imported"], twins["duplicates"]) == (0, POOL + TEST)
    status = document(here("status", "-w", workspace, "--json"))
    assert status["counts"]["train"] == dict.fromkeys(CLASSES, (POOL + TEST) // 2)
    assert_one_line(labeler("round", "-w", workspace, "--json", "-q"), 3, "the pool is empty", "import more images")
    assert_one_line(here("undo", "-w", workspace, "--json", "-q"), 3, "no decision")


def test_init_again_completes_and_refuses_other_classes(tmp_path: Path) -> None:
    here("init", tmp_path / "w", "--classes", "a,b")
    (tmp_path / "w/pools/Unlabelled").rmdir()
    assert here("init", tmp_path / "w").returncode == 0
    assert (tmp_path / "w/pools/Unlabelled").is_dir()
    assert_one_line(here("init", tmp_path / "w", "--classes", "c,d"), 1, "is a workspace for a, b")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["status", "-w", "nowhere"], ["nowhere", "labeler init"]),
        (["init", "w", "--classes", "one"], ["needs two"]),
        (["init", "w", "--classes", "a,../b"], ["cannot be a folder name"]),
        (["init", "w", "--classes", "Mask,mask"], ["two are the same"]),
    ],
)
def test_bad_input_gets_one_line(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    assert_one_line(labeler(*arguments, cwd=tmp_path), 1, *words)


def test_errors_inside_a_workspace_are_one_line_and_lose_nothing(fresh: Callable[[], Path], tmp_path: Path) -> None:
    w = fresh()
    assert_one_line(labeler("round", "-w", w, "--strategy", "magic", "-q"), 1, "magic", "uncertainty")
    assert_one_line(here("round", "-w", w, "--backbone", "resnet1", "-q"), 1, "resnet1", "efficientnet_lite0")
    assert_one_line(here("round", "-w", w, "--oracle", tmp_path / "no", "-q"), 1, "no")
    assert_one_line(here("predict", "-w", w, tmp_path / "no.jpg", "-q"), 1, "no trained model yet")
    assert_one_line(here("evaluate", "-w", w, "-q"), 1, "no trained model yet")
    assert_one_line(here("train", "-w", w, "-q"), 1, "nothing is labelled yet")
    assert_one_line(here("import", "-w", w, tmp_path / "no", "-q"), 1, "no")
    assert_one_line(here("status", "-w", w, LABELER_K="many"), 1, "LABELER_K", "does not fit")
    (w / "labeler.toml").write_text("clases = 3\n")
    assert_one_line(here("status", "-w", w), 1, "clases", "labeler settings")
    (w / "labeler.toml").write_text("= 3\n")
    assert_one_line(here("status", "-w", w), 1, "labeler.toml", "not valid TOML")
    (w / "labeler.toml").write_text('classes = ["round", "square"]\n')
    assert here("verify", "-w", w).returncode == 0


@pytest.mark.parametrize("arguments", [["round", "--k", "0"], ["round", "--k", "x"], ["nonsense"], ["predict"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    assert labeler(*arguments, cwd=tmp_path).returncode == 2


def test_verify_says_every_difference_and_repair_heals_it(fresh: Callable[[], Path], truth: Path) -> None:
    w = fresh()
    document(here("round", "-w", w, "--k", 6, "--oracle", truth, "--json"))
    labelled = sorted(w.glob("pools/Train/*/*.png"))
    labelled[0].rename(w / "pools/Unlabelled" / labelled[0].name)
    labelled[1].unlink()
    (w / "pools/Unlabelled/.labeler-tmp-left").write_bytes(b"half")
    report = json.loads(here("verify", "-w", w, "--json").stdout)
    assert sorted(item["kind"] for item in report["differences"]) == [
        "leftover", "missing-file", "missing-file", "unrecorded-file",
    ]  # fmt: skip
    assert_lines = labeler("verify", "-w", w)
    assert assert_lines.returncode == 1
    assert here("verify", "-w", w, "--repair").returncode == 0
    assert document(here("verify", "-w", w, "--json"))["clean"]
    assert document(here("status", "-w", w, "--json"))["missing"] == 1


def test_predict_reads_what_it_can_and_says_what_it_cannot(
    fresh: Callable[[], Path], truth: Path, tmp_path: Path, compiled: Path
) -> None:
    w = fresh()
    (w / "db/cache").mkdir(exist_ok=True)
    (w / "db/cache/compiled").symlink_to(compiled)
    document(here("round", "-w", w, "--k", 20, "--oracle", truth, "--json"))
    (tmp_path / "bad.png").write_bytes(b"nothing")
    good = sorted((truth / CLASSES[0]).iterdir())[:3]
    rows = document(labeler("predict", "-w", w, *good, tmp_path / "bad.png", "--json"))
    assert [row["path"] for row in rows] == [*map(str, good), str(tmp_path / "bad.png")]
    assert rows[3]["predicted"] is None
    assert rows[3]["error"]
    assert all(0 <= row["probability"] <= 1 and row["predicted"] in CLASSES for row in rows[:3])
    assert_one = here("predict", "-w", w, tmp_path / "bad.png", "-q")
    assert assert_one.returncode == 1
    assert "none of the files" in assert_one.stderr


def test_an_interrupted_import_keeps_what_it_has_and_can_be_run_again(tmp_path: Path, truth: Path) -> None:
    workspace = tmp_path / "w"
    here("init", workspace, "--classes", ",".join(CLASSES))
    source = tmp_path / "many"
    source.mkdir()
    from tests.workspaces import draw

    for seed in range(1000, 1400):
        draw(source, seed, CLASSES[0])
    process = subprocess.Popen(
        [sys.executable, "-m", "labeler", "-w", str(workspace), "import", str(source), "--quiet"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any((workspace / "pools/Unlabelled").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 0)
    if process.returncode == 130:
        assert output == ""
        assert errors == "labeler: interrupted; everything decided is kept\n"
    document(here("-w", workspace, "import", source, "--json"))
    assert document(here("-w", workspace, "status", "--json"))["pool"] == 400
    assert document(here("-w", workspace, "verify", "--json"))["clean"]


def test_settings_lists_names_values_and_environment(tmp_path: Path) -> None:
    rows = document(labeler("settings", "--json", cwd=tmp_path, LABELER_K="7"))
    by_name = {row["name"]: row for row in rows}
    assert by_name["k"] == {
        "name": "k",
        "value": 7,
        "default": 50,
        "environment": "LABELER_K",
        "help": by_name["k"]["help"],
    }
    assert by_name["backbone"]["default"] == "efficientnet_lite0"
