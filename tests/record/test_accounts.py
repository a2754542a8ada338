"""Accounts, passwords and sessions over a real record."""

from __future__ import annotations

import datetime as dt
import hashlib
import string
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, update

from labeler.record import accounts
from labeler.record.accounts import AccountError, Cost
from labeler.record.store import Store, sqlite_url
from labeler.record.tables import Annotator, WebSession, now

CHEAP = Cost(n=2**4, r=8, p=1)
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that take no time; the real cost has a test of its own."""
    monkeypatch.setattr(accounts, "COST", CHEAP)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(sqlite_url(tmp_path / "labeler.db"))
    yield opened
    opened.close()


def add(store: Store, name: str, *, admin: bool = False, password: str = PASSWORD) -> str:
    hashed = accounts.hash_password(password)
    with store.write() as session:
        return accounts.add(session, name, hashed, admin=admin)


def credentials(store: Store, name: str) -> accounts.Credentials:
    with store.read() as session:
        found = accounts.credentials(session, name)
    assert found is not None
    return found


def begin(store: Store, name: str, hours: int = 1) -> str:
    checked = credentials(store, name)
    with store.write() as session:
        token = accounts.begin(session, checked, hours)
    assert token is not None
    return token


def whose(store: Store, token: str) -> str | None:
    with store.read() as session:
        found = accounts.signed_in(session, accounts.token_hash(token))
    return found.name if found is not None else None


# ---------------------------------------------------------------------------------------------------- passwords


def test_a_password_is_stored_with_its_cost_and_a_salt_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 128 * accounts.COST.n * accounts.COST.r == 32 * 2**20
    first, second = accounts.hash_password(PASSWORD), accounts.hash_password(PASSWORD)
    assert first.startswith("scrypt$32768$8$3$")
    assert first != second
    assert PASSWORD not in first
    assert accounts.matches(PASSWORD, first)
    assert not accounts.matches(PASSWORD + " ", first)


def test_a_password_made_at_another_cost_still_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = accounts.hash_password(PASSWORD)
    monkeypatch.setattr(accounts, "COST", Cost(n=2**6, r=4, p=2))
    assert accounts.matches(PASSWORD, hashed)
    assert accounts.hash_password(PASSWORD).startswith("scrypt$64$4$2$")


def test_an_unknown_name_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[tuple[int, int, int]] = []
    real = hashlib.scrypt

    def counted(password: bytes, **given: Any) -> bytes:
        spent.append((given["n"], given["r"], given["p"]))
        return real(password, **given)

    hashed = accounts.hash_password(PASSWORD)
    monkeypatch.setattr(hashlib, "scrypt", counted)
    assert not accounts.matches(PASSWORD, None)
    assert not accounts.matches("wrong one", hashed)
    assert spent == [(CHEAP.n, CHEAP.r, CHEAP.p)] * 2


def test_a_password_typed_on_another_keyboard() -> None:
    hashed = accounts.hash_password(unicodedata.normalize("NFC", "schön genug"))
    assert accounts.matches(unicodedata.normalize("NFD", "schön genug"), hashed)


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
def test_passwords_of_the_wrong_length(password: str) -> None:
    with pytest.raises(AccountError, match="characters"):
        accounts.hash_password(password)
    assert not accounts.matches(password, accounts.hash_password("x" * 1024))


# ------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["anna", "Anna B.", "ann_3-x", "Zoë", "李雷", "7", "x" * 64])
def test_names(name: str) -> None:
    assert accounts.check_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", " ", "anna ", " anna", ".anna", "-anna", "_anna", "a/b", "a\nb", "anna\n", "a\r\nset-cookie: x", "a\0b",
        "<b>x</b>", "a$b", "${alert(1)}", "{{x}}", "a@b", "x" * 65, "agreement", "Oracle", "FILES", "a\u202eb",
        "a\u200bb",
    ],
)  # fmt: skip
def test_no_names(name: str) -> None:
    with pytest.raises(AccountError):
        accounts.check_name(name)


@given(st.text(max_size=70))
def test_a_name_holds_nothing_that_means_something_elsewhere(text: str) -> None:
    try:
        name = accounts.check_name(text)
    except AccountError:
        return
    assert 0 < len(name) <= 64
    assert all(c.isalnum() or c in " ._-" for c in name)
    assert not set(name) & (set(string.punctuation) - set("._-"))


def test_a_name_written_with_other_code_points_is_the_same_person(store: Store) -> None:
    add(store, unicodedata.normalize("NFD", "Zoë"))
    assert credentials(store, unicodedata.normalize("NFC", "Zoë")).name == unicodedata.normalize("NFC", "Zoë")
    with pytest.raises(AccountError, match="account already"):
        add(store, unicodedata.normalize("NFC", "Zoë"))


# ---------------------------------------------------------------------------------------------------- accounts


def test_the_first_account_is_an_administrators(store: Store) -> None:
    with store.read() as session:
        assert not accounts.any_account(session)
    assert add(store, "anna") == "admin"
    assert add(store, "bob") == "annotator"
    assert add(store, "cem", admin=True) == "admin"
    with store.read() as session:
        assert accounts.any_account(session)
        assert [(row.name, row.role) for row in accounts.listed(session)] == [
            ("anna", "admin"),
            ("bob", "annotator"),
            ("cem", "admin"),
        ]


@pytest.mark.parametrize("name", ["anna", "Anna", "ANNA"])
def test_a_taken_name(store: Store, name: str) -> None:
    add(store, "anna")
    with pytest.raises(AccountError, match="already"):
        add(store, name)


def test_a_name_of_the_program_is_not_taken_over(store: Store) -> None:
    with store.write() as session:
        session.add(Annotator(name="robot", kind="oracle"))
    with pytest.raises(AccountError, match="on record already"):
        add(store, "robot")


def test_somebody_who_labelled_without_a_password_keeps_the_row(store: Store) -> None:
    with store.write() as session:
        local = Annotator(name="local")
        session.add(local)
        session.flush()
        number = local.id
    with store.read() as session:
        assert accounts.credentials(session, "local") is None
        assert not accounts.any_account(session)
    add(store, "local")
    assert credentials(store, "local").annotator_id == number


def test_removed_is_out_and_may_come_again(store: Store) -> None:
    add(store, "anna")
    add(store, "bob")
    token, number = begin(store, "bob"), credentials(store, "bob").annotator_id
    with store.write() as session:
        accounts.remove(session, "bob")
    assert whose(store, token) is None
    with store.read() as session:
        assert accounts.credentials(session, "bob") is None
        assert session.get_one(Annotator, number).disabled  # the row stays, and every decision with it
        assert [row.name for row in accounts.listed(session)] == ["anna"]
    with pytest.raises(AccountError, match="no account"), store.write() as session:
        accounts.remove(session, "bob")
    add(store, "bob", password="another one")
    assert credentials(store, "bob").annotator_id == number
    assert whose(store, token) is None


def test_the_last_administrator_stays_while_there_are_others(store: Store) -> None:
    add(store, "anna")
    add(store, "bob")
    with pytest.raises(AccountError, match="last administrator"), store.write() as session:
        accounts.remove(session, "anna")
    assert credentials(store, "anna").role == "admin"
    with store.write() as session:
        accounts.remove(session, "bob")
    with store.write() as session:
        accounts.remove(session, "anna")
    with store.read() as session:
        assert not accounts.any_account(session)


def test_a_new_password_ends_the_sessions(store: Store) -> None:
    add(store, "anna")
    add(store, "bob")
    token, other = begin(store, "anna"), begin(store, "bob")
    hashed = accounts.hash_password("something new")
    with store.write() as session:
        accounts.set_password(session, "anna", hashed)
    assert accounts.matches("something new", credentials(store, "anna").password_hash)
    assert (whose(store, token), whose(store, other)) == (None, "bob")
    with pytest.raises(AccountError, match="no account 'eve'"), store.write() as session:
        accounts.set_password(session, "eve", hashed)


# ----------------------------------------------------------------------------------------------------- sessions


def test_a_token_is_not_in_the_record(store: Store, tmp_path: Path) -> None:
    add(store, "anna")
    tokens = {begin(store, "anna") for _ in range(3)}
    assert len(tokens) == 3
    assert all(len(token) == 43 for token in tokens)
    assert {whose(store, token) for token in tokens} == {"anna"}
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    for token in tokens:
        assert token.encode() not in stored
        assert accounts.token_hash(token).encode() in stored
    assert PASSWORD.encode() not in stored


def test_a_session_runs_out_and_is_cleared_away(store: Store) -> None:
    add(store, "anna")
    old = begin(store, "anna")
    with store.write() as session:
        session.execute(update(WebSession).values(expires_at=now() - dt.timedelta(seconds=1)))
    assert whose(store, old) is None
    with store.read() as session:
        assert accounts.listed(session)[0].sessions == 0
    new = begin(store, "anna", hours=2)
    with store.read() as session:
        [row] = session.scalars(select(WebSession))
    assert row.token_hash == accounts.token_hash(new)
    assert dt.timedelta(hours=1, minutes=59) < row.expires_at - now() <= dt.timedelta(hours=2)


def test_ending_one_session_leaves_the_others(store: Store) -> None:
    add(store, "anna")
    add(store, "bob")
    first, second, other = begin(store, "anna"), begin(store, "anna"), begin(store, "bob")
    with store.write() as session:
        accounts.end(session, accounts.token_hash(first))
        accounts.end(session, "nobody's")
    assert [whose(store, token) for token in (first, second, other)] == [None, "anna", "bob"]
    with store.write() as session:
        accounts.end_all(session, "anna")
    assert [whose(store, token) for token in (second, other)] == [None, "bob"]


@pytest.mark.parametrize("change", ["password", "removal"])
def test_a_password_checked_too_early_opens_no_session(store: Store, change: str) -> None:
    """Between the check, which takes a while, and the session the account may change."""
    add(store, "anna")
    add(store, "bob")
    checked = credentials(store, "bob")
    with store.write() as session:
        if change == "password":
            accounts.set_password(session, "bob", accounts.hash_password("something new"))
        else:
            accounts.remove(session, "bob")
    with store.write() as session:
        assert accounts.begin(session, checked, 1) is None
    with store.read() as session:
        assert list(session.scalars(select(WebSession))) == []
