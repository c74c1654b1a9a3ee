"""The import map: what is in it, and which builds are refused."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import Any

import pytest

from apps.frontends.exceptions import BuildInvalid, BuildMissing
from apps.frontends.services.bootstrap import list_visible_remotes
from apps.frontends.services.builds import build_from_json, get_build
from apps.frontends.services.import_map import build_import_map, list_preloads
from tests.frontends.factories import HASH, manifest


def test_every_script_has_its_hash_in_the_map_also_chunks_loaded_later() -> None:
    found = build_import_map(build_from_json(manifest()))

    assert found["imports"]["@portal/remotes/flows"] == "/static/mfe/remotes/flows-0001.js"
    assert found["integrity"]["/static/mfe/remotes/flows-lazy-0001.js"] == HASH
    assert set(found["imports"].values()) <= set(found["integrity"])


def test_addresses_follow_static_url(settings: Any) -> None:
    settings.STATIC_URL = "https://cdn.example.com/assets/"

    found = build_import_map(build_from_json(manifest()))

    assert found["imports"]["react"] == "https://cdn.example.com/assets/mfe/vendor/react-0001.js"


def test_equal_builds_give_equal_maps() -> None:
    turned = manifest()
    turned["imports"] = dict(reversed(turned["imports"].items()))

    assert json.dumps(build_import_map(build_from_json(turned))) == json.dumps(
        build_import_map(build_from_json(manifest()))
    )


def test_preloads_begin_with_the_shell() -> None:
    preloads = list_preloads(build_from_json(manifest()))

    assert preloads[0].url == "/static/mfe/shell/shell-0001.js"
    assert all(script.integrity == HASH for script in preloads)


BREAKAGES = {
    "another schema": lambda m: m.update(schema=2),
    "a module without a hash": lambda m: m["integrity"].pop("remotes/flows-0001.js"),
    "a weak hash": lambda m: m["integrity"].update({"vendor/react-0001.js": "sha1-abc"}),
    "a file outside its folder": lambda m: m["integrity"].update({"../settings.js": HASH}),
    "an address instead of a file": lambda m: m["integrity"].update({"https://evil.example/x.js": HASH}),
    "a remote that is not mapped": lambda m: m["imports"].pop("@portal/remotes/flows"),
    "a shell without an entry": lambda m: m["shell"].pop("entry"),
    "no remotes": lambda m: m.pop("remotes"),
}


@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_build_is_refused_with(breakage: str, tmp_path: Path) -> None:
    document = copy.deepcopy(manifest())
    BREAKAGES[breakage](document)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document))

    with pytest.raises(BuildInvalid):
        get_build(path)


def test_a_manifest_that_is_not_json_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text("{")

    with pytest.raises(BuildInvalid):
        get_build(path)


def test_no_build_is_its_own_error_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(BuildMissing) as caught:
        get_build(tmp_path / "manifest.json")

    assert "npm run build" in str(caught.value.remedy)


def test_a_new_build_is_read_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(manifest(release="first")))
    assert get_build(path).release == "first"

    path.write_text(json.dumps(manifest(release="second")))
    os.utime(path, ns=(1, 1))

    assert get_build(path).release == "second"


def test_remotes_are_offered_to_those_who_may_open_them() -> None:
    build = build_from_json(manifest())

    assert [remote.id for remote in list_visible_remotes(build, frozenset())] == ["overview"]
    assert [remote.id for remote in list_visible_remotes(build, frozenset({"flow:view"}))] == ["overview", "flows"]
