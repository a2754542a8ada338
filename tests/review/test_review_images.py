"""Pictures for the page: found through the record, made by the safe decode, kept by content."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import select
from starlette.testclient import TestClient

from labeler.record.tables import Image
from labeler.review import images
from labeler.rounds import Workspace


@pytest.fixture
def some(workspace: Workspace) -> tuple[int, str, Path]:
    """Number, content and file of one image."""
    with workspace.store.read() as session:
        row = session.scalars(select(Image).order_by(Image.id)).first()
        assert row is not None
        return row.id, row.sha256, workspace.paths.absolute(row.path)


def opened(content: bytes) -> Pillow.Image:
    picture = Pillow.open(io.BytesIO(content))
    picture.load()
    return picture


def test_image_is_a_jpeg_that_browsers_keep(client: TestClient, some: tuple[int, str, Path]) -> None:
    number, sha, _ = some
    answer = client.get(f"/image/{number}?v={sha}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    picture = opened(answer.content)
    assert (picture.format, picture.size) == ("JPEG", (96, 64))


def test_sizes(client: TestClient, workspace: Workspace, tmp_path: Path, draw: Any) -> None:
    draw(tmp_path / "large.png", 99, (2000, 1000))
    workspace.import_images(tmp_path / "large.png", into="unlabelled")
    with workspace.store.read() as session:
        number, sha = session.execute(select(Image.id, Image.sha256).where(Image.width == 2000)).one()
    assert opened(client.get(f"/image/{number}?v={sha}&size=full").content).size == (1280, 640)
    assert opened(client.get(f"/image/{number}?v={sha}&size=thumb").content).size == (160, 80)
    assert client.get(f"/image/{number}?v={sha}&size=huge").status_code == 422


def test_orientation_is_applied(client: TestClient, workspace: Workspace, tmp_path: Path) -> None:
    picture = Pillow.new("RGB", (80, 40), "red")
    exif = picture.getexif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    workspace.import_images(tmp_path / "turned.jpg", into="unlabelled")
    with workspace.store.read() as session:
        number, sha = session.execute(select(Image.id, Image.sha256).where(Image.height == 80)).one()
    assert opened(client.get(f"/image/{number}?v={sha}").content).size == (40, 80)


def test_unknown_numbers_and_contents(client: TestClient, some: tuple[int, str, Path]) -> None:
    number, sha, _ = some
    assert client.get(f"/image/9999?v={sha}").status_code == 404
    assert client.get(f"/image/{number}?v={'0' * 64}").status_code == 404
    assert client.get(f"/image/{number}").status_code == 422
    assert client.get(f"/image/{number}?v={sha[:-1]}").status_code == 422
    assert client.get(f"/image/{2**70}?v={sha}").status_code == 422


@pytest.mark.parametrize(
    "name",
    [
        "../db/labeler.db",
        "..%2f..%2fdb%2flabeler.db",
        "%2e%2e/%2e%2e/etc/passwd",
        "....//....//etc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "file:///etc/passwd",
        "http://127.0.0.1/",
        "1/../../../etc/passwd",
        "1%00.png",
        "..\\..\\windows\\win.ini",
        "-1",
        "0",
        "1e3",
        "\uff11",
    ],
)
def test_path_tricks(client: TestClient, some: tuple[int, str, Path], name: str) -> None:
    answer = client.get(f"/image/{name}?v={some[1]}")
    assert answer.status_code in {404, 422}
    assert "root:" not in answer.text


def test_picture_outlives_the_move(
    client: TestClient, some: tuple[int, str, Path], workspace: Workspace, send: Callable[..., Any], operation: Any
) -> None:
    number, sha, file = some
    send(None, operation(sha, "correct", "withoutMask"))
    assert not file.exists()
    assert client.get(f"/image/{number}?v={sha}").status_code == 200


def test_vanished_and_damaged_files_are_gone(client: TestClient, some: tuple[int, str, Path]) -> None:
    number, sha, file = some
    file.rename(file.with_suffix(".away"))
    assert client.get(f"/image/{number}?v={sha}").status_code == 410


def test_other_content_under_the_same_name_is_not_shown(
    client: TestClient, some: tuple[int, str, Path], draw: Any
) -> None:
    """A decision is about the content that was on stage; a file swapped behind our back must not be looked at."""
    number, sha, file = some
    draw(file, 77)
    assert client.get(f"/image/{number}?v={sha}").status_code == 404


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_a_link_put_in_place_of_a_file_leads_nowhere(
    client: TestClient, some: tuple[int, str, Path], tmp_path: Path
) -> None:
    number, sha, file = some
    file.rename(tmp_path / "outside.png")
    file.symlink_to(tmp_path / "outside.png")
    assert client.get(f"/image/{number}?v={sha}").status_code == 410


def test_cache_is_used_and_healed(client: TestClient, workspace: Workspace, some: tuple[int, str, Path]) -> None:
    number, sha, _ = some
    first = client.get(f"/image/{number}?v={sha}").content
    cached = images.cache_file(workspace.paths, sha, "full")
    assert cached.read_bytes() == first
    assert [file.name for file in cached.parent.iterdir()] == [cached.name]
    for damage in (b"", first[: len(first) // 2], b"not a picture"):
        cached.write_bytes(damage)
        assert client.get(f"/image/{number}?v={sha}").content == first
        assert cached.read_bytes() == first


def test_full_disk_costs_the_cache_only(
    client: TestClient, workspace: Workspace, some: tuple[int, str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    number, sha, _ = some
    assert opened(client.get(f"/image/{number}?v={sha}").content).size == (96, 64)
    folder = images.cache_file(workspace.paths, sha, "full").parent
    assert list(folder.iterdir()) == []


def test_what_a_killed_server_left_half_written_is_cleared(
    client: TestClient, some: tuple[int, str, Path], workspace: Workspace
) -> None:
    number, sha, _ = some
    assert client.get(f"/image/{number}?v={sha}").status_code == 200
    making = workspace.paths.thumbnails / ".making"
    assert list(making.iterdir()) == []
    (making / "half").write_bytes(b"\xff\xd8\xff")
    images.clear_leftovers(workspace.paths)
    assert not making.exists()
    assert images.cache_file(workspace.paths, sha, "full").is_file()
    assert client.get(f"/image/{number}?v={sha}&size=thumb").status_code == 200
