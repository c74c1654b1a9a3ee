"""The step that sends mail. Sent again (after a crash, or when the answer was lost) it has the same Message-ID."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping
from email.utils import parseaddr
from typing import Any

from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email

from apps.engine.contracts import EffectDraft, StepContext, StepOutcome
from apps.engine.exceptions import MailInvalid, MailLimitReached
from apps.engine.services.effects import announce_effect, confirm_effect, find_prior, repeat_outcome, sending
from apps.engine.services.limits import engine_limits
from apps.engine.services.mailing import deliver
from apps.engine.services.processes.scopes import Scope
from apps.engine.services.processes.steps import ProcessStepType
from apps.integrations.process_contracts import ProcessStep
from apps.integrations.services.mail_senders import find_sender, list_senders
from apps.tenancy.services.cache_keys import throttle_key

HOUR_S = 3600
SUBJECT_CHARS = 300
RECIPIENTS = ("to", "cc", "bcc")
TYPES = {"csv": "text/csv", "json": "application/json"}


class SendMail(ProcessStepType):
    """Sends one mail to at most as many people as the installation allows."""

    type = "process.mail"

    def draft(self, step: ProcessStep, scope: Scope) -> EffectDraft:
        """The mail as it would be sent."""
        config, limits = step.config, engine_limits()
        names = [name for name in (*RECIPIENTS, "reply_to", "subject", "body") if config[name] is not None]
        values = scope.evaluate({name: config[name] for name in names})
        sender = find_sender(config["sender"])
        if sender is None:
            raise MailInvalid(
                f"{step.title}: mail may not be sent from {config['sender']}.",
                field="sender",
                remedy=f"Allowed: {', '.join(list_senders())}. The operator adds others (MAIL_SENDERS).",
            )
        mail: dict[str, Any] = {name: addresses(values.get(name), name) for name in (*RECIPIENTS, "reply_to")}
        count = sum(len(mail[name]) for name in RECIPIENTS)
        if not mail["to"] or count > limits.mail_recipients:
            raise MailInvalid(
                f"{step.title}: {count} recipients; a mail has 1 to {limits.mail_recipients}, one of them in `to`.",
                field="to",
            )
        mail |= {
            "from": sender,
            "subject": _subject(values["subject"], step),
            "body": _text(values["body"], limits.mail_bytes, "body"),
            "attachment": None,
        }
        if config["attachment"] is not None:
            wanted = config["attachment"]
            value = scope.evaluate({"value": wanted["value"]})["value"]
            content = _text(attachment_text(value, wanted["format"]), limits.mail_bytes, "attachment.value")
            mail["attachment"] = {"name": wanted["name"], "type": TYPES[wanted["format"]], "content": content}
        return EffectDraft("mail", config["sender"] or sender, mail, summary={"recipients": count})

    def run(self, context: StepContext, step: ProcessStep, scope: Scope) -> StepOutcome:
        """{message_id, recipients, refused: [{address, reason}]}."""
        draft = self.draft(step, scope)
        mail, count = draft.payload, draft.summary["recipients"]
        prior = find_prior(context.run, context.path, draft)
        if prior.confirmed is not None:
            return repeat_outcome(context, draft, prior.confirmed)
        message_id = f"<{prior.key}@{parseaddr(mail['from'])[1].rpartition('@')[2]}>"
        message = EmailMessage(
            subject=mail["subject"],
            body=mail["body"],
            from_email=mail["from"],
            **{name: mail[name] for name in (*RECIPIENTS, "reply_to")},
            headers={"Message-ID": message_id, "Auto-Submitted": "auto-generated"},
        )
        if mail["attachment"] is not None:
            content = mail["attachment"]["content"].encode("utf-8", "replace")
            # As bytes: text that is attached as application/json would lose its encoding.
            message.attach(mail["attachment"]["name"], content, mail["attachment"]["type"])
        count_mail(engine_limits().mails_per_hour)
        # From here on nothing is sent once the step belongs to somebody else. It may go twice, under one Message-ID.
        effect = announce_effect(context, draft, prior, repeatable=True)
        with sending(context, effect):
            refused = deliver(message, time_limit_s=context.remaining_s())
        for address, reason in refused.items():
            context.log("warning", f"{step.title}: {address} was refused: {reason}", address=address)
        output = {
            "message_id": message_id,
            "recipients": count - len(refused),
            "refused": [{"address": address, "reason": reason} for address, reason in sorted(refused.items())],
        }
        return StepOutcome(
            output=output,
            detail=f"Sent to {count - len(refused)} of {count} recipients." if refused else f"Sent to {count}.",
            commit=lambda: confirm_effect(effect.pk, output, message_id),
        )


def addresses(value: Any, name: str) -> list[str]:
    """Mail addresses out of a text (separated by commas) or a list; each once, in order.

    Raises:
        MailInvalid: one is no address.
    """
    given = value.split(",") if isinstance(value, str) else value
    if given is None:
        return []
    if not isinstance(given, list):
        raise MailInvalid(f"{name} is neither an address nor a list of addresses.", field=name, value=value)
    found: dict[str, str] = {}
    for item in given:
        address = item.strip(" ") if isinstance(item, str) else ""
        try:
            validate_email(address)
        except ValidationError:
            raise MailInvalid(f"{name}: {item!r} is no mail address.", field=name, value=item) from None
        found.setdefault(address.lower(), address)
    return list(found.values())


def attachment_text(value: Any, kind: str) -> str:
    """A value as JSON, or a list of objects as CSV: columns in the order in which they first appear, UTF-8, RFC 4180.

    Raises:
        MailInvalid: CSV of something else.
    """
    if kind == "json":
        return json.dumps(value, ensure_ascii=False, indent=2)
    rows = [] if value is None else value
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise MailInvalid("A CSV attachment needs a list of objects.", field="attachment.value")
    names = list(dict.fromkeys(name for row in rows for name in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return buffer.getvalue()


def count_mail(most: int) -> None:
    """Count one mail of the entered tenant in this hour.

    Raises:
        MailLimitReached: it has sent as many as it may.
    """
    key = throttle_key("mail", int(time.time()) // HOUR_S)
    cache.add(key, 0, 2 * HOUR_S)
    if cache.incr(key) > most:
        raise MailLimitReached(f"This organisation has sent {most:,} mails in this hour, as many as it may.")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _subject(value: Any, step: ProcessStep) -> str:
    text = "" if value is None else str(value)
    if not text or len(text) > SUBJECT_CHARS or not text.isprintable():
        raise MailInvalid(
            f"{step.title}: a subject is one line of 1 to {SUBJECT_CHARS} characters.", field="subject", value=text
        )
    return text


def _text(value: Any, most: int, name: str) -> str:
    text = "" if value is None else str(value)
    size = len(text.encode("utf-8", "replace"))
    if size > most:
        raise MailInvalid(f"{name} has {size:,} bytes; at most {most:,} are sent.", field=name)
    return text
