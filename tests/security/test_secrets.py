"""Passwords and sessions are in no log, process list, address, environment or readable file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from labeler import workspace as workspaces
from labeler.domain import LabelerError
from labeler.record.store import Store
from labeler.rounds import Workspace
from labeler.settings import Settings, rows
from tests.security.site import ANNOTATOR, OTHER, PASSWORD, Site, sign_in

SECRET = "only this person knows 9J4"
POSIX = pytest.mark.skipif(os.name != "posix", reason="rights of files are those of POSIX")


def seen_of(process: psutil.Process) -> str:
    """What other people of the machine see of a process, and what its user sees."""
    try:
        return " ".join(process.cmdline()) + str(process.environ()) + process.name()
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


def test_a_password_is_in_no_process_list(tmp_path: Path) -> None:
    root = workspaces.create(tmp_path / "w").root
    command = [sys.executable, "-m", "labeler", "users", "add", "dora", "--password-stdin", "--workspace", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(SECRET.encode() + b"\n")
        process.stdin.flush()
        watched, seen = psutil.Process(process.pid), ""
        process.stdin.close()
        while process.poll() is None:
            seen += "".join(seen_of(one) for one in [watched, *_children(watched)])
            time.sleep(0.1)
        said = process.stdout.read().decode()
    assert process.returncode == 0, said
    assert "users add dora" in seen.replace("', '", " ")
    assert SECRET not in seen
    assert SECRET not in said
    for file in root.rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_passwords_are_taken_from_no_argument(tmp_path: Path) -> None:
    """There is no option for one, so that nobody can get into the habit."""
    command = [sys.executable, "-m", "labeler", "users", "add", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert "--password-stdin" in text
    assert "--password " not in text


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://labeler:{SECRET}@db.example/faces",
        f"nonsense+driver://labeler:{SECRET}@db.example/faces",
        f"postgresql://labeler:p@ss/{SECRET}@db.example/faces",
        f"mysql://db.example/faces?user=labeler&password={SECRET}&ssl=1",
        f"no url at all password={SECRET}",
    ],
)
def test_a_databases_password_is_in_no_list_and_no_message(url: str) -> None:
    shown = str(rows(Settings(database=url)))
    assert SECRET not in shown
    assert "***" in shown
    with pytest.raises(LabelerError) as caught:
        Store(url)
    assert SECRET not in str(caught.value)


def test_the_server_and_its_workers_show_no_secret(site: Site) -> None:
    with site.visitor() as client:
        sign_in(client, OTHER)
        sign_in(client, OTHER, SECRET)
        client.post("/login", data={"name": OTHER, "password": SECRET})
        client.post("/login", content=SECRET.encode(), headers={"content-type": "text/plain"})
        client.post("/login", json={"name": OTHER, "password": {"a": SECRET}})
        client.get("/login", params={"name": OTHER, "password": SECRET[:0]})
        tokens = list(client.cookies.values())
    with site.visitor(ANNOTATOR) as client:
        tokens += list(client.cookies.values())
        client.get("/nothing")
        client.post("/api/decisions", json={"password": SECRET})
    assert site.server.process is not None
    server = psutil.Process(site.server.process.pid)
    shown = "".join(seen_of(one) for one in [server, *_children(server)])
    assert "labeler.worker" in shown.replace("', '", " ")
    for secret in (SECRET, PASSWORD, *tokens):
        assert len(secret) > 8
        assert secret not in shown
        assert secret not in site.log


def test_a_session_is_in_no_address(site: Site) -> None:
    """Nor does a page of ours send its address to another host."""
    with site.visitor(ANNOTATOR) as client:
        [token] = set(client.cookies.values())
        for path in ("/", "/config", "/api/batch", "/login", "/static/app/server.js"):
            answer = client.get(path)
            assert token not in answer.text
            assert token not in str(answer.headers)
            assert answer.headers["referrer-policy"] == "same-origin"
        assert token not in site.url
    with site.visitor() as other:
        assert other.get("/api/batch", params={f"labeler-{'0' * 16}": token, "token": token}).status_code == 401


# ------------------------------------------------------------------------------------------------------ rights of files


def rights(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


@POSIX
@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_the_record_is_its_users_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        paths = workspaces.create(tmp_path / "w")
        with Workspace.open(paths.root) as opened, opened.store.write() as session:
            from labeler.record import queries

            queries.annotator(session, "anna")
            # While it is open its journal and its index lie beside it.
            assert rights(Path(f"{paths.database}-wal")) == 0o600
            assert rights(Path(f"{paths.database}-shm")) == 0o600
            assert rights(paths.database) == 0o600
    finally:
        os.umask(before)
    assert rights(paths.db) == 0o700


@POSIX
def test_a_served_workspace_is_its_users_alone(site: Site) -> None:
    """Served under a umask of 0: everything of `db/` lies behind a door, and the record has one of its own."""
    record = sorted((site.root / "db").glob("labeler.db*"))
    assert len(record) >= 2
    assert {rights(file) for file in record} == {0o600}


@POSIX
def test_a_folder_that_was_opened_to_a_group_on_purpose_stays_so(tmp_path: Path) -> None:
    paths = workspaces.create(tmp_path / "w")
    paths.db.chmod(0o2770)
    workspaces.create(tmp_path / "w")
    with Workspace.open(paths.root):
        pass
    paths.database.chmod(0o660)
    with Workspace.open(paths.root) as opened, opened.store.write() as session:
        from labeler.record import queries

        queries.annotator(session, "anna")
        assert rights(Path(f"{paths.database}-wal")) == 0o660  # SQLite gives it the record's own
    assert rights(paths.db) == 0o2770
    assert rights(paths.database) == 0o660
