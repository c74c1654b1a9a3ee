"""Signatures of other systems: published examples hold, every mutation is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest

from apps.events.exceptions import EndpointInvalid, SignatureRefused
from apps.events.services.inbound_schemes import Incoming, VerifyRules, check_scheme, verify

SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
    b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack."
    b"com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc"
    b"887a14d10d2c447fce8b6703c"
)
STRIPE_SECRET = "whsec_test_secret_0123456789"
STRIPE_BODY = b'{"id": "evt_1", "object": "event"}'
STRIPE_AT = 1_700_000_000
STRIPE_V1 = hmac.new(STRIPE_SECRET.encode(), f"{STRIPE_AT}.".encode() + STRIPE_BODY, hashlib.sha256).hexdigest()

EXAMPLES: dict[str, tuple[VerifyRules, dict[str, str], bytes, float, str]] = {
    # Test of the Standard Webhooks libraries.
    "standard-webhooks": (
        VerifyRules("standard-webhooks", {}, ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",)),
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
        1_614_265_330,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
    ),
    # The form that Stripe documents; the digest is made here by its description.
    "stripe": (
        VerifyRules("stripe", {}, (STRIPE_SECRET,)),
        {"stripe-signature": f"t={STRIPE_AT},v1={STRIPE_V1},v0={'0' * 64}"},
        STRIPE_BODY,
        STRIPE_AT,
        "evt_1",
    ),
    # Slack's documentation.
    "slack": (
        VerifyRules("slack", {}, ("8f742231b10e8888abcd99yyyzzz85a5",)),
        {
            "x-slack-request-timestamp": "1531420618",
            "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        },
        SLACK_BODY,
        1_531_420_618,
        "sha256:" + hashlib.sha256(SLACK_BODY).hexdigest(),
    ),
    # GitHub's documentation.
    "github": (
        VerifyRules("github", {}, ("It's a Secret to Everybody",)),
        {
            "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
            "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        },
        b"Hello, World!",
        1_700_000_000,
        "72d3162e-cc78-11e3-81ab-4c9367dc0958",
    ),
    # RFC 4231, test case 2.
    "hmac": (
        VerifyRules("hmac", {"signature_header": "X-Sum", "prefix": "sha256="}, ("Jefe",)),
        {"x-sum": "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        b"what do ya want for nothing?",
        0,
        "sha256:" + hashlib.sha256(b".what do ya want for nothing?").hexdigest(),
    ),
}
TIMED = ["standard-webhooks", "stripe", "slack"]


def incoming(name: str, **changes: Any) -> tuple[VerifyRules, Incoming]:
    rules, headers, body, at, _id = EXAMPLES[name]
    headers = {**headers, **changes.get("headers", {})}
    values = {key: [value] for key, value in headers.items() if value is not None}
    values |= changes.get("twice", {})
    return changes.get("rules", rules), Incoming(values, changes.get("body", body), changes.get("at", at))


@pytest.mark.parametrize("name", EXAMPLES)
def test_published_examples_hold(name: str) -> None:
    assert verify(*incoming(name)) == EXAMPLES[name][4]


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("place", [0, 5, -1])
def test_a_changed_body_is_refused(name: str, place: int) -> None:
    body = bytearray(EXAMPLES[name][2])
    body[place] ^= 1
    with pytest.raises(SignatureRefused):
        verify(*incoming(name, body=bytes(body)))


@pytest.mark.parametrize("name", ["standard-webhooks", "stripe"])
def test_json_that_was_read_and_written_again_is_refused(name: str) -> None:
    again = json.dumps(json.loads(EXAMPLES[name][2]), separators=(",", ":")).encode()
    with pytest.raises(SignatureRefused):
        verify(*incoming(name, body=again))


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("shift_s", "holds"), [(300, True), (-300, True), (301, False), (-301, False)])
def test_the_time_may_be_five_minutes_away(name: str, shift_s: int, holds: bool) -> None:
    rules, request = incoming(name, at=EXAMPLES[name][3] + shift_s)
    if holds:
        verify(rules, request)
    else:
        with pytest.raises(SignatureRefused, match="300 s away"):
            verify(rules, request)


@pytest.mark.parametrize(("name", "header"), [(name, header) for name in EXAMPLES for header in EXAMPLES[name][1]])
def test_a_header_that_is_missing_or_comes_twice_is_refused(name: str, header: str) -> None:
    with pytest.raises(SignatureRefused, match="missing"):
        verify(*incoming(name, headers={header: None}))
    value = EXAMPLES[name][1][header]
    with pytest.raises(SignatureRefused, match="more than once"):
        verify(*incoming(name, twice={header: [value, value]}))


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("standard-webhooks", "whsec_" + "A" * 32),
        ("stripe", "whsec_test_secret_012345678X"),
        ("slack", "8f742231b10e8888abcd99yyyzzz85a6"),
        ("github", "It's a Secret to Nobody"),
        ("hmac", "Jeff"),
    ],
)
def test_anothers_secret_is_refused_and_a_second_one_during_rotation_holds(name: str, secret: str) -> None:
    rules = EXAMPLES[name][0]
    wrong = VerifyRules(rules.scheme, rules.config, (secret,))
    with pytest.raises(SignatureRefused, match="does not match"):
        verify(*incoming(name, rules=wrong))
    verify(*incoming(name, rules=VerifyRules(rules.scheme, rules.config, (secret, *rules.secrets))))
    with pytest.raises(SignatureRefused):
        verify(*incoming(name, rules=VerifyRules(rules.scheme, rules.config, ())))


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        # An older or unknown version of the scheme does not count, nor does a signature without one.
        ("standard-webhooks", {"webhook-signature": "v0,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
        ("standard-webhooks", {"webhook-signature": "v1a,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
        ("standard-webhooks", {"webhook-signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="}),
        ("standard-webhooks", {"webhook-signature": ""}),
        ("stripe", {"stripe-signature": f"t={STRIPE_AT},v0={STRIPE_V1}"}),
        ("stripe", {"stripe-signature": f"t={STRIPE_AT},t=1,v1={STRIPE_V1}"}),
        ("stripe", {"stripe-signature": f"v1={STRIPE_V1}"}),
        ("slack", {"x-slack-signature": "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"}),
        ("github", {"x-hub-signature-256": "sha1=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}),
        ("github", {"x-hub-signature-256": "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}),
        ("hmac", {"x-sum": "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"}),
        # Times that parsers read differently.
        ("standard-webhooks", {"webhook-timestamp": "1614265330.0"}),
        ("standard-webhooks", {"webhook-timestamp": "+1614265330"}),
        ("standard-webhooks", {"webhook-timestamp": " 1614265330"}),
        ("standard-webhooks", {"webhook-timestamp": "1614265330\n"}),
        ("slack", {"x-slack-request-timestamp": "١٥٣١٤٢٠٦١٨"}),
        ("standard-webhooks", {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJeK"}),
        ("standard-webhooks", {"webhook-id": "x" * 300}),
        ("github", {"x-github-delivery": ""}),
    ],
)
def test_downgrades_and_oddities_are_refused(name: str, headers: dict[str, str]) -> None:
    with pytest.raises(SignatureRefused):
        verify(*incoming(name, headers=headers))


def test_an_hmac_of_ones_own_takes_time_and_id_into_account() -> None:
    config = {
        "signature_header": "X-S", "timestamp_header": "X-T", "id_header": "X-I", "algorithm": "sha512",
        "encoding": "base64", "signed": "id.timestamp.body",
    }  # fmt: skip
    settings = check_scheme("hmac", config, "a-secret-of-mine-0123")
    digest = hmac.new(b"a-secret-of-mine-0123", b"m1.1000.hello", hashlib.sha512).digest()
    headers = {"x-s": [base64.b64encode(digest).decode()], "x-t": ["1000"], "x-i": ["m1"]}
    rules = VerifyRules("hmac", settings, ("a-secret-of-mine-0123",))

    assert verify(rules, Incoming(headers, b"hello", 1000.0)) == "m1"
    with pytest.raises(SignatureRefused):
        verify(rules, Incoming({**headers, "x-i": ["m2"]}, b"hello", 1000.0))
    with pytest.raises(SignatureRefused):
        verify(rules, Incoming(headers, b"hello", 2000.0))


@pytest.mark.parametrize(
    ("scheme", "config", "secret"),
    [
        ("md5", {}, "a-long-enough-secret"),
        ("stripe", {}, "short"),
        ("standard-webhooks", {}, "whsec_dG9vc2hvcnQ="),
        ("github", {"x": "y"}, "a-long-enough-secret"),
        ("hmac", {"algorithm": "md5"}, "a-long-enough-secret"),
        ("hmac", {"signed": "timestamp.body"}, "a-long-enough-secret"),
        ("hmac", {"signature_header": "a b"}, "a-long-enough-secret"),
        ("hmac", {"unknown": "1"}, "a-long-enough-secret"),
    ],
)
def test_settings_that_cannot_work_are_refused(scheme: str, config: dict[str, str], secret: str) -> None:
    with pytest.raises(EndpointInvalid):
        check_scheme(scheme, config, secret)
