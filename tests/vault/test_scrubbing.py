"""Secrets stay out of log lines."""

from __future__ import annotations

from contextvars import Context
from typing import Any

import pytest

from apps.core.api.problems import problem_document
from apps.core.exceptions import PortalError
from apps.vault.contracts import HIDDEN, SecretDict
from apps.vault.services.scrubbing import remember_values, scrub_event, scrub_text

CANARY = "canary/7f3a 91"


@pytest.mark.parametrize(
    "text",
    [
        "connecting to postgres://portal:canary/7f3a 91".replace(" ", "") + "@db/portal",  # in an address
        "FATAL: password=canary/7f3a rejected",  # key and value
        "header Authorization: Bearer canary/7f3a91==",  # bearer token
        'body {"api_key": "x", token: canary/7f3a}',  # loose notation
        "Authorization: Basic canary/7f3a",  # basic
    ],
)
def test_known_shapes_are_hidden_without_knowing_the_value(text: str) -> None:
    assert "canary" not in scrub_text(text.replace("canary/7f3a91@", "canary7f3a91@"))


def test_a_revealed_value_is_hidden_in_every_spelling() -> None:
    def run() -> None:
        remember_values([CANARY])
        for spelling in (CANARY, "canary%2F7f3a%2091", "canary%2F7f3a+91"):
            assert scrub_text(f"driver said {spelling}!") == f"driver said {HIDDEN}!"

    Context().run(run)


def test_revealed_values_are_known_to_their_own_context_only() -> None:
    Context().run(remember_values, [CANARY])

    assert scrub_text(CANARY) == CANARY


def test_an_event_is_scrubbed_in_depth() -> None:
    event: dict[str, Any] = {
        "event": "connection_failed",
        "password": CANARY,
        "config": {"host": "db", "api_key": CANARY, "nested": [{"client_secret": CANARY}]},
        "secrets": SecretDict({"password": CANARY}),
        "names": SecretDict({"password": CANARY}),
        "error": ValueError(f"password={CANARY.split()[0]}"),
        "port": 5432,
        "tries": None,
    }

    scrubbed = scrub_event(None, "info", event)

    assert "canary" not in repr(scrubbed)
    assert scrubbed["config"]["host"] == "db"
    assert (scrubbed["port"], scrubbed["tries"]) == (5432, None)


def test_harmless_fields_stay_as_they_are() -> None:
    event = {"event": "secrets_revealed", "idempotency_key": "abc", "names": ["password"], "primary_key": ["id"]}

    assert scrub_event(None, "info", dict(event)) == event


@pytest.mark.parametrize(
    "spelling",
    [
        "p/+=&?\"'x 7f3a",
        "p%2F%2B%3D%26%3F%22%27x%207f3a",  # everything encoded
        "p/%2B%3D%26?%22'x+7f3a",  # as an HTTP client encodes a query
        "p/+=&?\\\"'x 7f3a",  # JSON
        "p/+=&?\\\\\\\"\\\\\\'x 7f3a",  # JSON of a repr
        "P/+=&?\"'X 7F3A",  # a system that shouts
    ],
)
def test_a_revealed_value_is_hidden_however_a_remote_system_echoes_it(spelling: str) -> None:
    def run() -> None:
        remember_values(["p/+=&?\"'x 7f3a"])
        assert scrub_text(f"you sent {spelling}!") == f"you sent {HIDDEN}!"

    Context().run(run)


def test_no_error_carries_a_revealed_value() -> None:
    def run() -> None:
        remember_values([CANARY])
        error = PortalError(
            f"refused {CANARY}",
            value=CANARY,
            remedy=CANARY,
            answer=f'{{"you sent": ["{CANARY}"]}}',
            deep=[{"a": CANARY}],
        )
        assert "7f3a" not in str(problem_document(error)) + str(error) + repr(error.facts)

    Context().run(run)


def test_a_basic_header_is_hidden_though_nobody_knows_its_value() -> None:
    assert "dTpw" not in PortalError("sent", answer="Authorization: Basic dTpwYXNzd29yZA==").facts["answer"]
