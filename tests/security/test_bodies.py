"""Bodies that are no JSON, or JSON that two readers read in two ways, for every endpoint that takes one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.review import strict_json
from tests.security.site import ANNOTATOR, Site

ENDPOINTS = ("/api/decisions", "/api/round", "/login", "/logout", "/gradio_api/queue/join", "/gradio_api/reset")
NESTED = b"[" * 900 + b"]" * 900
#: Each replaces the value of one name in a body that is otherwise right.
VALUES: dict[str, bytes] = {
    "not a number": b"NaN",
    "infinite": b"-Infinity",
    "too large for a float": b"1e999",
    "of 30 digits": b"9" * 30,
    "of 9000 digits": b"9" * 9000,
    "nested 900 deep": NESTED,
    "nested 10,000 deep": b"[" * 10_000,
    "objects 900 deep": b'{"a":' * 900 + b"1" + b"}" * 900,
    "half a surrogate pair": b'"\\ud800"',
    "a name that is half a pair": b'{"\\udfff": 1}',
    "a name twice": b'{"a": 1, "a": 2}',
    "no UTF-8": b'"\xff\xfe"',
    "a control character": b'"\n"',
    "unfinished": b'{"a": [1, 2',
    "two documents": b"1} {",
}
WHOLE: dict[str, bytes] = {
    "UTF-16": json.dumps({"round": 1}).encode("utf-16"),
    "a byte-order mark": b"\xef\xbb\xbf{}",
    "zero bytes": b"\0" * 100,
    "a comment": b"{} // yes",
    "single quotes": b"{'round': 1}",
}


def bodies(client: httpx.Client, site: Site) -> dict[str, dict[str, Any]]:
    op = {"op_id": "bodies-0001", "sha256": "0" * 64, "action": "flag", "label": None, "note": ""}
    return {
        "/api/decisions": {"round": 1, **site.identity(client), "ops": [op]},
        "/gradio_api/queue/join": {"data": [], "fn_index": 0, "session_hash": "bodies"},
        "/gradio_api/reset": {"event_id": "x"},
        "/login": {"name": "x", "password": "y"},
    }


def variants(body: dict[str, Any], value: bytes) -> list[bytes]:
    """The body with that value in the place of each of its own, and beside them."""
    marked = [json.dumps({**body, name: "@@"}) for name in [*body, "another"]]
    if "ops" in body:
        marked += [json.dumps({**body, "ops": [{**body["ops"][0], name: "@@"}]}) for name in body["ops"][0]]
    return [text.encode().replace(b'"@@"', value) for text in marked]


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_that_is_no_json(site: Site, kind: str) -> None:
    with site.visitor(ANNOTATOR) as client:
        for path, body in bodies(client, site).items():
            for text in variants(body, VALUES[kind]):
                answer = post(client, path, text)
                assert answer.status_code == 422, (path, text[:200])
                assert len(answer.content) < 400  # it is not sent back
        assert client.get("/api/status").status_code == 200


@pytest.mark.parametrize("kind", WHOLE)
def test_a_text_that_is_no_json(site: Site, kind: str) -> None:
    with site.visitor(ANNOTATOR) as client:
        for path in ENDPOINTS:
            assert post(client, path, WHOLE[kind]).status_code == 422, path


def post(client: httpx.Client, path: str, body: bytes) -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": "application/json"})


def test_a_refusal_is_small_whatever_was_sent(site: Site) -> None:
    """FastAPI's own would send every part back that does not fit, five times as much as came."""
    big: list[dict[str, Any]] = [
        {"ops": [{"a": "x" * 200_000}]},
        {"ops": [{} for _ in range(200)]},
        {f"name {number}": number for number in range(9000)},
        {"round": "x" * 200_000, "y" * 30_000: 1},
    ]
    with site.visitor(ANNOTATOR) as client:
        for body in big:
            answer = client.post("/api/decisions", json=body)
            assert answer.status_code == 422
            assert len(answer.content) < 4000
            assert "xxx" not in answer.text


@pytest.mark.parametrize("number", [0, -1, 2**31 + 1, 2**63, 10**18])
def test_numbers_that_no_record_holds(site: Site, number: int) -> None:
    with site.visitor(ANNOTATOR) as client:
        body = bodies(client, site)["/api/decisions"]
        assert client.post("/api/decisions", json={**body, "round": number}).status_code == 422
        op = {**body["ops"][0], "elapsed_ms": number or -5}
        assert client.post("/api/decisions", json={**body, "ops": [op]}).status_code == 422
        assert client.get("/api/batch", params={"after": number}).status_code == 422


def test_texts_that_no_record_holds(site: Site) -> None:
    with site.visitor(ANNOTATOR) as client:
        body = bodies(client, site)["/api/decisions"]
        for change in ({"note": "a\0b"}, {"note": "x" * 501}, {"op_id": "a\r\nset-cookie: x"}, {"sha256": "A" * 64}):
            op = {**body["ops"][0], **change}
            assert client.post("/api/decisions", json={**body, "ops": [op]}).status_code == 422


# ------------------------------------------------------------------------------------------------------ the reader

_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(_json, st.sampled_from([True, False]))
def test_what_is_json_is_taken(value: Any, ascii_only: bool) -> None:
    assert strict_json.fault(json.dumps(value, ensure_ascii=ascii_only).encode()) is None


@given(st.binary(max_size=60))
def test_any_bytes_are_taken_or_refused_and_nothing_else(body: bytes) -> None:
    fault = strict_json.fault(body)
    if fault is None:
        json.dumps(json.loads(body), allow_nan=False, ensure_ascii=False).encode()
    else:
        assert len(fault) < 100


@pytest.mark.parametrize("make", [lambda n: b"[" * n + b"]" * n, lambda n: b'{"a":' * n + b"0" + b"}" * n])
def test_how_deep(make: Callable[[int], bytes]) -> None:
    assert strict_json.fault(make(strict_json.DEEPEST)) is None
    assert strict_json.fault(make(strict_json.DEEPEST + 1)) == "lists or objects nested too deeply"
    assert strict_json.fault(b"[" + b"[]," * 50_000 + b"[]]") is None  # wide is not deep
