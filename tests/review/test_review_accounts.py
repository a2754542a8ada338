"""Signing in and out through the real application: pages, cookies, sessions, and whoever tries without a right to."""

from __future__ import annotations

import asyncio
import datetime as dt
import html
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from labeler.record import accounts as people
from labeler.record.tables import Annotator, WebSession, now
from labeler.review import accounts
from labeler.review.app import without_gradio
from labeler.review.attempts import Attempts
from labeler.rounds import Workspace

URL = "http://127.0.0.1:7860"
PASSWORD = "correct horse"
Propose = Callable[..., int]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords that take no time, and a record that is asked each time."""
    monkeypatch.setattr(people, "COST", people.Cost(n=2**4, r=8, p=1))
    monkeypatch.setattr(accounts, "BELIEVED_S", 0.0)


def add(workspace: Workspace, name: str, password: str = PASSWORD, *, admin: bool = False) -> None:
    hashed = people.hash_password(password)
    with workspace.store.write() as session:
        people.add(session, name, hashed, admin=admin)


@pytest.fixture
def app(workspace: Workspace) -> FastAPI:
    """With anna, an administrator, and bob, an annotator."""
    add(workspace, "anna")
    add(workspace, "bob")
    return without_gradio(workspace)


@pytest.fixture
def visit(app: FastAPI) -> Iterator[Callable[..., TestClient]]:
    """Browsers, each with cookies of its own."""
    opened: list[TestClient] = []

    def visiting(name: str | None = None, url: str = URL, **more: Any) -> TestClient:
        client = TestClient(app, base_url=url, follow_redirects=False, **more)
        client.__enter__()  # one event loop for all its requests
        opened.append(client)
        if name is not None:
            assert sign_in(client, name).status_code == 200
        return client

    yield visiting
    for client in opened:
        client.close()


Visit = Callable[..., TestClient]


def sign_in(client: TestClient, name: str, password: str = PASSWORD, **headers: str) -> Any:
    return client.post("/login", json={"name": name, "password": password}, headers=headers)


def user(client: TestClient) -> str | None:
    answer = client.get("/api/batch")
    assert answer.status_code in {200, 401}
    return str(answer.json()["user"]) if answer.status_code == 200 else None


def cookie(client: TestClient) -> tuple[str, str]:
    [(name, value)] = client.cookies.items()
    return name, value


# -------------------------------------------------------------------------------------------------- who has to


def test_nobody_signs_in_while_there_is_no_account(client: TestClient) -> None:
    assert client.get("/api/batch").json()["user"] == "local"
    answer = client.get("/login", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert sign_in(client, "local").status_code == 401
    assert client.post("/logout-everywhere").status_code == 200
    assert client.get("/api/batch").json()["user"] == "local"


def test_the_first_account_shuts_the_door_at_once_and_the_last_removal_opens_it(workspace: Workspace) -> None:
    with TestClient(without_gradio(workspace), base_url=URL) as client:
        assert user(client) == "local"
        add(workspace, "anna")
        assert user(client) is None
        with workspace.store.write() as session:
            people.remove(session, "anna")
        assert user(client) == "local"


def test_where_others_can_come_everybody_signs_in_even_without_accounts(workspace: Workspace) -> None:
    with TestClient(without_gradio(workspace, loopback=False), base_url="http://pool.example:7860") as client:
        assert user(client) is None
        assert client.get("/login").status_code == 200
        add(workspace, "anna")
        assert sign_in(client, "anna").status_code == 200
        assert user(client) == "anna"


def test_anonymous_is_shown_the_page_or_told(visit: Visit) -> None:
    client = visit()
    answer = client.get("/", headers={"accept": "text/html,*/*"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    for path in (
        "/",
        "/api/batch",
        "/api/status",
        "/image/1?v=" + "0" * 64,
        "/static/app/label.js",
        "/metrics",
        "/config",
    ):
        answer = client.get(path)
        assert (answer.status_code, answer.json()) == (401, {"detail": "not signed in"}), path
    for path in ("/api/decisions", "/api/round", "/api/try", "/logout-everywhere", "/gradio_api/queue/join"):
        assert client.post(path, json={}).status_code == 401, path


# ------------------------------------------------------------------------------------------------------ signing in


def test_signing_in_with_json(visit: Visit) -> None:
    client = visit()
    answer = sign_in(client, "anna")
    assert (answer.status_code, answer.json()) == (200, {"user": "anna", "role": "admin"})
    assert answer.headers["cache-control"] == "no-store"
    assert user(client) == "anna"
    assert sign_in(visit(), "bob").json() == {"user": "bob", "role": "annotator"}


def test_signing_in_with_the_page(visit: Visit) -> None:
    client = visit()
    page = client.get("/login")
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["cache-control"] == "no-store"
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    headers = {"origin": URL, "sec-fetch-site": "same-origin"}
    answer = client.post("/login", data={"name": " anna ", "password": PASSWORD}, headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["cache-control"] == "no-store"
    assert user(client) == "anna"
    assert client.get("/login").headers["location"] == "/"


@pytest.mark.parametrize(
    ("name", "password"), [("anna", "wrong"), ("nobody", PASSWORD), ("anna", ""), ("", ""), ("x" * 99, "y")]
)
def test_a_wrong_name_and_a_wrong_password_look_alike(visit: Visit, name: str, password: str) -> None:
    client = visit()
    page = client.post("/login", data={"name": name, "password": password})
    assert page.status_code == 401
    assert "Name or password is wrong." in page.text
    assert page.headers["cache-control"] == "no-store"
    assert not client.cookies
    if 0 < len(name) < 65 and password:
        answer = sign_in(client, name, password)
        assert (answer.status_code, answer.json()) == (401, {"detail": "Name or password is wrong."})
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b'{"name": "anna"}', b'{"name": 1, "password": 2}', b"\xff\xfe", b"[" * 10_000,
        b'{"name": "anna", "password": "x", "role": "admin"}', b'{"name": ["anna"], "password": {"$ne": ""}}',
    ],
)  # fmt: skip
def test_broken_json_is_no_sign_in(visit: Visit, body: bytes) -> None:
    answer = visit().post("/login", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", [b"\xff=\xfe", b"&".join(b"a=1" for _ in range(100)), b"name=anna", b"%00=%00"])
def test_broken_forms_are_no_sign_in(visit: Visit, body: bytes) -> None:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    assert visit().post("/login", content=body, headers=headers).status_code == 401


def test_other_kinds_of_body_are_not_read(visit: Visit) -> None:
    body = b'{"name": "anna", "password": "correct horse"}'
    for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
        answer = visit().post("/login", content=body, headers={"content-type": kind})
        assert (answer.status_code, answer.headers["cache-control"]) == (415, "no-store")
    assert (
        visit().post("/login", content=b" " * 20_000, headers={"content-type": "application/json"}).status_code == 413
    )


def test_what_was_typed_comes_back_as_text(visit: Visit) -> None:
    name = '"><script>alert(1)</script>${alert(2)}$title'
    page = visit().post("/login", data={"name": name, "password": "wrong"})
    assert "<script" not in page.text
    assert f'value="{html.escape(name)}"' in page.text
    assert "wrong" not in page.text.replace("is wrong", "")  # the password does not


def test_a_script_in_a_name_on_record_is_text_to_whoever_asks(visit: Visit, workspace: Workspace) -> None:
    """`users add` refuses such a name; a record written by another hand may hold it."""
    trap = "<img src=x onerror=alert(1)>\r\nx-evil: 1"
    with workspace.store.write() as session:
        session.execute(update(Annotator).where(Annotator.name == "bob").values(name=trap))
    client = visit()
    answer = sign_in(client, trap)
    assert (answer.status_code, answer.json()["user"]) == (200, trap)
    assert answer.headers["content-type"] == "application/json"
    assert "x-evil" not in answer.headers
    assert client.get("/api/batch").headers["content-type"] == "application/json"
    assert user(client) == trap


# ---------------------------------------------------------------------------------------------------------- cookie


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(visit: Visit) -> None:
    answer = sign_in(visit(), "anna")
    [line] = answer.headers.get_list("set-cookie")
    name, *rest = [part.strip().lower() for part in line.split(";")]
    assert set(rest) == {"httponly", "path=/", "samesite=lax"}
    assert len(name.partition("=")[2]) == 43
    encrypted = sign_in(visit(url="https://127.0.0.1:7860"), "anna").headers["set-cookie"]
    assert "secure" in encrypted.lower()


def test_a_proxys_word_is_not_taken_by_the_application_itself(visit: Visit) -> None:
    """The server believes a proxy on this machine and tells so in the scheme; a header alone says nothing."""
    answer = sign_in(visit(), "anna", **{"x-forwarded-proto": "https"})
    assert "secure" not in answer.headers["set-cookie"].lower()


def test_two_workspaces_on_one_machine_have_cookies_of_their_own(visit: Visit, twelve: Path, tmp_path: Path) -> None:
    client = visit("anna")
    shutil.copytree(twelve, tmp_path / "other")
    with Workspace.open(tmp_path / "other") as opened:
        add(opened, "anna")
        with TestClient(without_gradio(opened), base_url=URL) as other:
            assert sign_in(other, "anna").status_code == 200
            assert cookie(other)[0] != cookie(client)[0]


def test_each_sign_in_has_a_token_of_its_own_and_a_planted_one_is_worth_nothing(visit: Visit) -> None:
    name, first = cookie(visit("anna"))
    planted, victim = f"{name}={'A' * 43}", visit()
    assert sign_in(victim, "anna", cookie=planted).status_code == 200
    assert cookie(victim)[1] not in {first, "A" * 43}
    assert visit().get("/api/batch", headers={"cookie": planted}).status_code == 401


def test_signing_in_again_ends_the_session_before(visit: Visit) -> None:
    client = visit("anna")
    name, first = cookie(client)
    assert sign_in(client, "bob").status_code == 200
    assert user(client) == "bob"
    thief = visit()
    thief.cookies.set(name, first)
    assert user(thief) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token[:-1],
        lambda token: token + "A",
        lambda token: token.swapcase(),
        lambda token: people.token_hash(token),
        lambda token: "",
        lambda token: "' OR 1=1 --",
        lambda token: "anna",
    ],
)
def test_a_tampered_cookie(visit: Visit, change: Callable[[str], str]) -> None:
    client = visit("anna")
    name, token = cookie(client)
    stranger = visit()
    answer = stranger.get("/api/batch", headers={"cookie": f"{name}={change(token)}"})
    assert answer.status_code == 401
    assert stranger.get("/api/batch", headers={"cookie": f"{name}={token}"}).status_code == 200


# ----------------------------------------------------------------------------------------------------- signing out


def test_signing_out_ends_this_browser_only(visit: Visit) -> None:
    here, there = visit("anna"), visit("anna")
    name, token = cookie(here)
    answer = here.post("/logout")
    assert (answer.status_code, answer.json()) == (200, {"detail": "signed out"})
    assert not here.cookies
    here.cookies.set(name, token)
    assert user(here) is None
    assert user(there) == "anna"
    page = there.post("/logout", headers={"accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert visit().post("/logout").status_code == 200


def test_signing_out_everywhere(visit: Visit) -> None:
    first, second, bob = visit("anna"), visit("anna"), visit("bob")
    assert first.post("/logout-everywhere").status_code == 200
    assert [user(client) for client in (first, second, bob)] == [None, None, "bob"]


def test_a_foreign_page_signs_nobody_in_or_out(visit: Visit) -> None:
    client = visit("anna")
    for headers in ({"origin": "http://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}):
        assert client.post("/logout", headers=headers).status_code == 403
        assert client.post("/logout-everywhere", headers=headers).status_code == 403
        form = {"name": "bob", "password": PASSWORD}
        assert client.post("/login", data=form, headers=headers).status_code == 403
    assert client.get("/logout").status_code == 405
    assert user(client) == "anna"


# -------------------------------------------------------------------------------------------------------- sessions


def test_a_session_that_ran_out(visit: Visit, workspace: Workspace) -> None:
    client = visit("anna")
    with workspace.store.write() as session:
        session.execute(update(WebSession).values(expires_at=now() - dt.timedelta(seconds=1)))
    assert user(client) is None


def test_a_session_that_runs_out_while_it_is_believed(
    visit: Visit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = visit("anna")
    monkeypatch.setattr(accounts, "BELIEVED_S", 3600.0)
    with workspace.store.write() as session:
        session.execute(update(WebSession).values(expires_at=now() + dt.timedelta(seconds=1)))
    assert user(client) == "anna"
    time.sleep(1.1)
    assert user(client) is None


def test_sessions_last_as_long_as_the_setting_says(workspace: Workspace, visit: Visit) -> None:
    visit("anna")
    with workspace.store.read() as session:
        [row] = session.scalars(select(WebSession))
    hours = (row.expires_at - now()) / dt.timedelta(hours=1)
    assert workspace.settings.session_hours - 0.1 < hours <= workspace.settings.session_hours


def test_a_session_survives_a_restart(workspace: Workspace, visit: Visit) -> None:
    client = visit("anna")
    name, token = cookie(client)
    with Workspace.open(workspace.paths.root) as again, TestClient(without_gradio(again), base_url=URL) as later:
        later.cookies.set(name, token)
        assert user(later) == "anna"


@pytest.mark.parametrize("change", ["removed", "password", "role"])
def test_what_the_shell_changes_is_believed_two_seconds_at_most(
    visit: Visit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(accounts, "BELIEVED_S", 1.0)
    client = visit("bob")
    assert user(client) == "bob"
    hashed = people.hash_password("something new")
    with workspace.store.write() as session:
        if change == "removed":
            people.remove(session, "bob")
        elif change == "password":
            people.set_password(session, "bob", hashed)
        else:
            session.execute(update(Annotator).where(Annotator.name == "bob").values(role="admin"))
    assert user(client) == "bob"  # asked within the second: what is under test is that this ends
    time.sleep(1.1)
    if change == "role":
        assert client.get("/metrics").status_code != 403
    else:
        assert user(client) is None


def test_the_record_is_not_asked_for_every_request(
    visit: Visit, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "BELIEVED_S", 3600.0)
    asked: list[str] = []
    real = people.signed_in

    def noted(session: Session, hashed: str) -> people.SignedIn | None:
        asked.append(hashed)
        return real(session, hashed)

    monkeypatch.setattr(people, "signed_in", noted)
    client = visit("anna")
    for _ in range(20):
        assert user(client) == "anna"
    assert asked.count(people.token_hash(cookie(client)[1])) == 1
    assert client.post("/logout").status_code == 200
    assert user(client) is None


def test_what_is_remembered_of_strangers_is_bounded(
    visit: Visit, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    monkeypatch.setattr(accounts, "BELIEVED_S", 3600.0)
    monkeypatch.setattr(accounts, "REMEMBERED", 8)
    door = accounts.Door(workspace, "session", loopback=True)

    async def knock() -> None:
        for number in range(30):
            assert not (await door.admit(f"session={number:043d}")).user
            assert len(door._seen) <= 8

    client = visit("anna")
    threading.Thread(target=lambda: asyncio.run(knock())).run()
    assert user(client) == "anna"


def test_two_people_in_one_browser(visit: Visit, workspace: Workspace, propose: Propose) -> None:
    """A tab of anna's is still open when bob signs in: what it sends is not put on bob's name."""
    propose()
    client = visit("anna")
    batch = client.get("/api/batch").json()
    assert sign_in(client, "bob").status_code == 200
    op = {"op_id": "operation-1", "sha256": "0" * 64, "action": "skip", "label": None, "elapsed_ms": 1}
    body = {"round": batch["round"], "expected_user": "anna", "workspace": batch["workspace"], "ops": [op]}
    assert client.post("/api/decisions", json=body).status_code == 409
    assert client.post("/api/decisions", json={**body, "expected_user": "bob"}).status_code == 200


# -------------------------------------------------------------------------------------------------- brute force


def test_guessing_is_slowed_down_by_name(visit: Visit) -> None:
    client = visit()
    answers = [sign_in(client, "anna", f"guess {n}") for n in range(8)]
    assert [answer.status_code for answer in answers[:5]] == [401] * 5
    assert [answer.status_code for answer in answers[5:]] == [429] * 3
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].headers["cache-control"] == "no-store"
    assert sign_in(client, "ANNA").status_code == 429
    assert sign_in(client, "anna").status_code == 429  # even with the right one: a guess must not tell
    page = client.post("/login", data={"name": "anna", "password": PASSWORD})
    assert page.status_code == 429
    assert "Too many attempts" in page.text
    assert "retry-after" in page.headers
    assert sign_in(client, "bob").status_code == 200
    time.sleep(int(answers[-1].headers["retry-after"]) + 0.1)
    assert sign_in(client, "anna").status_code == 200
    assert sign_in(client, "anna", "wrong").status_code == 401  # and all is forgotten


def test_guessing_names_is_slowed_down_by_address(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    client = visit(client=("192.0.2.7", 4000))
    answers = [sign_in(client, f"name {n}", "guess").status_code for n in range(accounts.FREE_BY_ADDRESS + 1)]
    assert answers == [401] * accounts.FREE_BY_ADDRESS + [429]
    assert sign_in(visit(client=("192.0.2.8", 4000)), "anna").status_code == 200


def test_an_ipv6_network_counts_as_one_address(visit: Visit) -> None:
    visitors = [visit(client=(f"2001:db8::{n:x}", 1)) for n in range(accounts.FREE_BY_ADDRESS + 1)]
    answers = [sign_in(visitor, f"name {n}", "guess").status_code for n, visitor in enumerate(visitors)]
    assert answers[-1] == 429
    assert sign_in(visit(client=("2001:db8:0:1::1", 1)), "anna").status_code == 200


def test_a_hundred_guesses_at_once_are_a_hundred(workspace: Workspace, app: FastAPI) -> None:
    """They count when they begin: none slips through while others are being looked at."""
    door = accounts.Door(workspace, "session", loopback=True)
    looked_at: list[str] = []
    real = people.matches

    def watched(password: str, hashed: str | None) -> bool:
        looked_at.append(password)
        return real(password, hashed)

    async def guess(n: int) -> int:
        try:
            await door.sign_in("anna", f"guess {n}", f"10.0.0.{n}", "")
        except accounts.Refused as refused:
            return refused.status
        return 200

    async def all_at_once() -> list[int]:
        return list(await asyncio.gather(*(guess(n) for n in range(100))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "matches", watched)
        answers = _aside(all_at_once)
    assert sorted(answers) == [401] * 5 + [429] * 95
    assert len(looked_at) == 5


def test_two_passwords_at_a_time_and_no_endless_queue(workspace: Workspace, app: FastAPI) -> None:
    door = accounts.Door(workspace, "session", loopback=True)
    running, most, lock = 0, 0, threading.Lock()

    def slow(_password: str, _hashed: str | None) -> bool:
        nonlocal running, most
        assert threading.current_thread() is not threading.main_thread()
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return False

    async def try_once(n: int) -> int:
        await asyncio.sleep(n / 10_000)
        try:
            await door.sign_in(f"name {n}", "guess", f"10.0.{n}.1", "")
        except accounts.Refused as refused:
            return refused.status
        return 200

    async def all_at_once() -> list[int]:
        return list(await asyncio.gather(*(try_once(n) for n in range(100))))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "matches", slow)
        answers = _aside(all_at_once)
    assert most == accounts.AT_ONCE
    assert answers.count(429) > 0
    assert answers.count(401) >= accounts.WAITING
    assert door._waiting == 0


def _aside(work: Callable[[], Any]) -> Any:
    """Run on an event loop of another thread: a browser's loop may be running in this one."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(asyncio.run(work())))
    thread.start()
    thread.join()
    return results[0]


def test_pauses_grow_to_a_minute_and_end() -> None:
    moment = 0.0
    tries = Attempts(3, lambda: moment)
    pauses = []
    for _ in range(12):
        tries.begin("anna")
        pauses.append(tries.pause("anna"))
        moment += pauses[-1]
    assert pauses == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert tries.pause("anna") == 0
    assert tries.pause("bob") == 0
    moment += 901
    tries.begin("anna")
    assert tries.pause("anna") == 0


def test_a_right_password_is_no_failure_of_its_address() -> None:
    tries = Attempts(2, lambda: 0.0)
    for _ in range(10):
        tries.begin("office")
        tries.give_back("office")
    assert tries.pause("office") == 0
    tries.begin("office")
    tries.begin("office")
    assert tries.pause("office") == 1
    tries.forget("office")
    tries.give_back("office")
    assert tries.pause("office") == 0


def test_tries_of_a_million_names_are_not_all_kept() -> None:
    tries = Attempts(1, lambda: 0.0, room=100)
    tries.begin("first")
    for n in range(1000):
        tries.begin(f"name {n}")
        assert len(tries) <= 100
    assert tries.pause("first") == 0
    assert tries.pause("name 999") == 1
