"""Invitations: from the message to the first page, once."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.test import Client

from apps.access.contracts import Actor
from apps.access.exceptions import InvitationInvalid
from apps.access.models import Invitation, User
from apps.access.services.invitations import accept_invitation, create_invitation
from apps.core.clock import now
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

URL = "/api/v2/invitations"
PASSWORD = "a-long-and-strange-passphrase"
SIGNUP = "/accounts/signup/"


@pytest.fixture
def invite(api_for: Any, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any) -> Any:
    """`invite(tenant, email)` sends an invitation and returns (its JSON, the path of its link)."""

    def send(tenant: Tenant, email: str = "ada@lovelace.example", roles: tuple[str, ...] = ("builder",)) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            answer = api_for(tenant).post(URL, {"email": email, "roles": list(roles)})
        assert answer.status_code == 201, answer.json()
        return answer.json(), path_of(mailoutbox[-1])

    return send


def path_of(mail: Any) -> str:
    found = re.search(r"http://[^/\s]+(/accounts/invitations/\S+)", mail.body)
    assert found
    return found.group(1)


def visitor(tenant: Tenant) -> Client:
    return Client(HTTP_HOST=f"{tenant.slug}.localhost")


def is_closed(page: Any) -> bool:
    return "account/signup_closed.html" in {template.name for template in page.templates}


def form(**changes: str) -> dict[str, str]:
    return {"email": "ada@lovelace.example", "name": "Ada", "password1": PASSWORD, "password2": PASSWORD, **changes}


def test_invited_person_signs_up_and_is_in(acme: Tenant, invite: Any, mailoutbox: list[Any]) -> None:
    row, path = invite(acme, "Ada@Lovelace.example")
    assert (row["email"], row["status"], row["roles"]) == ("ada@lovelace.example", "open", ["builder"])
    assert mailoutbox[-1].to == ["ada@lovelace.example"]
    assert "Acme" in mailoutbox[-1].subject
    browser = visitor(acme)

    opened = browser.get(path)
    assert (opened.status_code, opened["Location"]) == (302, SIGNUP)
    page = browser.get(SIGNUP)
    assert page.status_code == 200
    assert "ada@lovelace.example" in page.content.decode()
    done = browser.post(SIGNUP, form())

    assert (done.status_code, done["Location"]) == (302, "/overview")
    me = browser.get("/api/v2/me").json()
    assert (me["user"]["email"], me["user"]["name"], me["roles"]) == ("ada@lovelace.example", "Ada", ["builder"])
    with tenant_context(acme):
        address = EmailAddress.objects.get(email="ada@lovelace.example")
        assert (address.verified, address.primary) == (True, True)
        assert Invitation.objects.get(pk=row["id"]).status == "accepted"


def test_link_works_once(acme: Tenant, invite: Any) -> None:
    _, path = invite(acme)
    first, second = visitor(acme), visitor(acme)
    first.get(path)
    second.get(path)
    assert first.post(SIGNUP, form()).status_code == 302

    assert is_closed(second.get(SIGNUP))
    assert visitor(acme).get(path).status_code == 410


def test_looking_at_the_link_does_not_use_it_up(acme: Tenant, invite: Any) -> None:
    _, path = invite(acme)
    for _ in range(3):
        assert visitor(acme).get(path).status_code == 302
        assert visitor(acme).head(path).status_code == 302
    assert visitor(acme).post(path).status_code == 405


def test_link_of_one_tenant_is_unknown_to_the_other(acme: Tenant, globex: Tenant, invite: Any) -> None:
    _, path = invite(acme)
    assert visitor(globex).get(path).status_code == 410
    browser = visitor(acme)
    browser.get(path)
    assert is_closed(browser.get(SIGNUP, HTTP_HOST="globex.localhost"))


def test_nobody_signs_up_without_an_invitation(acme: Tenant) -> None:
    browser = visitor(acme)
    assert is_closed(browser.get(SIGNUP))
    browser.post(SIGNUP, form())
    with tenant_context(acme):
        assert not User.objects.filter(email="ada@lovelace.example").exists()


def test_typed_address_is_ignored(acme: Tenant, invite: Any) -> None:
    _, path = invite(acme)
    browser = visitor(acme)
    browser.get(path)
    browser.post(SIGNUP, form(email="boss@acme.example"))
    assert browser.get("/api/v2/me").json()["user"]["email"] == "ada@lovelace.example"


@pytest.mark.parametrize(
    "wrong", [{"password1": "short", "password2": "short"}, {"password2": "different-passphrase"}, {"name": ""}]
)
def test_wrong_form_can_be_sent_again(acme: Tenant, invite: Any, wrong: dict[str, str]) -> None:
    _, path = invite(acme)
    browser = visitor(acme)
    browser.get(path)
    assert browser.post(SIGNUP, form(**wrong)).status_code == 200
    assert browser.post(SIGNUP, form()).status_code == 302


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_invitation_ends_between_opening_and_sending(acme: Tenant, invite: Any, api_for: Any, end: str) -> None:
    row, path = invite(acme)
    browser = visitor(acme)
    browser.get(path)
    if end == "expired":
        with tenant_context(acme):
            Invitation.objects.filter(pk=row["id"]).update(expires_at=now() - timedelta(seconds=1))
    else:
        assert api_for(acme).delete(f"{URL}/{row['id']}").status_code == 204
    browser.post(SIGNUP, form())
    with tenant_context(acme):
        assert not User.objects.filter(email="ada@lovelace.example").exists()
    assert visitor(acme).get(path).status_code == 410


def test_accepting_twice_at_once_is_refused(as_acme: Tenant) -> None:
    invitation = create_invitation("ada@lovelace.example", roles=["viewer"], actor=Actor.system("tests"))
    user = User.objects.create_user("ada@lovelace.example", PASSWORD)
    accept_invitation(invitation.id, user=user)
    with pytest.raises(InvitationInvalid):
        accept_invitation(invitation.id, user=user)


def test_invitation_for_another_address_is_refused(as_acme: Tenant) -> None:
    invitation = create_invitation("ada@lovelace.example", roles=["admin"], actor=Actor.system("tests"))
    with pytest.raises(InvitationInvalid):
        accept_invitation(invitation.id, user=User.objects.create_user("eve@evil.example", PASSWORD))


def test_token_is_stored_as_a_hash_only(acme: Tenant, invite: Any) -> None:
    row, path = invite(acme)
    token = path.rstrip("/").rsplit("/", 1)[1]
    with tenant_context(acme):
        assert token not in str(Invitation.objects.get(pk=row["id"]).__dict__)
    assert token not in str(row)


def test_resending_replaces_the_link(
    acme: Tenant, invite: Any, api_for: Any, mailoutbox: list[Any], django_capture_on_commit_callbacks: Any
) -> None:
    row, path = invite(acme)
    with django_capture_on_commit_callbacks(execute=True):
        assert api_for(acme).post(f"{URL}/{row['id']}/resend").status_code == 200
    fresh = path_of(mailoutbox[-1])

    assert fresh != path
    assert visitor(acme).get(path).status_code == 410
    assert visitor(acme).get(fresh).status_code == 302


def test_mail_server_that_is_down_keeps_the_invitation(
    acme: Tenant, api_for: Any, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def down(*_args: object, **_kwargs: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", down)
    with django_capture_on_commit_callbacks(execute=True):
        answer = api_for(acme).post(URL, {"email": "ada@lovelace.example", "roles": ["viewer"]})
    assert answer.status_code == 201
    row = api_for(acme).get(URL).json()["results"][0]
    assert (row["status"], row["sent_at"]) == ("open", None)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"email": "{member}", "roles": ["viewer"]}, 409, "access.already_member"),
        ({"email": "ADA@lovelace.example", "roles": ["viewer"]}, 409, "access.invitation_open"),
        ({"email": "new@x.example", "roles": ["nobody"]}, 404, "access.role_not_found"),
        ({"email": "new@x.example", "roles": []}, 422, "core.invalid"),
        ({"email": "nonsense", "roles": ["viewer"]}, 422, "core.invalid"),
    ],
)
def test_inviting_refuses(acme: Tenant, api_for: Any, invite: Any, body: Any, status: int, code: str) -> None:
    invite(acme)
    client = api_for(acme)
    answer = client.post(URL, {**body, "email": body["email"].format(member=client.user.email)})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_inviter_cannot_hand_out_more_than_they_hold(acme: Tenant, api_for: Any) -> None:
    client = api_for(acme, permissions=("member:view", "member:manage"))
    answer = client.post(URL, {"email": "new@x.example", "roles": ["admin"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "access.scope_not_held")


def test_expired_invitation_can_be_made_anew(acme: Tenant, api_for: Any, invite: Any) -> None:
    row, _ = invite(acme)
    with tenant_context(acme):
        Invitation.objects.filter(pk=row["id"]).update(expires_at=now() - timedelta(days=1))
    assert api_for(acme).post(URL, {"email": "ada@lovelace.example", "roles": ["viewer"]}).status_code == 201


@pytest.mark.parametrize(("method", "tail"), [("delete", ""), ("post", "/resend")])
def test_invitation_of_another_tenant_is_unknown(
    acme: Tenant, globex: Tenant, invite: Any, api_for: Any, method: str, tail: str
) -> None:
    row, path = invite(acme)
    answer = getattr(api_for(globex), method)(f"{URL}/{row['id']}{tail}")
    assert (answer.status_code, answer.json()["code"]) == (404, "access.invitation_not_found")
    assert visitor(acme).get(path).status_code == 302


@pytest.mark.parametrize(("method", "tail"), [("get", ""), ("post", "")])
def test_invitations_need_their_permission(acme: Tenant, api_for: Any, method: str, tail: str) -> None:
    client = api_for(acme, permissions=("flow:view",))
    answer = getattr(client, method)(f"{URL}{tail}", {"email": "a@b.example", "roles": ["viewer"]})
    assert (answer.status_code, answer.json()["code"]) == (403, "access.permission_denied")


def test_invitations_page_costs_few_queries(acme: Tenant, api_for: Any, django_assert_num_queries: Any) -> None:
    client = api_for(acme)
    for number in range(3):
        client.post(URL, {"email": f"p{number}@x.example", "roles": ["viewer", "operator"]})
    with django_assert_num_queries(5):  # session, user, permissions, invitations, roles
        assert len(client.get(f"{URL}?limit=2").json()["results"]) == 2
