"""Hands one mail to the installation's mail server and says exactly what became of it.

The server is the operator's (`EMAIL_URL`), never a tenant's choice, so it is not an egress address.
"""

from __future__ import annotations

import smtplib
from collections.abc import Mapping

from django.core.mail import EmailMessage, get_connection
from django.core.mail.backends.smtp import EmailBackend as SmtpBackend
from django.core.mail.message import sanitize_address

from apps.engine.exceptions import MailInvalid, MailRefused, MailUnavailable

LONGEST_S = 60.0
SHOWN_CHARS = 200
Reply = tuple[int, bytes | str]


def deliver(message: EmailMessage, *, time_limit_s: float = LONGEST_S) -> dict[str, str]:
    """Send a mail once.

    Args:
        message: with a Message-ID of its own: when it is not known whether the server took it, it goes again under it.
        time_limit_s: of each answer of the server.

    Returns:
        Recipients that the server refused although it took the mail for others, with its words.

    Raises:
        MailInvalid: a header cannot be sent.
        MailRefused: 5xx, or every recipient refused for good.
        MailUnavailable: 4xx (greylisting), no answer, or the connection broke.
    """
    connection = get_connection(timeout=max(1.0, min(time_limit_s, LONGEST_S)))
    try:
        if not isinstance(connection, SmtpBackend):
            connection.send_messages([message])
            return {}
        content = message.message().as_bytes(linesep="\r\n")  # type: ignore[call-arg]
        sender = sanitize_address(message.from_email, "utf-8")
        recipients = [sanitize_address(address, "utf-8") for address in message.recipients()]
        connection.open()
        session: smtplib.SMTP = connection.connection  # type: ignore[assignment]
        refused = session.sendmail(sender, recipients, content)
    except smtplib.SMTPRecipientsRefused as error:
        raise _all_refused(error.recipients) from None
    except smtplib.SMTPResponseException as error:
        text = f"The mail server answered {_words((error.smtp_code, error.smtp_error))}."
        raise (MailUnavailable(text) if error.smtp_code < 500 else MailRefused(text)) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailRefused(f"The mail server cannot take this mail: {str(error)[:SHOWN_CHARS]}") from None
    except (smtplib.SMTPException, OSError) as error:
        raise MailUnavailable(f"The mail server cannot be reached: {str(error)[:SHOWN_CHARS]}") from None
    except ValueError as error:  # Django's BadHeaderError is one
        raise MailInvalid(f"The mail cannot be sent: {str(error)[:SHOWN_CHARS]}") from None
    finally:
        _close(connection)
    return {address: _words(reply) for address, reply in refused.items()}


def _close(connection: object) -> None:
    """A server that hung up makes QUIT fail; what became of the mail is known by then."""
    try:
        connection.close()  # type: ignore[attr-defined]
    except (smtplib.SMTPException, OSError):
        return


def _all_refused(recipients: Mapping[str, Reply]) -> MailRefused | MailUnavailable:
    said = "; ".join(f"{address}: {_words(reply)}" for address, reply in sorted(recipients.items())[:5])
    if any(code < 500 for code, _text in recipients.values()):
        return MailUnavailable(f"The mail server takes it for nobody at present: {said}")
    return MailRefused(f"The mail server refused every recipient: {said}")


def _words(reply: Reply) -> str:
    code, text = reply
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return f"{code} {' '.join(shown.split())}"[:SHOWN_CHARS]
