"""Rows dealt out to threads."""

from __future__ import annotations

import threading

import pytest

from labeler.rank import threads


@pytest.mark.parametrize("n", [0, 1, threads.CHUNK_ROWS, threads.THREADED_FROM, 3 * threads.THREADED_FROM + 1])
def test_every_row_once_and_in_order(n: int) -> None:
    chunks = list(threads.in_chunks(n, lambda chunk: chunk))
    assert [row for chunk in chunks for row in range(chunk.start, chunk.stop)] == list(range(n))
    assert all(chunk.stop - chunk.start <= threads.CHUNK_ROWS for chunk in chunks)


def test_few_rows_stay_with_the_caller_and_many_go_to_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)
    few = set(threads.in_chunks(threads.THREADED_FROM - 1, lambda _: threading.get_ident()))
    assert few == {threading.get_ident()}
    assert threading.get_ident() not in set(threads.in_chunks(threads.THREADED_FROM, lambda _: threading.get_ident()))
    monkeypatch.setattr(threads, "cores", lambda: 1)
    alone = set(threads.in_chunks(threads.THREADED_FROM, lambda _: threading.get_ident()))
    assert alone == {threading.get_ident()}


def test_the_first_error_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 2)

    def work(chunk: slice) -> None:
        if chunk.start == threads.CHUNK_ROWS:
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        list(threads.in_chunks(9 * threads.CHUNK_ROWS, work))
