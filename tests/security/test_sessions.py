"""Sessions: who gives out their names, who can read them, and when they end."""

from __future__ import annotations

import hashlib
import sqlite3

import httpx
import pytest

from tests.security.site import ADMIN, ANNOTATOR, OTHER, Site, sign_in, who


def planted(site: Site, client: httpx.Client, value: str) -> None:
    with site.visitor(ANNOTATOR) as known:
        [name] = known.cookies
    client.cookies.set(name, value, domain="127.0.0.1", path="/")


def token(client: httpx.Client) -> str:
    [value] = set(client.cookies.values())
    return value


def test_a_name_given_by_the_visitor_is_never_adopted(site: Site) -> None:
    """Session fixation: who plants a cookie in a browser does not share what is signed in there afterwards."""
    chosen = "A" * 43
    with site.visitor() as victim, site.visitor() as attacker:
        planted(site, attacker, chosen)
        assert who(attacker) is None
        planted(site, victim, chosen)
        answer = sign_in(victim, OTHER)
        [given] = [cookie.value for cookie in answer.cookies.jar]
        assert given != chosen
        assert len(given or "") == 43
        assert who(attacker) is None


def test_each_sign_in_has_a_name_of_its_own_and_ends_the_one_before(site: Site) -> None:
    with site.visitor() as client, site.visitor() as thief:
        sign_in(client, OTHER)
        first = token(client)
        planted(site, thief, first)
        assert who(thief) == OTHER
        answer = sign_in(client, ADMIN)
        assert answer.json()["role"] == "admin"
        assert first not in answer.headers["set-cookie"]
        assert who(thief) is None  # what was stolen before somebody else signed in here is worth nothing
        assert client.post("/logout").status_code == 200


def test_signing_out_ends_the_session_at_the_server_too(site: Site) -> None:
    with site.visitor() as client, site.visitor() as thief:
        sign_in(client, OTHER)
        planted(site, thief, token(client))
        assert who(thief) == OTHER
        answer = client.post("/logout")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert who(thief) is None


def test_the_cookie(site: Site) -> None:
    """Out of reach of scripts and of requests from other sites; behind a proxy with TLS never sent in the clear."""
    with site.visitor() as client:
        plain = sign_in(client, OTHER).headers.get_list("set-cookie")
    with site.visitor(**{"x-forwarded-proto": "https"}) as client:
        encrypted = sign_in(client, OTHER).headers.get_list("set-cookie")
    for lines, wanted in (
        (plain, {"httponly", "path=/", "samesite=lax"}),
        (encrypted, {"httponly", "path=/", "samesite=lax", "secure"}),
    ):
        [line] = lines
        value, *attributes = [part.strip().lower() for part in line.split(";")]
        assert set(attributes) == wanted
        assert "127.0.0.1" not in value


def test_the_record_holds_no_session_that_could_be_used(site: Site) -> None:
    """Whoever reads the record, or a backup of it, can neither sign in nor take over a browser."""
    with site.visitor(ANNOTATOR) as client:
        value = token(client)
    with sqlite3.connect(f"file:{site.root / 'db' / 'labeler.db'}?mode=ro", uri=True) as record:
        tables = [name for (name,) in record.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [str(row) for table in tables for row in record.execute(f'SELECT * FROM "{table}"')]  # noqa: S608
    record.close()
    text = "\n".join(rows)
    assert value not in text
    assert hashlib.sha256(value.encode()).hexdigest() in text  # so it was looked for in the right place
    assert "correct horse" not in text
    assert "scrypt$" in text


@pytest.mark.parametrize("value", ["", "x", "A" * 43, "' OR 1=1 --", "%00", "A" * 5000, "é" * 43])
def test_made_up_names(site: Site, value: str) -> None:
    status, _, _ = site.ask("/api/batch", f"cookie: labeler-0123456789abcdef={value}; x={value}")
    assert status == 401
