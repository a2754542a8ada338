"""The documentation says what the program does: settings, commands, and the README followed to the letter."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from labeler import settings
from labeler.rounds import Workspace
from tests.conftest import REPOSITORY

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def settings_page() -> str:
    """The settings table as ``docs/settings.md`` has it; printed by this file when it is run."""
    lines = [
        "# Settings",
        "",
        "Strongest first: the command line, the environment, `labeler.toml` in the workspace, the default.",
        "",
        "| setting | default | environment | what it does |",
        "|---|---|---|---|",
    ]
    for row in settings.rows(settings.Settings()):
        default = f"`{row['default']}`" if row["default"] != "" else ""
        lines.append(f"| `{row['name']}` | {default} | `{row['environment']}` | {row['help']} |")
    return "\n".join(lines) + "\n"


def test_every_setting_is_documented_as_it_is() -> None:
    assert (REPOSITORY / "docs/settings.md").read_text(encoding="utf-8") == settings_page()


def test_every_command_is_in_the_readme_and_every_one_there_exists() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labeler", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    listed = set(re.findall(r"^  ([a-z-]+)  ", done.stdout.split("Commands:")[1], flags=re.MULTILINE))
    table = README.split("## Commands")[1].split("## From Python")[0]
    named = set(re.findall(r"`(?:labeler )?([a-z-]+)\b", table)) & (listed | {"init", "import", "round", "serve"})
    assert listed == named


def test_every_link_in_the_documentation_leads_somewhere() -> None:
    for page in [REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def test_the_readme_ends_in_a_labelled_trained_and_evaluated_pool(tmp_path: Path) -> None:
    """Every command of the README, in order, in an empty folder; none may fail.

    The demonstration converts the backbone and makes the vectors of its faces, as everybody's first command does. The
    workspace after it has the same faces and is given what was made: once more would show nothing new for 25 s.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LABELER_")}
    folder = str(Path(sys.executable).parent)
    environment["PATH"] = f"{folder}{os.pathsep}{environment.get('PATH', '')}"
    output = ""
    for command in commands():
        words = shlex.split(command)
        assert words[0] == "labeler"
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        output += done.stdout
        if words[1] == "init":
            shutil.copytree(tmp_path / "faces/db/cache", tmp_path / words[2] / "db/cache", dirs_exist_ok=True)
    assert len(commands()) >= 10
    assert "accuracy" in output
    assert "record and disk agree" in output
    for label in ("withMask", "withoutMask"):
        assert any((tmp_path / "masks/pools/Train" / label).iterdir())
    python = re.search(r"```python\n(from labeler import .*?)```", README, flags=re.DOTALL)
    assert python is not None
    done = subprocess.run(
        [sys.executable, "-c", python[1]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert 0.5 < float(done.stdout) <= 1


def test_the_client_of_the_readme_answers_a_batch(tmp_path: Path, built: Path) -> None:
    """The example as it stands, against a real server on another port."""
    from tests.browser.served import Server

    shutil.copytree(built, tmp_path / "w")
    with Workspace.open(tmp_path / "w", k=8) as ws:
        ws.round()
    client = re.search(r"```python\n(import json, uuid\n.*?)```", README, flags=re.DOTALL)
    assert client is not None
    server = Server(tmp_path / "w", cold=True).start()
    try:
        program = client[1].replace("http://127.0.0.1:7860", server.url.rstrip("/"))
        assert program != client[1]
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
    finally:
        server.stop()
    assert done.stdout.strip() == "[True, True, True]", done.stderr
    with Workspace.open(tmp_path / "w") as ws:
        assert ws.status()["labelled"] == 3


@pytest.mark.parametrize("name", ["LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile", "requirements.lock"])
def test_what_custom_asks_for_is_there(name: str) -> None:
    assert (REPOSITORY / name).stat().st_size > 0


def test_the_lock_names_no_address_and_hashes_everything() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in lock
    packages = re.findall(r"^[a-z0-9][\w.\-]*==.*\\$", lock, flags=re.MULTILINE)
    assert len(packages) > 80
    assert lock.count("--hash=sha256:") >= len(packages)


if __name__ == "__main__":
    (REPOSITORY / "docs/settings.md").write_text(settings_page(), encoding="utf-8")
