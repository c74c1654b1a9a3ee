"""Revealed secrets give nothing away but by name."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from kombu.serialization import dumps

from apps.vault.contracts import SecretDict

CANARY = "canary-7f3a91"


def test_a_value_is_read_by_name() -> None:
    secrets = SecretDict({"password": CANARY})

    assert secrets["password"] == CANARY
    assert secrets.get("token") is None
    assert {**secrets} == {"password": CANARY}


@pytest.mark.parametrize("show", [repr, str, "{}".format, lambda s: f"{s}", lambda s: f"{s!r}"])
def test_printing_hides_the_values(show) -> None:  # type: ignore[no-untyped-def]
    shown = show(SecretDict({"password": CANARY}))

    assert CANARY not in shown
    assert "password" in shown


@pytest.mark.parametrize("copy_it", [pickle.dumps, copy.copy, copy.deepcopy])
def test_pickling_and_copying_are_refused(copy_it) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TypeError, match="never pickled"):
        copy_it(SecretDict({"password": CANARY}))


def test_json_is_refused() -> None:
    with pytest.raises(TypeError):
        json.dumps({"secrets": SecretDict({"password": CANARY})})


def test_a_celery_message_is_refused() -> None:
    with pytest.raises(Exception, match="SecretDict"):
        dumps({"args": [SecretDict({"password": CANARY})]}, serializer="json")
