"""The egress guard against the corpus of reliability-and-security.md §3.7, with real sockets where it matters."""

from __future__ import annotations

import ast
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from django.core.exceptions import ImproperlyConfigured

from apps.core.services import egress

ROOT = Path(__file__).resolve().parents[2]

HOSTILE_HOSTS = [
    ("2130706433", "decimal form of 127.0.0.1"),
    ("0177.0.0.1", "octal"),
    ("0x7f.0.0.1", "hexadecimal"),
    ("0x7f000001", "hexadecimal, one number"),
    ("127.1", "short form"),
    ("0", "short form of 0.0.0.0"),
    ("127.0.0.1", "loopback"),
    ("127.8.9.10", "all of 127/8 is loopback"),
    ("0.0.0.0", "unspecified"),
    ("10.0.0.8", "private"),
    ("172.16.0.1", "private"),
    ("192.168.1.1", "private"),
    ("100.64.0.1", "carrier-grade NAT"),
    ("169.254.169.254", "cloud metadata"),
    ("198.18.0.1", "benchmark network"),
    ("192.0.0.8", "IETF assignments"),
    ("224.0.0.1", "multicast"),
    ("255.255.255.255", "broadcast"),
    ("[::1]", "loopback"),
    ("[::]", "unspecified"),
    ("[::ffff:127.0.0.1]", "IPv4-mapped"),
    ("[::ffff:7f00:1]", "IPv4-mapped, hexadecimal"),
    ("[::127.0.0.1]", "IPv4-compatible"),
    ("[2002:7f00:1::]", "6to4 of 127.0.0.1"),
    ("[2002:a9fe:a9fe::1]", "6to4 of the metadata address"),
    ("[2001:0:7f00:1::]", "Teredo through 127.0.0.1"),
    ("[64:ff9b::7f00:1]", "NAT64 of 127.0.0.1"),
    ("[64:ff9b::a9fe:a9fe]", "NAT64 of the metadata address"),
    ("[64:ff9b:1::1]", "local-use NAT64"),
    ("[fd00:ec2::254]", "metadata over IPv6"),
    ("[fe80::1]", "link-local"),
    ("[fec0::1]", "site-local"),
    ("１２７.0.0.1", "full-width digits"),
    ("①②⑦.0.0.1", "circled digits"),
    ("１.1.1.1", "full-width digits of a public address: no honest user types them"),
    ("127。0。0。1", "ideographic full stops"),
    ("localhost", "resolves to loopback"),
    ("localhost.", "trailing dot"),
    ("LOCALHOST", "upper case"),
    ("a b", "space"),
    ("exa\tmple.com", "tab"),
    ("example.com\r\nX-A: 1", "line break"),
    ("example.com\\@10.0.0.1", "backslash"),
    ("user@example.com", "user info"),
    ("example.com#x", "fragment"),
    ("example.com/x", "path"),
    ("%31%32%37.0.0.1", "percent-encoded"),
    ("[fe80::1%25eth0]", "zone"),
    ("", "empty"),
]

HOSTILE_URLS = [
    "gopher://example.com/",
    "file:///etc/passwd",
    "ftp://example.com/",
    "//example.com/",
    "javascript:alert(1)",
    "http://user:pw@example.com/",
    "http://example.com@10.0.0.1/",
    "http://example.com\\@10.0.0.1/",
    "http://exam\nple.com/",
    "http://example.com/a\r\nHost: x",
    "http://example.com:99999/",
    "http://example.com:0/",
    "http://:80/",
    "http://[::1/",
    "http://0x7f.1/",
    "http://127.0.0.1/",
    "http://[::ffff:169.254.169.254]/latest/meta-data/",
    "https://169.254.169.254/latest/",
]

BANNED = {"requests", "httpx", "urllib3", "aiohttp", "http.client", "urllib.request", "ftplib", "telnetlib", "smtplib"}
ALLOWED = {("apps/engine/services/mailing.py", "smtplib")}
"""The mail server is the operator's, by a setting; no tenant has a say in its address."""
BANNED_SOCKET_CALLS = {"socket", "create_connection", "getaddrinfo", "gethostbyname", "gethostbyname_ex"}


@pytest.fixture(autouse=True)
def _nothing_private(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = []


def _answers(*addresses: str) -> list[Any]:
    return [
        (socket.AF_INET6 if ":" in one else socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses
    ]


@pytest.mark.parametrize(("host", "why"), HOSTILE_HOSTS, ids=[why for _, why in HOSTILE_HOSTS])
def test_hostile_hosts_are_refused(host: str, why: str) -> None:
    with pytest.raises((egress.EgressDenied, egress.HostUnresolved)) as caught:
        egress.resolve_target(host, 443)
    assert caught.value.remedy


@pytest.mark.parametrize("url", HOSTILE_URLS)
def test_hostile_urls_are_refused(url: str) -> None:
    with pytest.raises(egress.EgressDenied):
        egress.check_url(url)


@pytest.mark.parametrize("host", ["1.1.1.1", "[2606:4700:4700::1111]", "93.184.216.34"])
def test_public_literals_pass_unchanged(host: str) -> None:
    assert egress.resolve_target(host, 443).ip == host.strip("[]")


def test_idn_is_resolved_in_its_ascii_form(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest: asked.append(host) or _answers("1.1.1.1"))
    assert egress.resolve_target("Bücher.example", 443).host == "xn--bcher-kva.example"
    assert asked == ["xn--bcher-kva.example"]


def test_one_private_answer_among_public_ones_refuses_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest: _answers("1.1.1.1", "10.0.0.1"))
    with pytest.raises(egress.EgressDenied, match="private or reserved"):
        egress.resolve_target("mixed.example", 443)


def test_unknown_host_says_so() -> None:
    with pytest.raises(egress.HostUnresolved, match="has no address"):
        egress.resolve_target("no-such-host.invalid", 5432)


@pytest.mark.parametrize(
    ("item", "host", "port", "allowed"),
    [
        ("127.0.0.1:5432", "127.0.0.1", 5432, True),
        ("127.0.0.1:5432", "127.0.0.1", 5433, False),
        ("10.0.0.0/8:*", "10.1.2.3", 1, True),
        ("10.0.0.0/8:*", "11.1.2.3", 1, True),  # public anyway
        ("10.0.0.0/8:*", "192.168.0.1", 1, False),
        ("[::1]:*", "[::1]", 80, True),
        ("localhost:8080", "localhost", 8080, True),
        ("localhost:8080", "127.0.0.1", 8080, False),
        # Allowing the loopback network does not allow its disguises.
        ("127.0.0.0/8:*", "[::ffff:127.0.0.1]", 80, False),
        ("127.0.0.0/8:*", "[2002:7f00:1::]", 80, False),
    ],
)
def test_allow_list(settings: Any, item: str, host: str, port: int, allowed: bool) -> None:
    settings.EGRESS_ALLOW_PRIVATE = [item]
    if allowed:
        assert egress.resolve_target(host, port).port == port
    else:
        with pytest.raises(egress.EgressDenied):
            egress.resolve_target(host, port)


@pytest.mark.parametrize("item", ["10.0.0.0/8", "db.internal", ":5432", "10.0.0.1:", "10.0.0.1:http"])
def test_a_malformed_allowance_is_named(settings: Any, item: str) -> None:
    settings.EGRESS_ALLOW_PRIVATE = [item]
    with pytest.raises(ImproperlyConfigured, match="EGRESS_ALLOW_PRIVATE"):
        egress.resolve_target("10.0.0.1", 5432)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def serve(settings: Any) -> AsyncIterator[Callable[..., Awaitable[str]]]:
    """Starts a local server with the given handlers; its port, and only that, is allowed."""
    runners: list[web.AppRunner] = []

    async def start(**handlers: Handler) -> str:
        application = web.Application()
        for name, handler in handlers.items():
            application.router.add_route("*", f"/{name}", handler)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        runners.append(runner)
        port = runner.addresses[0][1]
        settings.EGRESS_ALLOW_PRIVATE = [*settings.EGRESS_ALLOW_PRIVATE, f"127.0.0.1:{port}"]
        return f"http://127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


def _redirect(location: str, status: int = 302) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": location})

    return handler


async def _echo(request: web.Request) -> web.StreamResponse:
    return web.json_response({"method": request.method, "headers": dict(request.headers), "body": await request.text()})


async def test_request_reads_an_allowed_server(serve: Any) -> None:
    base = await serve(echo=_echo)
    async with egress.open_session() as session:
        answer = await session.request("POST", f"{base}/echo", body=b"hello", headers={"Authorization": "Bearer t"})
    assert answer.status == 200
    assert answer.json()["body"] == "hello"
    assert answer.json()["headers"]["Authorization"] == "Bearer t"


async def test_credentials_are_dropped_when_a_redirect_changes_the_host(serve: Any) -> None:
    elsewhere = await serve(echo=_echo)
    base = await serve(go=_redirect(f"{elsewhere}/echo"), stay=_redirect("/echo", 307), echo=_echo)
    headers = {"Authorization": "Bearer t", "X-Api-Key": "k", "Accept": "application/json"}
    async with egress.open_session() as session:
        moved = (await session.request("POST", f"{base}/go", headers=headers, body=b"x")).json()
        stayed = (await session.request("POST", f"{base}/stay", headers=headers, body=b"x")).json()
    assert "Authorization" not in moved["headers"]
    assert "X-Api-Key" not in moved["headers"]
    assert (moved["method"], moved["body"]) == ("GET", "")
    assert stayed["headers"]["X-Api-Key"] == "k"
    assert (stayed["method"], stayed["body"]) == ("POST", "x")


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/", "http://127.0.0.1:9/", "http://localhost/", "file:///etc/passwd", "//[::1]/"],
)
async def test_every_redirect_is_checked_again(serve: Any, location: str) -> None:
    base = await serve(go=_redirect(location))
    async with egress.open_session() as session:
        with pytest.raises(egress.EgressDenied):
            await session.request("GET", f"{base}/go")


async def test_redirect_chains_end_after_three(serve: Any) -> None:
    base = await serve(a=_redirect("/b"), b=_redirect("/c"), c=_redirect("/d"), d=_redirect("/e"), e=_echo)
    async with egress.open_session() as session:
        with pytest.raises(egress.EgressDenied, match="more than 3 times"):
            await session.request("GET", f"{base}/a")
        assert (await session.request("GET", f"{base}/b")).status == 200


async def test_rebinding_is_caught_at_connect_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [_answers("1.1.1.1"), _answers("127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *rest: answers.pop(0))
    assert egress.resolve_target("rebind.example", 80).ip == "1.1.1.1"
    async with egress.open_session() as session:
        with pytest.raises(egress.EgressDenied):
            await session.request("GET", "http://rebind.example/")


async def test_gzip_bomb_stops_at_the_limit(serve: Any) -> None:
    bomb = gzip.compress(b"\0" * (64 * 1024**2))

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    base = await serve(bomb=handler)
    async with egress.open_session(egress.EgressLimits(max_bytes=1024**2)) as session:
        with pytest.raises(egress.ResponseTooLarge, match="larger than 1 MB"):
            await session.request("GET", f"{base}/bomb")


async def test_compressed_answers_are_inflated(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=gzip.compress(b'{"total": 10.10}'), headers={"Content-Encoding": "gzip"})

    base = await serve(small=handler)
    async with egress.open_session() as session:
        answer = await session.request("GET", f"{base}/small")
    assert str(answer.json()["total"]) == "10.10"


async def test_slow_answers_end_in_time(serve: Any) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await __import__("asyncio").sleep(0.1)
        return response

    base = await serve(slow=handler)
    async with egress.open_session(egress.EgressLimits(total_s=0.5)) as session:
        with pytest.raises(egress.EgressFailed, match="in time"):
            await session.request("GET", f"{base}/slow")


async def test_header_values_cannot_smuggle_lines(serve: Any) -> None:
    base = await serve(echo=_echo)
    async with egress.open_session() as session:
        with pytest.raises(egress.EgressDenied, match="line break"):
            await session.request("GET", f"{base}/echo", headers={"X-A": "1\r\nX-B: 2"})


async def test_closed_port_is_a_passing_fault(settings: Any) -> None:
    settings.EGRESS_ALLOW_PRIVATE = ["127.0.0.1:*"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with egress.open_session() as session:
        with pytest.raises(egress.EgressFailed, match="cannot be reached"):
            await session.request("GET", f"http://127.0.0.1:{port}/")


def _network_names(node: ast.AST) -> list[str]:
    """Names by which this node reaches for the network; asking for the own host name is not one."""
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and node.module:
        names = [node.module, *[f"{node.module}.{alias.name}" for alias in node.names]]
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "socket":
        return [f"socket.{node.attr}"] if node.attr in BANNED_SOCKET_CALLS else []
    found = [name for name in names if any(name == one or name.startswith(f"{one}.") for one in BANNED)]
    return found + [name for name in names if name in {f"socket.{call}" for call in BANNED_SOCKET_CALLS}]


def test_no_other_module_imports_a_network_client() -> None:
    offenders = []
    for path in sorted((ROOT / "apps").rglob("*.py")):
        relative = path.relative_to(ROOT).as_posix()
        if relative.startswith("apps/core/services/egress/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name for name in _network_names(node) if (relative, name) not in ALLOWED]
            offenders += [f"{relative}:{node.lineno} {name}" for name in names]
    assert offenders == [], "Outgoing connections go through apps.core.services.egress."
