"""`labeler users` as a person and a program see it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labeler import cli
from labeler import workspace as workspaces
from labeler.record import accounts, queries
from labeler.record.store import Store, sqlite_url
from labeler.workspace import WorkspacePaths
from tests.test_cli import assert_one_line, document

PASSWORD = "correct horse"


@pytest.fixture
def paths(tmp_path: Path) -> WorkspacePaths:
    return workspaces.create(tmp_path / "w")


@pytest.fixture
def store(paths: WorkspacePaths) -> Iterator[Store]:
    opened = Store(sqlite_url(paths.database))
    yield opened
    opened.close()


def users(paths: WorkspacePaths, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
    """The command in this process: a new one for each of so many would take a minute."""
    result = CliRunner().invoke(cli.app, ["-w", str(paths.root), "users", *arguments], input=said.encode())
    return subprocess.CompletedProcess(list(arguments), result.exit_code, result.stdout, result.stderr)


def fits(store: Store, name: str, password: str) -> bool:
    with store.read() as session:
        found = accounts.credentials(session, name)
    return accounts.matches(password, found.password_hash if found is not None else None)


def test_from_the_first_account_to_the_last(paths: WorkspacePaths, store: Store) -> None:
    assert "Nobody has an account" in users(paths, "list").stdout
    first = users(paths, "add", "Anna B", "--password-stdin", said=PASSWORD + "\n")
    assert first.returncode == 0
    assert "Anna B may sign in as an administrator" in first.stdout
    assert "The first account always is an administrator's" in first.stdout
    second = document(users(paths, "add", "bob", "--password-stdin", "--json", said="another word"))
    assert second == {"name": "bob", "role": "annotator"}
    assert (
        document(users(paths, "add", "cem", "--admin", "--password-stdin", "--json", said=PASSWORD))["role"] == "admin"
    )
    assert fits(store, "Anna B", PASSWORD)
    assert fits(store, "bob", "another word")
    rows = document(users(paths, "list", "--json"))
    assert [(row["name"], row["role"], row["sessions"], row["decisions"]) for row in rows] == [
        ("Anna B", "admin", 0, 0), ("bob", "annotator", 0, 0), ("cem", "admin", 0, 0)
    ]  # fmt: skip
    assert all("hash" not in key for row in rows for key in row)
    table = users(paths, "list").stdout
    assert "Anna B" in table
    assert document(users(paths, "passwd", "bob", "--password-stdin", "--json", said="yet another\r\n")) == {
        "changed": "bob"
    }
    assert fits(store, "bob", "yet another")
    assert document(users(paths, "remove", "cem", "--json")) == {"removed": "cem", "accounts": 2}
    assert_one_line(users(paths, "remove", "Anna B"), 1, "last administrator", "users add")
    assert "every decision stays" in users(paths, "remove", "bob").stdout
    assert "That was the last account" in users(paths, "remove", "Anna B").stdout
    assert document(users(paths, "list", "--json")) == []


def test_the_same_from_inside_the_workspace_and_after_the_command(paths: WorkspacePaths) -> None:
    command = [sys.executable, "-m", "labeler", "users"]
    given: dict[str, Any] = {"cwd": paths.root, "capture_output": True, "text": True, "timeout": 60, "check": True}
    subprocess.run([*command, "add", "anna", "--password-stdin", "-q"], input=PASSWORD, **given)
    shown = subprocess.run([*command, "list", "-w", str(paths.root), "--json"], **given)
    assert [row["name"] for row in json.loads(shown.stdout)] == ["anna"]


@pytest.mark.parametrize(
    ("arguments", "said", "words"),
    [
        (["add", "bob"], "", ["no terminal", "--password-stdin"]),
        (["add", "bob", "--password-stdin"], "", ["holds no password"]),
        (["add", "bob", "--password-stdin"], "\n", ["holds no password"]),
        (["add", "bob", "--password-stdin"], "two\nlines of it\n", ["one line"]),
        (["add", "bob", "--password-stdin"], "short", ["at least 8 characters"]),
        (["add", "Oracle", "--password-stdin"], PASSWORD, ["program's own"]),
        (["add", "a/../b", "--password-stdin"], PASSWORD, ["cannot be the name"]),
        (["add", "<script>alert(1)</script>", "--password-stdin"], PASSWORD, ["cannot be the name"]),
        (["add", "a\r\nset-cookie: x=y", "--password-stdin"], PASSWORD, ["cannot be the name"]),
        (["passwd", "nobody", "--password-stdin"], PASSWORD, ["no account 'nobody'", "users list"]),
        (["remove", "nobody"], "", ["no account 'nobody'"]),
    ],
)
def test_what_cannot_be_gets_one_line(
    paths: WorkspacePaths, store: Store, arguments: list[str], said: str, words: list[str]
) -> None:
    assert_one_line(users(paths, *arguments, said=said), 1, *words)
    with store.read() as session:
        assert not accounts.any_account(session)


def test_a_password_is_never_an_argument(paths: WorkspacePaths) -> None:
    """Others on the machine can read a command line."""
    for arguments in (["add", "bob", PASSWORD], ["add", "bob", "--password", PASSWORD], ["passwd", "bob", PASSWORD]):
        assert users(paths, *arguments).returncode == 2


def test_somebody_who_labelled_before_keeps_the_decisions(paths: WorkspacePaths, store: Store) -> None:
    with store.write() as session:
        number = queries.annotator(session, "local").id
    users(paths, "add", "local", "--password-stdin", said=PASSWORD)
    with store.read() as session:
        found = accounts.credentials(session, "local")
    assert found is not None
    assert found.annotator_id == number


@pytest.mark.parametrize(
    ("typed", "code", "words"),
    [
        ([PASSWORD, PASSWORD], 0, "may sign in"),
        ([PASSWORD, "something else"], 1, "the two passwords differ"),
        (["short", "short"], 1, "at least 8 characters"),
    ],
)
def test_on_a_terminal_it_is_asked_for_twice_and_not_shown(
    paths: WorkspacePaths, typed: list[str], code: int, words: str
) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "labeler", "-w", str(paths.root), "users", "add", "anna"]
    # A session of its own has no other terminal that it could ask on.
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, close_fds=True
    )
    os.close(theirs)
    shown = ""
    for prompt, answer in zip(("Password for anna: ", "Once more: "), typed, strict=True):
        shown = _until(ours, shown, prompt)
        os.write(ours, f"{answer}\n".encode())
    shown = _until(ours, shown, None)
    os.close(ours)
    assert process.wait(30) == code, shown
    assert words in shown
    assert all(answer not in shown for answer in typed if len(answer) > 5)


def _until(terminal: int, shown: str, prompt: str | None) -> str:
    """What stands on the terminal once the prompt is there, or the program is over."""
    while prompt is None or prompt not in shown:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # Linux's way to say that nobody is on the other side any more
            break
        if not piece:
            break
        shown += piece.decode()
    return shown


def test_help_names_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "labeler", "users", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    for name in ("add", "list", "remove", "passwd"):
        assert f"  {name} " in done.stdout
