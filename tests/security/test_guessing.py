"""Guessing passwords and names: slowed down, without shutting the door on whoever has the right one."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator

import httpx
import pytest

from labeler.record import accounts as people
from labeler.review.accounts import FREE_BY_ADDRESS, FREE_BY_NAME
from labeler.review.attempts import LONGEST_S, Turnstile
from tests.security.site import ANNOTATOR, OTHER, PASSWORD, Site, sign_in

HOME, STRANGER = "192.0.2.1", "203.0.113.9"


def guesses(site: Site, names: Iterator[str], addresses: Iterator[str], free: int) -> None:
    """The free ones are looked at; soon after comes a pause. A busy machine may take as long as the first pauses."""
    statuses: list[int] = []
    while 429 not in statuses and len(statuses) < free + 6:
        with httpx.Client(base_url=site.url, headers={"x-forwarded-for": next(addresses)}, timeout=60) as client:
            statuses.append(sign_in(client, next(names), "a guess").status_code)
    assert statuses[:free] == [401] * free
    assert statuses[-1] == 429


def test_the_last_proxy_is_believed_and_not_what_the_visitor_wrote(site: Site) -> None:
    """A proxy adds the address it saw to what came with the request: the made-up part before does not count.

    Nor do bodies count that are no sign-in, which cost nothing.
    """
    seen = site.address()
    with httpx.Client(base_url=site.url, headers={"x-forwarded-for": seen}, timeout=60) as client:
        assert [client.post("/login", json={"name": "x"}).status_code for _ in range(30)] == [422] * 30
    forged = (f"10.9.8.{number}, {seen}" for number in itertools.count())
    guesses(site, (f"somebody {number}" for number in itertools.count()), forged, FREE_BY_ADDRESS)


def test_a_person_is_not_locked_out_by_a_stranger_who_keeps_guessing() -> None:
    moment = 0.0
    gate = Turnstile(FREE_BY_NAME, FREE_BY_ADDRESS, lambda: moment)
    gate.begin("carl", HOME)
    gate.let_in("carl", HOME)
    for _ in range(500):  # at every moment that he may
        moment += gate.pause("carl", STRANGER)
        gate.begin("carl", STRANGER)
        assert gate.pause("carl", HOME) == 0
    assert gate.pause("carl", STRANGER) == LONGEST_S
    assert gate.pause("carl", "198.51.100.1") > 0  # from where he has never been he waits with the others
    for _ in range(FREE_BY_NAME + 1):
        gate.begin("carl", HOME)
    assert gate.pause("carl", HOME) > 0  # his own place is no free ticket
    moment += LONGEST_S
    assert gate.pause("carl", HOME) == 0


def test_the_same_through_the_server(site: Site) -> None:
    """A name is slowed down wherever the guesses come from, but for where its owner has been."""
    home = site.address()
    with httpx.Client(base_url=site.url, headers={"x-forwarded-for": home}, timeout=60) as owner:
        assert sign_in(owner, OTHER).status_code == 200
        guesses(site, itertools.repeat(OTHER), iter(site.address, ""), FREE_BY_NAME)
        assert sign_in(owner, OTHER).status_code == 200
    with site.visitor() as elsewhere:
        assert sign_in(elsewhere, OTHER).status_code in {200, 429}  # he may have had to wait


def test_spellings_of_a_name_share_their_tries() -> None:
    gate = Turnstile(FREE_BY_NAME, 1000, lambda: 0.0)
    spellings = ["Zoë", "ZOË", " zoë ", unicodedata.normalize("NFD", "Zoë"), "\uff3aoë", "zoë"]
    for number, name in enumerate(spellings):
        gate.begin(name, f"192.0.2.{number}")
    assert all(gate.pause(name, STRANGER) > 0 for name in spellings)


def test_what_is_remembered_is_bounded() -> None:
    gate = Turnstile(1, 1, lambda: 0.0, room=50)
    for number in range(500):
        gate.begin(f"name {number}", f"address {number}")
        gate.let_in(f"name {number}", f"address {number}")
    assert len(gate._known) == 50
    assert len(gate._by_name) <= 50
    assert len(gate._by_address) <= 50


def test_a_name_that_exists_and_one_that_does_not_are_answered_alike(site: Site) -> None:
    """Word for word and header for header, and after the same work."""
    answers = []
    for name in (ANNOTATOR, "nobody at all"):
        with site.visitor() as client:
            answers.append(sign_in(client, name, "not the password"))
            answers.append(client.post("/login", data={"name": name, "password": "not the password"}))
    shown = [
        (answer.status_code, {k: v for k, v in answer.headers.items() if k not in {"date", "x-request-id"}})
        for answer in answers
    ]
    for known, unknown in ((0, 2), (1, 3)):
        assert {**shown[known][1], "content-length": ""} == {**shown[unknown][1], "content-length": ""}
        assert shown[known][0] == shown[unknown][0] == 401
    texts = [answer.text.replace(ANNOTATOR, "").replace("nobody at all", "") for answer in answers]
    assert texts[0] == texts[2]
    assert texts[1] == texts[3]


def test_the_work_for_a_name_that_does_not_exist_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in runs of scrypt, and not in seconds, which lie on a busy machine."""
    assert people.COST.n * people.COST.r * people.COST.p >= 2**15 * 8 * 3  # what OWASP asks for
    monkeypatch.setattr(people, "COST", people.Cost(n=2**4, r=8, p=1))
    hashed = people.hash_password(PASSWORD)
    runs: list[people.Cost] = []
    derive = people._derive

    def counted(password: str, salt: bytes, cost: people.Cost) -> bytes:
        runs.append(cost)
        return derive(password, salt, cost)

    monkeypatch.setattr(people, "_derive", counted)
    assert not people.matches("not the password", hashed)
    assert not people.matches("not the password", None)
    assert people.matches(PASSWORD, hashed)
    assert runs == [people.COST] * 3
