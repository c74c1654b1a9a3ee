"""The front end's build is skipped exactly while its sources and its output are unchanged."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.runtime.frontend import hash_output, hash_sources


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for path in ("shell/main.ts", "package-lock.json", "node_modules/react/index.js", "shell/dist/main.js"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path


@pytest.mark.parametrize("path", ["shell/main.ts", "package-lock.json", "shell/new.css"])
def test_changed_source_is_built(sources: Path, path: str) -> None:
    before = hash_sources(sources)
    (sources / path).write_text("changed")
    assert hash_sources(sources) != before


@pytest.mark.parametrize("path", ["node_modules/react/index.js", "shell/dist/main.js"])
def test_installed_and_built_files_are_no_sources(sources: Path, path: str) -> None:
    before = hash_sources(sources)
    (sources / path).write_text("changed")
    assert hash_sources(sources) == before


def test_renamed_source_is_built(sources: Path) -> None:
    before = hash_sources(sources)
    (sources / "shell" / "main.ts").rename(sources / "shell" / "other.ts")
    assert hash_sources(sources) != before


def test_missing_output_is_built(tmp_path: Path) -> None:
    assert hash_output(tmp_path / "mfe") == ""
    (tmp_path / "mfe").mkdir()
    assert hash_output(tmp_path / "mfe") == ""
    (tmp_path / "mfe" / "a.js").write_text("a")
    (tmp_path / "mfe" / "b.js").write_text("b")
    before = hash_output(tmp_path / "mfe")
    (tmp_path / "mfe" / "b.js").unlink()
    assert hash_output(tmp_path / "mfe") != before
