"""Requests made by chance from the API's own description, right ones and wrong ones, while somebody labels.

Schemathesis reads the OpenAPI document and makes requests that fit it and requests that do not; part of what it makes
up is replaced by what is really there (names, images, rounds), so that the requests get past the first check. Runs for
`LABELER_FUZZ_SECONDS` (default 45) from `LABELER_FUZZ_SEED` (default 0); every operation gets its turn in any case.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from sqlalchemy import select
from starlette.testclient import TestClient

from labeler.oracle import Oracle
from labeler.record import accounts as people
from labeler.record.tables import DecisionRow, Image, Note
from labeler.review import accounts
from labeler.review.api import workspace_token
from labeler.review.app import without_gradio
from labeler.rounds import Workspace
from tests.checks import assert_sound
from tests.workspaces import POOL, TEST

schemathesis = pytest.importorskip("schemathesis")

SECONDS = float(os.environ.get("LABELER_FUZZ_SECONDS", "45"))
SEED = int(os.environ.get("LABELER_FUZZ_SEED", "0"))
URL = "http://127.0.0.1:7860"
PASSWORD = "correct horse"
#: Requests of one operation before it is another's turn.
AT_A_TIME = 5
#: These would end the session that the other requests need: they are made by nobody in particular.
ENDS_SESSIONS = {"/logout", "/logout-everywhere", "/login"}
ROLES = ("anna", "anna", "bob", "bob", None)
#: Turns of an operation for one of every other: this one writes.
TURNS = {"/api/decisions": 6}


@pytest.fixture(scope="module")
def fuzzed(built: Path, truth: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """An administrator, an annotator, a model, and a round that waits."""
    root = tmp_path_factory.mktemp("fuzzed") / "w"
    shutil.copytree(built, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(people, "COST", people.Cost(n=2**4, r=8, p=1))
        hashed = people.hash_password(PASSWORD)
        with Workspace.open(root, k=8) as opened:
            opened.round(annotator=Oracle.from_folder(truth))
            opened.run_round_job()
            with opened.store.write() as session:
                for name in ("anna", "bob"):
                    people.add(session, name, hashed, admin=name == "anna")
            yield opened


class Visitors:
    """Browsers of an administrator, an annotator and a stranger, and what they were told is on record."""

    def __init__(self, opened: Workspace) -> None:
        self.opened = opened
        self.app = without_gradio(opened)
        self.client = TestClient(self.app, base_url=URL, raise_server_exceptions=False, follow_redirects=False)
        self.cookies: dict[str | None, str] = {None: ""}
        self.acknowledged: set[str] = set()
        self.statuses: Counter[str] = Counter()
        with opened.store.read() as session:
            images = list(session.scalars(select(Image)))
        self.images = [(image.id, image.sha256) for image in images]
        for name in ("anna", "bob"):
            answer = self.client.post("/login", json={"name": name, "password": PASSWORD})
            assert answer.status_code == 200
            [line] = answer.headers.get_list("set-cookie")
            self.cookies[name] = line.partition(";")[0]
            self.client.cookies.clear()

    def ask(self, case: Any, dice: random.Random) -> None:
        """Make a request, as one of them, and hold the answer against the description."""
        who = None if case.path in ENDS_SESSIONS else dice.choice(ROLES)
        self._make_real(case, who, dice)
        request = case.as_transport_kwargs(base_url=URL)
        headers = {name: value for name, value in request.pop("headers", {}).items() if name.lower() != "cookie"}
        request.pop("cookies", None)
        answer = self.client.request(**request, headers={**headers, "cookie": self.cookies[who]})
        self.client.cookies.clear()
        self.statuses[f"{case.method} {case.path} {answer.status_code}"] += 1
        shown = (case.as_curl_command(), answer.status_code, answer.text[:2000])
        assert answer.status_code < 500, shown
        for sign in ("Traceback", str(self.opened.paths.root), "is locked"):
            assert sign not in answer.text or sign in str(request), shown
        case.validate_response(answer, checks=CHECKS)
        if case.path == "/api/decisions" and answer.status_code == 200:
            self.acknowledged |= {ack["op_id"] for ack in answer.json()["acks"] if ack["stored"]}

    def _make_real(self, case: Any, who: str | None, dice: random.Random) -> None:
        """Put what is really there into most places that take it."""
        number, sha = dice.choice(self.images)
        if isinstance(case.path_parameters, dict) and "image_id" in case.path_parameters and dice.random() < 0.7:
            case.path_parameters["image_id"] = number
            if isinstance(case.query, dict) and dice.random() < 0.7:
                case.query["v"] = sha
        if case.path != "/api/decisions" or not isinstance(case.body, dict) or dice.random() < 0.15:
            return
        case.body |= {"expected_user": who or "anna", "workspace": workspace_token(self.opened)}
        case.body["round"] = dice.choice([None, 1, 2, 2, 3, case.body.get("round")])
        ops = case.body.get("ops")
        for op in ops if isinstance(ops, list) else []:
            if isinstance(op, dict) and dice.random() < 0.8:
                op["sha256"] = dice.choice(self.images)[1]
                op["op_id"] = f"fuzz-{dice.randrange(10**9):09d}"
                if op.get("action") in ("confirm", "correct") and dice.random() < 0.8:
                    op["label"] = dice.choice(self.opened.settings.classes)


class Labelling(threading.Thread):
    """Somebody who goes on labelling meanwhile, and takes some of it back; nothing of it may fail or be lost."""

    def __init__(self, visitors: Visitors) -> None:
        super().__init__(daemon=True)
        self.visitors = visitors
        self.ending = threading.Event()
        self.stored: set[str] = set()
        self.failed: list[str] = []

    def run(self) -> None:
        opened = self.visitors.opened
        identity = {"expected_user": "bob", "workspace": workspace_token(opened)}
        headers = {"cookie": self.visitors.cookies["bob"]}
        dice = random.Random(SEED)
        with TestClient(self.visitors.app, base_url=URL, raise_server_exceptions=False, headers=headers) as client:
            while not self.ending.wait(0.05):
                sha = dice.choice(self.visitors.images)[1]
                does: dict[str, Any] = {"action": "correct", "label": "round"}
                if dice.random() < 0.5:
                    does = {"action": "undo", "label": None}
                op = {"op_id": f"label-{len(self.stored):06d}-{dice.randrange(10**6)}", "sha256": sha, **does}
                answer = client.post("/api/decisions", json={"round": None, **identity, "ops": [op]})
                if answer.status_code != 200 or answer.json()["acks"][0]["error"] is not None:
                    self.failed.append(answer.text)
                elif answer.json()["acks"][0]["stored"]:
                    self.stored.add(op["op_id"])


def _checks() -> list[Any]:
    from schemathesis.checks import load_all_checks

    load_all_checks()
    from schemathesis import checks

    names = (
        "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
        "response_schema_conformance",
    )  # fmt: skip
    return list(checks.CHECKS.get_by_names(names))


CHECKS = _checks()


def _some(visitors: Visitors, strategy: Any, number: int) -> None:
    """A few requests of one operation, the same for the same number."""

    @seed(number)
    @settings(
        max_examples=AT_A_TIME,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy, dice=st.randoms(use_true_random=False))
    def asking(case: Any, dice: random.Random) -> None:
        visitors.ask(case, dice)

    # An operation that takes nothing has nothing to get wrong.
    with contextlib.suppress(Unsatisfiable):
        asking()


def test_requests_by_chance(fuzzed: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "COST", people.Cost(n=2**4, r=8, p=1))
    monkeypatch.setattr(accounts, "FREE_BY_NAME", 10**6)
    monkeypatch.setattr(accounts, "FREE_BY_ADDRESS", 10**6)
    visitors = Visitors(fuzzed)
    schema = schemathesis.openapi.from_dict(visitors.app.openapi())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 12
    modes = list(schemathesis.GenerationMode)  # what fits the description, and what does not
    made = [(operation.path, operation.as_strategy(generation_mode=mode)) for operation in operations for mode in modes]
    strategies = [strategy for path, strategy in made for _ in range(TURNS.get(path, 1))]
    labelling = Labelling(visitors)
    with visitors.client:
        labelling.start()
        try:
            began, turn = time.monotonic(), 0
            while turn == 0 or time.monotonic() - began < SECONDS:
                for number, strategy in enumerate(strategies):
                    if turn == 0 or time.monotonic() - began < SECONDS:
                        _some(visitors, strategy, SEED + 1000 * turn + number)
                turn += 1
        finally:
            labelling.ending.set()
            labelling.join()
    print(f"{sum(visitors.statuses.values())} requests in {turn} turns, seed {SEED}:")
    print("\n".join(f"  {count:6d} {what}" for what, count in sorted(visitors.statuses.items())))
    _nothing_lost(fuzzed, visitors, labelling)


def _nothing_lost(opened: Workspace, visitors: Visitors, labelling: Labelling) -> None:
    assert labelling.failed == []
    assert len(labelling.stored) > 5
    with opened.store.read() as session:
        known = set(session.scalars(select(DecisionRow.op_id))) | set(session.scalars(select(Note.op_id)))
    assert visitors.acknowledged - known == set()
    assert labelling.stored - known == set()
    assert len(visitors.acknowledged) > 5  # the requests did get through to the record
    opened.resume()
    assert_sound(opened, POOL + TEST)
