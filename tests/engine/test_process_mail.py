"""The mail step against a real SMTP server: what arrives, refusals, greylisting, a lost answer, limits, tenants."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.core.cache import cache

from apps.engine.choices import RunStatus
from apps.engine.models import Effect, RunLog, StepResult
from apps.engine.services.restart_plans import RestartRequest
from apps.engine.services.restart_previews import preview_restart
from apps.engine.services.restarting import restart_run
from apps.integrations.services.validation import validate_definition
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context
from tests.engine.factories import SYSTEM
from tests.engine.process_factories import outputs, process, run, step, value, work
from tests.processes import free_port

pytestmark = pytest.mark.committed
NO_WAIT = {"max_attempts": 3, "base_s": 0, "cap_s": 0, "jitter": 0}


class Post:
    """What the server took, and how it misbehaves: replies by recipient, and the next replies after DATA."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.rcpt: dict[str, list[str]] = {}
        self.data: list[str] = []

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Any, address: str, _options: Any) -> str:
        if self.rcpt.get(address):
            return self.rcpt[address].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:
        reply = self.data.pop(0) if self.data else "250 taken"
        if reply.startswith(("250", "lost")):
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
            self.recipients.append(list(envelope.rcpt_tos))
        if reply == "lost":
            server.transport.close()
        return reply


@pytest.fixture
def post(committed_acme: Tenant, settings: Any) -> Iterator[Post]:
    """A mail server that the portal uses, inside acme; its hour has just begun."""
    handler = Post()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.DEFAULT_FROM_EMAIL = "Portal <portal@acme.example>"
    with tenant_context(committed_acme):
        cache.clear()
        yield handler
    controller.stop()


def mail(**config: Any) -> Any:
    settings = {"to": "'ann@acme.example'", "subject": "'Hello'", "body": "'A body'", **config}
    return step("tell", "mail", config=settings, retry=NO_WAIT)


def attempts(started: Any) -> list[tuple[str, str]]:
    found = StepResult.objects.filter(run=started, path="tell").order_by("attempt")
    return [(one.status, (one.error or {}).get("code", "")) for one in found]


def test_mail_arrives_as_it_was_composed(post: Post) -> None:
    rows = "[{id: 1, name: 'Zoë, \"Z\"', total: 10.25}, {id: 2, name: NULL, total: 0.1}]"
    done = run(
        process(
            value("found", rows=rows),
            mail(
                to="['ann@acme.example', 'ANN@acme.example', 'bob@acme.example']",
                cc="'carl@acme.example, dora@acme.example'",
                bcc="'eve@acme.example'",
                reply_to="'billing@acme.example'",
                subject="'Invoice ' || input.number || ' für Zoë'",
                body="'Total: ' || input.total",
                attachment={"name": "rows.csv", "format": "csv", "value": "steps.found.output.rows"},
            ),
        ),
        {"number": "A-7", "total": 12.5},
    )
    assert done.status == RunStatus.SUCCEEDED, done.error
    [found], [recipients] = post.mails, post.recipients
    assert (found["Subject"], found["From"], found["To"]) == (
        "Invoice A-7 für Zoë",
        "Portal <portal@acme.example>",
        "ann@acme.example, bob@acme.example",
    )
    assert (found["Cc"], found["Bcc"], found["Reply-To"]) == (
        "carl@acme.example, dora@acme.example",
        None,
        "billing@acme.example",
    )
    assert recipients == [f"{name}@acme.example" for name in ("ann", "bob", "carl", "dora", "eve")]
    assert found.get_body().get_content().strip() == "Total: 12.5"  # type: ignore[union-attr]
    [attached] = list(found.iter_attachments())
    assert (attached.get_filename(), attached.get_content_type()) == ("rows.csv", "text/csv")
    lines = attached.get_content().splitlines()
    assert lines == ["id,name,total", '1,"Zoë, ""Z""",10.25', "2,,0.1"]
    assert outputs(done)["tell"] == {"message_id": found["Message-ID"], "recipients": 5, "refused": []}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"subject": "'Hello' || chr(10) || 'Bcc: eve@evil.example'"}, "subject"),
        ({"to": "'ann@acme.example' || chr(10) || 'Bcc: eve@evil.example'"}, "to"),
        ({"cc": "'Ann <ann@acme.example>'"}, "cc"),
        ({"reply_to": "'x@acme.example' || chr(13)"}, "reply_to"),
        ({"to": "NULL"}, "to"),
        ({"to": "input.many"}, "to"),
        ({"body": "input.long"}, "body"),
        ({"attachment": {"name": "a.csv", "format": "csv", "value": "1"}}, "attachment.value"),
    ],
    ids=["subject-header", "to-header", "name", "reply-to-header", "nobody", "too-many", "long-body", "no-rows"],
)
def test_what_cannot_be_sent_is_refused_before_anything_is(post: Post, settings: Any, config: Any, field: str) -> None:
    settings.ENGINE = {**settings.ENGINE, "mail_bytes": 1000}
    many = [f"p{number}@acme.example" for number in range(51)]
    done = run(process(mail(**config)), {"many": many, "long": "x" * 1001})
    assert (done.status, done.error["code"]) == (RunStatus.FAILED, "engine.process.mail_invalid"), done.error
    assert (done.error["field"], attempts(done)) == (field, [("failed", "engine.process.mail_invalid")])
    assert not post.mails


def test_greylisting_is_tried_again_under_the_same_id(post: Post) -> None:
    post.rcpt["ann@acme.example"] = ["450 greylisted, come back"]
    post.data = ["451 busy"]
    done = run(process(mail()))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert attempts(done) == [("failed", "engine.process.mail_unavailable")] * 2 + [("succeeded", "")]
    assert len(post.mails) == 1


def test_an_answer_that_is_lost_means_the_same_message_id_again(post: Post) -> None:
    post.data = ["lost"]
    done = run(process(mail()))
    assert done.status == RunStatus.SUCCEEDED, done.error
    first, second = post.mails
    assert first["Message-ID"] == second["Message-ID"] == outputs(done)["tell"]["message_id"]
    other = run(process(mail()))
    assert outputs(other)["tell"]["message_id"] != first["Message-ID"], "another run is another mail"


def test_a_restart_sends_the_same_mail_only_where_somebody_wants_it_again(post: Post) -> None:
    done = run(
        process(value("first", n="input.n"), mail(body="'No. ' || steps.first.output.n"), value("last", n="1")),
        {"n": 1},
    )
    assert [(one.operation, one.outcome, one.summary) for one in Effect.objects.filter(run=done)] == [
        ("mail", "confirmed", {"recipients": 1})
    ]

    def restart(**request: Any) -> Any:
        wanted = RestartRequest(done.pk, "first", **request)
        new = work(restart_run(wanted, preview=preview_restart(wanted, actor=SYSTEM).hash, actor=SYSTEM))
        assert new.status == RunStatus.SUCCEEDED, new.error
        return outputs(new)["tell"]["message_id"]

    same = restart()
    assert len(post.mails) == 1
    assert same == post.mails[0]["Message-ID"]
    assert restart(parameters={"n": 2}) == post.mails[1]["Message-ID"] != same
    assert restart(again=("tell",)) == post.mails[2]["Message-ID"] != same


@pytest.mark.parametrize(
    ("rcpt", "data", "words"),
    [
        ({"ann@acme.example": ["550 no such user"]}, [], "ann@acme.example: 550 no such user"),
        ({}, ["554 looks like spam"], "554 looks like spam"),
    ],
    ids=["recipient", "content"],
)
def test_a_refusal_for_good_fails_the_step_at_once(post: Post, rcpt: Any, data: list[str], words: str) -> None:
    post.rcpt, post.data = rcpt, data
    done = run(process(mail()))
    assert attempts(done) == [("failed", "engine.process.mail_refused")]
    assert words in done.error["message"]


def test_one_recipient_that_is_refused_is_named_and_the_others_get_it_once(post: Post) -> None:
    post.rcpt["bob@acme.example"] = ["550 gone"]
    done = run(process(mail(to="['ann@acme.example', 'bob@acme.example']")))
    assert done.status == RunStatus.SUCCEEDED, done.error
    refused = [{"address": "bob@acme.example", "reason": "550 gone"}]
    assert (outputs(done)["tell"]["recipients"], outputs(done)["tell"]["refused"]) == (1, refused)
    assert post.recipients == [["ann@acme.example"]]
    assert RunLog.objects.filter(run=done, level="warning", message__contains="bob@acme.example").count() == 1


def test_no_mail_server_is_a_passing_fault(post: Post, settings: Any) -> None:
    settings.EMAIL_PORT = 9
    done = run(process(mail()))
    assert attempts(done) == [("failed", "engine.process.mail_unavailable")] * 3


def test_only_allowed_senders(post: Post, settings: Any) -> None:
    settings.MAIL_SENDERS = ["Billing <billing@acme.example>"]
    done = run(process(mail(sender="BILLING@acme.example")))
    assert done.status == RunStatus.SUCCEEDED, done.error
    assert post.mails[0]["From"] == "Billing <billing@acme.example>"
    assert str(post.mails[0]["Message-ID"]).endswith("@acme.example>")
    refused = run(process(mail(sender="ceo@acme.example")))
    assert refused.error["code"] == "engine.process.mail_invalid"
    assert "billing@acme.example" in refused.error["remedy"]
    problems = validate_definition(process(mail(sender="ceo@acme.example")), environment="dev").problems
    assert [(one.path, one.code) for one in problems] == [("steps[0].config.sender", "integrations.mail_sender")]


def test_each_organisation_has_its_own_hour(post: Post, committed_globex: Tenant, settings: Any) -> None:
    settings.ENGINE = {**settings.ENGINE, "mails_per_hour": 2}
    states = [run(process(mail())).status for _ in range(2)]
    assert states == [RunStatus.SUCCEEDED] * 2
    third = run(process(mail()))
    assert third.error["code"] == "engine.process.mail_limit"
    with tenant_context(committed_globex):
        assert run(process(mail())).status == RunStatus.SUCCEEDED
    assert len(post.mails) == 3


def test_json_attachment_is_the_value(post: Post) -> None:
    attachment = {"name": "input.json", "format": "json", "value": "input"}
    done = run(process(mail(attachment=attachment)), {"a": [1, None], "b": "Zoë"})
    assert done.status == RunStatus.SUCCEEDED, done.error
    [attached] = list(post.mails[0].iter_attachments())
    assert json.loads(attached.get_content().decode()) == {"a": [1, None], "b": "Zoë"}
