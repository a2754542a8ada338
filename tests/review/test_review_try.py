"""Trying the model: real bytes through the real network; refusals in one line; nothing kept."""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient

from labeler import Oracle
from labeler.review import try_out
from labeler.review.app import without_gradio
from labeler.rounds import Workspace
from tests.workspaces import CLASSES, draw


@pytest.fixture(scope="module")
def root(built: Path, truth: Path, compiled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a model, and the network to ask it with."""
    import shutil

    root = tmp_path_factory.mktemp("try") / "w"
    shutil.copytree(built, root)
    shutil.copytree(compiled, root / "db" / "cache" / "compiled")
    with Workspace.open(root, k=20) as opened:
        opened.round(annotator=Oracle.from_folder(truth))
    return root


@pytest.fixture
def served(root: Path) -> Iterator[tuple[TestClient, Workspace]]:
    with Workspace.open(root) as opened:
        yield TestClient(without_gradio(opened), base_url="http://127.0.0.1:7860"), opened


def left_over(opened: Workspace) -> list[Path]:
    folder = opened.paths.db / "cache" / "try"
    return list(folder.iterdir()) if folder.is_dir() else []


def test_what_it_says_is_what_predict_says(served: tuple[TestClient, Workspace], tmp_path: Path) -> None:
    client, opened = served
    for seed, label in ((901, CLASSES[0]), (902, CLASSES[1])):
        file = draw(tmp_path, seed, label)
        answer = client.post("/api/try", content=file.read_bytes())
        assert answer.status_code == 200
        said = opened.predict([file])[0]
        assert answer.json() == {name: said[name] for name in ("predicted", "probabilities", "model")}
        assert list(answer.json()["probabilities"]) == list(CLASSES)
        assert sum(answer.json()["probabilities"].values()) == pytest.approx(1)
    assert left_over(opened) == []
    with opened.store.read() as session:
        from sqlalchemy import func, select

        from labeler.record.tables import Image

        assert session.scalar(select(func.count()).select_from(Image)) == 60  # none was added


def test_the_picture_is_turned_as_its_camera_was(served: tuple[TestClient, Workspace], tmp_path: Path) -> None:
    client, _ = served
    upright = Pillow.open(draw(tmp_path, 903, CLASSES[1]))
    turned = io.BytesIO()
    exif = Pillow.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    upright.transpose(Pillow.Transpose.ROTATE_90).save(turned, format="PNG", exif=exif)
    plain = io.BytesIO()
    upright.save(plain, format="PNG")
    first, second = (client.post("/api/try", content=data.getvalue()).json() for data in (plain, turned))
    assert first["probabilities"] == pytest.approx(second["probabilities"])


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"this is no image", 400, "badImage"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), 400, "badImage"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", 400, "badImage"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", 400, "badImage"),
    ],
)
def test_bad_files_get_one_calm_line(
    served: tuple[TestClient, Workspace], content: bytes, status: int, code: str
) -> None:
    client, opened = served
    answer = client.post("/api/try", content=content)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    detail = answer.json()["detail"]
    assert detail
    assert "\n" not in detail
    assert str(opened.paths.root) not in detail
    assert left_over(opened) == []


def test_a_picture_of_too_many_pixels_is_refused(served: tuple[TestClient, Workspace]) -> None:
    client, opened = served
    bomb = io.BytesIO()
    Pillow.new("1", (20_000, 20_000)).save(bomb, format="PNG")
    answer = client.post("/api/try", content=bomb.getvalue())
    assert (answer.status_code, answer.json()["code"]) == (400, "badImage")
    assert left_over(opened) == []


def test_a_body_beyond_the_limit_is_refused(served: tuple[TestClient, Workspace]) -> None:
    client, opened = served
    answer = client.post("/api/try", content=bytes(try_out.MAX_BYTES + 1))
    assert answer.status_code == 413
    assert left_over(opened) == []


def test_the_route_itself_counts_what_a_stream_brings(
    served: tuple[TestClient, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a guard that admits more, the route still stops reading."""
    client, _ = served
    monkeypatch.setattr(try_out, "MAX_BYTES", 1000)
    answer = client.post("/api/try", content=bytes(1001))
    assert (answer.status_code, answer.json()["code"]) == (413, "tooLarge")


def test_without_a_model_there_is_nothing_to_ask(client: TestClient, draw: Callable[..., None], tmp_path: Path) -> None:
    draw(tmp_path / "a.png", 1)
    answer = client.post("/api/try", content=(tmp_path / "a.png").read_bytes())
    assert (answer.status_code, answer.json()["code"]) == (503, "noModel")


def test_one_at_a_time_in_a_file_of_ones_own_that_always_goes(
    served: tuple[TestClient, Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, opened = served
    begun, finish, seen = threading.Event(), threading.Event(), []

    def slow(files: list[Path]) -> list[dict[str, object]]:
        seen.append((files[0].name, stat.S_IMODE(files[0].stat().st_mode), files[0].read_bytes()))
        begun.set()
        finish.wait(30)
        raise RuntimeError("the network broke")

    monkeypatch.setattr(opened, "predict", slow)
    monkeypatch.setattr(try_out, "WAIT_S", 0.05)
    quiet = TestClient(client.app, base_url="http://127.0.0.1:7860", raise_server_exceptions=False)
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(quiet.post("/api/try", content=b"one").status_code))
    first.start()
    assert begun.wait(30)
    answer = client.post("/api/try", content=b"two")
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")
    finish.set()
    first.join()
    assert answers == [500]
    (name, mode, content), *others = seen
    assert (mode, content, others) == (0o600, b"one", [])
    assert "one" not in name
    assert left_over(opened) == []
    monkeypatch.undo()
    assert client.post("/api/try", content=b"again").json()["code"] == "badImage"  # the turn was given back


def test_what_a_killed_server_left_is_cleared_away(root: Path) -> None:
    folder = root / "db" / "cache" / "try"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "left").write_bytes(b"somebody's photograph")
    with Workspace.open(root) as opened:
        without_gradio(opened)
        assert left_over(opened) == []


def test_another_site_cannot_send_one(served: tuple[TestClient, Workspace]) -> None:
    client, _ = served
    assert client.post("/api/try", content=b"x", headers={"origin": "http://evil.example"}).status_code == 403
    assert client.get("/api/try").status_code in {404, 405}
