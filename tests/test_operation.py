"""What docs/operation.md and its examples say is so: what is there parses, what is named exists, limits are true."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import typer
from starlette.testclient import TestClient

from labeler import heart, settings, worker
from labeler import workspace as workspaces
from labeler.cli import app
from labeler.record import accounts, store
from labeler.review import guard, keeper, openings, schema, server
from labeler.review.app import without_gradio
from labeler.rounds import Workspace, mover_thread
from labeler.workspace import ENVIRONMENT_NAME
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGE = (DOCS / "operation.md").read_text(encoding="utf-8")
UNIT = DOCS / "examples" / "labeler.service"
CONTAINER = DOCS / "examples" / "Containerfile"
CADDY = DOCS / "examples" / "Caddyfile"


def assert_parses(words: list[str]) -> None:
    """A command line of ours, as the program itself would take it apart; nothing is run."""
    command = typer.main.get_command(app)
    assert words[0].rpartition("/")[2] == "labeler", words
    rest = words[1:]
    while rest and rest[0] in ("-w", "--workspace"):
        rest = rest[2:]
    while rest and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]  # type: ignore[attr-defined]
    assert not hasattr(command, "commands"), f"{words}: no command"
    command.make_context(words[0], rest)


# ------------------------------------------------------------------------------------------------------------ systemd


def unit() -> list[tuple[str, str, str]]:
    """Section, name and value of every line; a name may come more than once."""
    found, section = [], ""
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            name, separator, value = line.partition("=")
            assert separator, line
            found.append((section, name, value))
    return found


def value(name: str) -> str:
    (found,) = [given for _, known, given in unit() if known == name]
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """As it stands but for the program's place, which is this environment's."""
    text = UNIT.read_text(encoding="utf-8")
    program = value("ExecStart").split()[0]
    own = tmp_path / "labeler.service"
    own.write_text(text.replace(program, str(Path(sys.executable).with_name("labeler"))), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(own)], capture_output=True, text=True, timeout=60, check=False
    )
    about = [line for line in (done.stdout + done.stderr).splitlines() if "labeler.service" in line]
    assert about == []
    own.write_text(own.read_text(encoding="utf-8").replace("NoNewPrivileges", "NoNewPrivilege"), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(own)], capture_output=True, text=True, timeout=60, check=False
    )
    assert "NoNewPrivilege" in done.stdout + done.stderr, "it does tell"


def test_the_unit_runs_a_real_command_and_may_write_to_its_workspace_alone() -> None:
    assert_parses(shlex.split(value("ExecStart")))
    environment = dict(
        pair.split("=", 1) for _, name, given in unit() if name == "Environment" for pair in shlex.split(given)
    )
    assert environment[ENVIRONMENT_NAME] == value("ReadWritePaths") == value("WorkingDirectory")
    assert value("ProtectSystem") == "strict"
    assert value("NoNewPrivileges") == value("PrivateTmp") == value("ProtectHome") == "yes"
    assert value("CapabilityBoundingSet") == ""
    assert value("User") not in ("", "root", "0")


def test_the_unit_gives_a_stop_the_time_it_may_take() -> None:
    longest = server._LAST_REQUESTS_S + mover_thread.LAST_S + keeper.STOP_WAIT_S + 5
    assert int(value("TimeoutStopSec")) > longest
    assert f"{longest:.0f} s at most" in PAGE
    assert worker._STOP_WAIT_S < keeper.STOP_WAIT_S, "the worker ends that of the long jobs first"
    assert value("KillMode") == "mixed"


# ---------------------------------------------------------------------------------------------------------- container


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", CONTAINER.read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1].strip()) for line in lines]


def of(name: str) -> list[str]:
    return [given for known, given in instructions() if known == name]


def test_the_container_is_made_of_what_is_there() -> None:
    known = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "ENV", "EXPOSE"}
    assert {name for name, _ in instructions()} <= known | {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    copied: set[str] = set()
    for given in of("COPY"):
        *sources, _target = given.split()
        for source in sources:
            assert (REPOSITORY / source).exists(), source
        copied |= set(sources)
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    wanted = {"pyproject.toml", "requirements.lock", "labeler", "db/migrations", "README.md", "LICENSE"}
    assert wanted <= copied, "what a build of the wheel reads"
    assert '"db/migrations" = "labeler/record/migrations"' in project
    python = re.search(r'requires-python = ">=([\d.]+)"', project)
    assert python is not None
    assert of("FROM") == [f"python:{python[1]}-slim"]


def test_the_container_runs_a_real_command_as_nobody_special() -> None:
    command = json.loads(of("ENTRYPOINT")[0]) + json.loads(of("CMD")[0])
    assert_parses(command)
    names = [name for name, _ in instructions()]
    assert int(of("USER")[0]) > 0
    assert names.index("USER") > max(at for at, name in enumerate(names) if name == "RUN"), "after all that needs root"
    assert of("STOPSIGNAL") == ["SIGTERM"]
    environment = dict(pair.split("=", 1) for pair in shlex.split(of("ENV")[0]))
    assert environment[ENVIRONMENT_NAME] == of("VOLUME")[0]
    assert environment["LABELER_HOST"] == "0.0.0.0"  # noqa: S104  # within the container
    assert of("EXPOSE") == [str(settings.Settings().port)]
    assert [given for given in of("RUN") if "--require-hashes" in given], "every package is checked"


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_the_container_s_health_check_tells(status: int, code: int) -> None:
    """Its own command, against a server that says it is well, and one that says it is not."""
    asked: list[str] = []

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing into the test's output."""

    found = re.search(r"CMD (\[.*\])$", of("HEALTHCHECK")[0])
    assert found is not None
    program, *rest = json.loads(found[1])
    assert program == "python"
    with HTTPServer(("127.0.0.1", 0), Answering) as answering:
        threading.Thread(target=answering.serve_forever, daemon=True).start()
        words = [word.replace(":7860", f":{answering.server_port}") for word in rest]
        assert words != rest
        done = subprocess.run([sys.executable, *words], capture_output=True, timeout=60, check=False)
        answering.shutdown()
    assert (done.returncode, asked) == (code, ["/healthz"])
    assert "/healthz" in openings.OWN


# -------------------------------------------------------------------------------------------------------------- proxy


def test_the_proxy_lets_through_what_the_server_takes() -> None:
    text = CADDY.read_text(encoding="utf-8")
    assert text.count("{") == text.count("}")
    most = re.search(r"max_size (\d+)MB", text)
    assert most is not None
    assert int(most[1]) * 10**6 > max(openings.BODIES.values())
    assert f"127.0.0.1:{settings.Settings().port}" in text
    assert "X-Request-ID" in text
    if shutil.which("caddy") is not None:
        subprocess.run(["caddy", "validate", "--adapter", "caddyfile", "--config", str(CADDY)], check=True, timeout=60)


# --------------------------------------------------------------------------------------------------------------- page


def test_every_command_of_the_page_exists() -> None:
    blocks = "\n".join(re.findall(r"```\n(.*?)```", PAGE, flags=re.DOTALL)).replace("\\\n", " ")
    lines = [line for line in blocks.splitlines() if re.search(r"\blabeler (-w|init|users)", line)]
    inline = [line for line in re.findall(r"`(labeler [^`]+)`", PAGE) if "FILE" in line or ".zip" in line]
    assert len(lines) >= 5
    assert len(inline) >= 2
    for line in lines + inline:
        words = shlex.split(line.replace("$(date +\\%F)", "today"), comments=False)
        start = max(at for at, word in enumerate(words) if word == "labeler" and at + 1 < len(words))
        assert_parses(words[start:])


def test_every_setting_of_page_and_examples_exists() -> None:
    known = {settings.environment_name(name) for name in settings.TABLE} | {ENVIRONMENT_NAME}
    for file in (DOCS / "operation.md", UNIT, CONTAINER):
        named = set(re.findall(r"\bLABELER_[A-Z_]+", file.read_text(encoding="utf-8")))
        assert named <= known, file.name
    for name in ("metrics_token_file", "least_free_mb", "slow_request_s", "max_pixels", "database"):
        assert name in settings.TABLE
        assert f"`{name}`" in PAGE


def test_every_metric_of_the_page_is_there(tmp_path: Path) -> None:
    paths = workspaces.create(tmp_path / "w")
    heart.Heart(paths).beat()
    with Workspace.open(paths.root) as opened:
        client = TestClient(without_gradio(opened, worker_pid=lambda: 1), base_url="http://127.0.0.1")
        client.get("/api/batch")
        text = client.get("/metrics").text
    there = set(re.findall(r"^# TYPE (\S+)", text, flags=re.MULTILINE)) | set(
        re.findall(r"^(\w+)", text, flags=re.MULTILINE)
    )
    body = PAGE.split("## Metrics")[1].split("## Limits")[0]
    named = set(re.findall(r"\b(?:labeler|process)_[a-z_]+", body)) - {"labeler_worker_"}
    assert len(named) > 20
    assert {name for name in named if name not in there and f"{name}_total" not in there} == set()
    ours = {name for name in re.findall(r"^# TYPE (labeler_\w+)", text, flags=re.MULTILINE) if "_created" not in name}
    told = {name for name in ours if name in body or name.startswith("labeler_worker_process_")}
    assert told == ours, "and each of ours is told of"


def test_every_event_of_the_page_is_in_the_program() -> None:
    source = "\n".join(file.read_text(encoding="utf-8") for file in (REPOSITORY / "labeler").rglob("*.py"))
    table = PAGE.split("| event | level | fields |")[1].split("\n\n")[0]
    events = [event for row in table.splitlines()[2:] for event in re.findall(r"`([^`]+)`", row.split("|")[1])]
    assert len(events) > 12
    for event in events:
        start = event.split(" (")[0].removesuffix(", ...")
        assert f'"{start}' in source, event


def test_the_limits_of_the_page_are_those_of_the_program() -> None:
    rows = [row.split("|") for row in PAGE.split("| what | limit |")[1].split("\n\n")[0].splitlines()[2:]]
    table = {row[1].strip(): row[2].strip() for row in rows}
    tried, signing_in = openings.BODIES["/api/try"] >> 20, openings.BODIES["/login"] >> 10
    assert table["body of a request"] == (
        f"{openings.MAX_BODY >> 10} KiB; sign-in {signing_in} KiB; an image to try {tried} MiB"
    )
    assert table["time for a body"] == f"{guard.IDLE_S:.0f} s without a byte, {guard.WHOLE_S:.0f} s altogether"
    assert table["operations in one request"] == str(schema.MAX_OPERATIONS)
    assert table["a password"] == f"{accounts.MIN_PASSWORD} to {accounts.MAX_PASSWORD} characters"
    assert f"after {store.BUSY_TIMEOUT_S:.0f} s" in table["a write that another process keeps out"]
    assert f"{settings.Settings().max_pixels // 10**6} million" in table["pixels of an image"]
    assert f"`least_free_mb` ({settings.Settings().least_free_mb}) free" in PAGE
