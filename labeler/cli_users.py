"""``labeler users``: who may sign in to the review page."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from labeler import console
from labeler.cli_options import DatabaseOption, JsonOption, WorkspaceOption, record
from labeler.domain import LabelerError

app = typer.Typer(
    help="Accounts of the review page. As soon as there is one, everybody signs in.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Under which the person signs in and decides.")]
StdinOption = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking twice.")
]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on success.")]


class PasswordError(LabelerError):
    """No password could be read."""


@app.command()
def add(
    name: NameArgument,
    admin: Annotated[bool, typer.Option("--admin", help="Make the person an administrator.")] = False,
    password_stdin: StdinOption = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make an account. The first one is an administrator's."""
    from labeler.record import accounts

    with record(workspace, database) as (store, _, _):
        name = accounts.check_name(name)
        hashed = accounts.hash_password(_password(name, password_stdin))
        with store.write() as session:
            role = accounts.add(session, name, hashed, admin=admin)
            number = len(accounts.listed(session))
    if json:
        console.print_json({"name": name, "role": role})
    elif not quiet:
        first = role == accounts.ADMIN and number == 1
        print(f"{name} may sign in as {'an administrator' if role == accounts.ADMIN else 'an annotator'}.")
        if first:
            print("The first account always is an administrator's. From now on everybody signs in to the page.")


@app.command("list")
def list_(
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show every account: its role, in how many browsers it is signed in, what it has decided."""
    from labeler.record import accounts

    with record(workspace, database) as (store, _, _), store.read() as session:
        rows = accounts.listed(session)
    if json:
        shown = [
            {
                "name": row.name,
                "role": row.role,
                "created_at": row.created_at.isoformat(),
                "sessions": row.sessions,
                "decisions": row.decisions,
            }
            for row in rows
        ]
        console.print_json(shown)
    elif rows:
        cells = [[row.name, row.role, row.sessions, row.decisions, f"{row.created_at:%Y-%m-%d}"] for row in rows]
        console.print_table("", ["name", "role", "signed in", "decisions", "since"], cells)
    elif not quiet:
        print("Nobody has an account: the page serves this machine only, and nobody signs in.")


@app.command()
def remove(
    name: NameArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take an account away and sign the person out; the decisions stay."""
    from labeler.record import accounts

    with record(workspace, database) as (store, _, _), store.write() as session:
        accounts.remove(session, name)
        left = len(accounts.listed(session))
    if json:
        console.print_json({"removed": name, "accounts": left})
    elif not quiet:
        print(f"{name} can sign in no more; every decision stays.")
        if left == 0:
            print("That was the last account: the page serves this machine only, and nobody signs in.")


@app.command()
def passwd(
    name: NameArgument,
    password_stdin: StdinOption = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Change a password; the person signs in anew in every browser."""
    from labeler.record import accounts

    with record(workspace, database) as (store, _, _):
        with store.read() as session:
            accounts.require(session, name)
        hashed = accounts.hash_password(_password(name, password_stdin))
        with store.write() as session:
            accounts.set_password(session, name, hashed)
    if json:
        console.print_json({"changed": name})
    elif not quiet:
        print(f"The password of {name} is changed.")


def _password(name: str, from_stdin: bool) -> str:
    """The password, from standard input or asked for twice; never from the command line, which others can read.

    Raises:
        PasswordError: there is none, or the two differ.
    """
    if from_stdin:
        return _from_stdin()
    if not sys.stdin.isatty():
        raise PasswordError("there is no terminal to ask for a password on", "give it with --password-stdin")
    import getpass

    try:
        first = getpass.getpass(f"Password for {name}: ")
        second = getpass.getpass("Once more: ")
    except EOFError:
        raise PasswordError("no password was given", "try again") from None
    if first != second:
        raise PasswordError("the two passwords differ", "try again")
    return first


def _from_stdin() -> str:
    try:
        text = sys.stdin.buffer.read(64 * 1024).decode("utf-8")
    except UnicodeDecodeError:
        raise PasswordError("the password on standard input is no UTF-8 text", "give one line of text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text or "\r" in text:
        raise PasswordError("standard input holds no password", "give one line of text")
    return text
