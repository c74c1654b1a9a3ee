"""Ports: a taken one is one clear line, a remembered one stays."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.runtime.console import Failure
from config.runtime.ports import PortBook, ensure_port_free, find_free_port, is_port_free


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_taken_port_names_owner_and_remedy(taken_port: int) -> None:
    with pytest.raises(Failure) as caught:
        ensure_port_free(taken_port)

    assert f"Port {taken_port} is taken by" in caught.value.message
    assert f"pid {os.getpid()}" in caught.value.message
    suggested = int(caught.value.remedy.rpartition("PORT=")[2])
    assert suggested > taken_port
    assert is_port_free(suggested)


def test_free_port_is_accepted() -> None:
    ensure_port_free(find_free_port())


def test_number_beyond_all_ports_is_refused_with_an_example() -> None:
    with pytest.raises(Failure, match="99999 is not a port number") as caught:
        is_port_free(99999)
    assert "PORT=8001" in caught.value.remedy


def test_first_free_preferred_port_is_taken(taken_port: int) -> None:
    free = find_free_port()
    assert find_free_port([taken_port, free]) == free


def test_chosen_port_is_remembered_and_given_up_when_taken(tmp_path: Path, taken_port: int) -> None:
    book = PortBook(tmp_path / "ports.json")
    first = book.choose("postgres", find_free_port())
    assert book.choose("postgres", find_free_port()) == first

    (tmp_path / "ports.json").write_text(f'{{"postgres": {taken_port}}}')
    moved = book.choose("postgres", first)
    assert moved == first
    assert PortBook(tmp_path / "ports.json").choose("postgres", taken_port) == first


def test_damaged_port_book_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "ports.json").write_text("[1, 2")
    free = find_free_port()
    assert PortBook(tmp_path / "ports.json").choose("valkey", free) == free
