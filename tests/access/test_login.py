"""Signing in with allauth: second factor, sessions, limits."""

from __future__ import annotations

from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, hotp_value, yield_hotp_counters_from_time
from django.core.cache import cache
from django.test import Client

from apps.access.contracts import Actor
from apps.access.models import User
from apps.access.services.members import create_member
from apps.tenancy.models import Tenant
from apps.tenancy.services.context import tenant_context

PASSWORD = "correct-horse-battery-staple"
LOGIN = "/accounts/login/"
SESSIONS = "/api/v2/sessions"


@pytest.fixture(autouse=True)
def _fresh_counters(db: None) -> None:
    cache.clear()


@pytest.fixture
def ada(acme: Tenant) -> User:
    with tenant_context(acme):
        return create_member("ada@acme.example", roles=["admin"], actor=Actor.system("tests"), password=PASSWORD)


def browser(host: str = "acme.localhost", **headers: str) -> Client:
    return Client(HTTP_HOST=host, **headers)


def sign_in(client: Client, password: str = PASSWORD, email: str = "ada@acme.example") -> Any:
    return client.post(LOGIN, {"login": email, "password": password})


def test_sign_in_with_address_in_any_case(ada: User) -> None:
    client = browser()
    answer = sign_in(client, email="ADA@acme.example")
    assert (answer.status_code, answer["Location"]) == (302, "/overview")
    assert client.get("/api/v2/me").json()["user"]["email"] == "ada@acme.example"


def test_wrong_password_and_unknown_address_look_the_same(ada: User) -> None:
    wrong, unknown = sign_in(browser(), "nope"), sign_in(browser(), email="nobody@acme.example")
    assert wrong.status_code == unknown.status_code == 200
    assert wrong.context["form"].non_field_errors() == unknown.context["form"].non_field_errors()


def test_account_of_one_tenant_does_not_open_the_other(ada: User, globex: Tenant) -> None:
    client = browser("globex.localhost")
    assert sign_in(client).status_code == 200
    assert client.get("/api/v2/me").status_code == 401


def test_tenant_account_does_not_open_the_platforms_host(ada: User) -> None:
    client = browser("localhost")
    sign_in(client)
    assert client.get("/admin/").status_code == 302


def test_closed_account_cannot_sign_in(ada: User, acme: Tenant) -> None:
    with tenant_context(acme):
        User.objects.filter(pk=ada.pk).update(is_active=False)
    client = browser()
    sign_in(client)
    assert client.get("/api/v2/me").status_code == 401


def test_guessing_is_slowed_down_per_tenant(ada: User, globex: Tenant, settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "3/5m/key"}
    for _ in range(3):
        sign_in(browser(), "nope")

    refused = sign_in(browser())  # the right password, but too late
    assert refused.status_code == 200
    assert "too many" in str(refused.context["form"].non_field_errors()).lower()

    with tenant_context(globex):
        create_member("ada@acme.example", roles=["viewer"], actor=Actor.system("tests"), password=PASSWORD)
    assert sign_in(browser("globex.localhost")).status_code == 302


def totp_code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, next(yield_hotp_counters_from_time())))


def test_second_factor_is_asked_for_and_its_key_is_sealed(ada: User, acme: Tenant) -> None:
    from allauth.mfa.totp.internal.auth import generate_totp_secret

    secret = generate_totp_secret()
    with tenant_context(acme):
        TOTP.activate(ada, secret)
        assert secret not in str(Authenticator.objects.get(user=ada).data)
    client = browser()

    answer = sign_in(client)
    assert answer["Location"].startswith("/accounts/2fa/authenticate/")
    assert client.get("/api/v2/me").status_code == 401

    assert client.post(answer["Location"], {"code": "000000"}).status_code == 200
    assert client.get("/api/v2/me").status_code == 401
    assert client.post(answer["Location"], {"code": totp_code(secret)}).status_code == 302
    assert client.get("/api/v2/me").status_code == 200


def test_recovery_code_works_once(ada: User, acme: Tenant) -> None:
    from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
    from allauth.mfa.totp.internal.auth import generate_totp_secret

    with tenant_context(acme):
        TOTP.activate(ada, generate_totp_secret())
        code = RecoveryCodes.activate(ada).get_unused_codes()[0]

    first, second = browser(), browser()
    assert first.post(sign_in(first)["Location"], {"code": code}).status_code == 302
    assert second.post(sign_in(second)["Location"], {"code": code}).status_code == 200
    assert second.get("/api/v2/me").status_code == 401


def test_members_list_shows_who_has_a_second_factor(ada: User, acme: Tenant, api_for: Any) -> None:
    from allauth.mfa.totp.internal.auth import generate_totp_secret

    url = f"/api/v2/members/{ada.id}"
    client = api_for(acme)
    assert client.get(url).json()["mfa_enabled"] is False
    with tenant_context(acme):
        TOTP.activate(ada, generate_totp_secret())
    assert client.get(url).json()["mfa_enabled"] is True


def test_sessions_are_listed_and_one_is_ended(ada: User) -> None:
    laptop, phone = browser(HTTP_USER_AGENT="Laptop"), browser(HTTP_USER_AGENT="Phone")
    sign_in(laptop)
    sign_in(phone)

    rows = laptop.get(SESSIONS).json()["results"]
    assert [(row["user_agent"], row["is_current"]) for row in rows] == [("Phone", False), ("Laptop", True)]

    assert laptop.delete(f"{SESSIONS}/{rows[0]['id']}").status_code == 204
    assert phone.get("/api/v2/me").status_code == 401
    assert laptop.get("/api/v2/me").status_code == 200


def test_sign_out_elsewhere(ada: User) -> None:
    clients = [browser() for _ in range(3)]
    for client in clients:
        sign_in(client)

    assert clients[0].post(f"{SESSIONS}/end-others").json() == {"ended": 2}

    assert [client.get("/api/v2/me").status_code for client in clients] == [200, 401, 401]


def test_session_of_somebody_else_cannot_be_ended(ada: User, acme: Tenant, globex: Tenant, api_for: Any) -> None:
    victim = browser()
    sign_in(victim)
    session_id = victim.get(SESSIONS).json()["results"][0]["id"]
    for attacker in (api_for(acme), api_for(globex)):
        answer = attacker.delete(f"{SESSIONS}/{session_id}")
        assert (answer.status_code, answer.json()["code"]) == (404, "access.session_not_found")
    assert victim.get("/api/v2/me").status_code == 200


def test_changing_the_password_signs_out_elsewhere(ada: User) -> None:
    here, there = browser(), browser()
    sign_in(here)
    sign_in(there)
    fresh = "another-strange-passphrase"
    answer = here.post("/accounts/password/change/", {"oldpassword": PASSWORD, "password1": fresh, "password2": fresh})
    assert answer.status_code == 302
    assert there.get("/api/v2/me").status_code == 401


def test_last_seen_is_written_once_a_minute(ada: User, django_assert_num_queries: Any) -> None:
    client = browser()
    sign_in(client)
    client.get("/api/v2/permissions")
    with django_assert_num_queries(2):  # session, user
        client.get("/api/v2/permissions")


def test_password_reset_link_points_to_the_own_host(ada: User, mailoutbox: list[Any]) -> None:
    browser().post("/accounts/password/reset/", {"email": "ada@acme.example"})
    (mail,) = mailoutbox
    assert "http://acme.localhost/" in mail.body
    assert mail.subject.startswith("[Acme]")


def test_admin_site_is_entered_through_the_same_door(ada: User, acme: Tenant) -> None:
    """Its own form would let somebody in without the second factor."""
    from allauth.mfa.totp.internal.auth import generate_totp_secret

    with tenant_context(acme):
        TOTP.activate(ada, generate_totp_secret())
    client = browser()

    answer = client.post("/admin/login/", {"username": "ada@acme.example", "password": PASSWORD})

    assert (answer.status_code, answer["Location"].split("?")[0]) == (302, LOGIN)
    assert client.get("/admin/").status_code == 302


def test_platform_staff_lands_in_the_admin_site(db: None) -> None:
    User.objects.create_superuser("root@platform.example", PASSWORD)
    client = browser("localhost")
    answer = sign_in(client, email="root@platform.example")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/")
