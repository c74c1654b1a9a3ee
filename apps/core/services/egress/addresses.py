"""Which addresses the portal may open: parse once, resolve every address, refuse what is not public, pin the rest.

A tenant types host names. Without this check a connection to `127.0.0.1`, a cloud's metadata service or a name that
resolves to the inside would let a tenant read the operator's network. The caller connects to the address returned
here, never to the name again, so that a second DNS answer cannot change the decision (rebinding).

Source: reliability-and-security.md §3.7.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

import idna
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from apps.core.exceptions import TerminalError, TransientError

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

RESOLVE_TIMEOUT_S = 5.0
DEFAULT_PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")
NAT64_LOCAL = ipaddress.ip_network("64:ff9b:1::/48")
V4_COMPATIBLE = ipaddress.ip_network("::/96")
V4_TRANSLATED = ipaddress.ip_network("::ffff:0:0:0/96")
# Not global by IANA's registry, but reported as global by older Python versions.
NEVER_GLOBAL = tuple(
    ipaddress.ip_network(block)
    for block in ("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4")
)
NUMERIC_LABEL = re.compile(r"^(0[xX][0-9a-fA-F]*|[0-9]+)$")
FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\@#?/%<>\"'{}|^`]")

_resolver_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="egress-dns")


class EgressDenied(TerminalError):
    """The portal may not connect to this address."""

    code = "core.egress.denied"
    status = 422
    default_remedy = (
        "Use an address that is reachable from the public internet, or ask the operator to add it to "
        "EGRESS_ALLOW_PRIVATE."
    )


class HostUnresolved(TerminalError):
    """The host name has no address."""

    code = "core.egress.host_unresolved"
    status = 422
    default_remedy = "Check the spelling of the host name."


class HostUnreachable(TransientError):
    """Nothing answers at this address."""

    code = "core.egress.unreachable"
    default_remedy = "Check the port, that the system is running, and that its firewall lets the portal in."


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A checked target: connect to `ip`, speak (SNI, Host header) to `host`."""

    ip: str
    host: str
    port: int
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """A URL whose form is fine; its addresses are checked when it is connected."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: credentials stay within one origin."""
        return (self.scheme, self.host, self.port)


@dataclass(frozen=True, slots=True)
class _Allowance:
    """One item of EGRESS_ALLOW_PRIVATE: a network or a name, and a port or any."""

    network: ipaddress.IPv4Network | ipaddress.IPv6Network | None
    name: str
    port: int | None

    def covers(self, host: str, address: IpAddress, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.name == host


def resolve_target(host: str, port: int, *, purpose: str = "") -> ResolvedTarget:
    """Check a host and port and pin the address to connect to.

    Args:
        host: name or IP literal as the user typed it.
        port: 1 to 65535.
        purpose: for the message (`PostgreSQL server`).

    Returns:
        The target; `ip` is the address to open.

    Raises:
        EgressDenied: the form is unusual, or any of its addresses is not public and not allowed.
        HostUnresolved: the name has no address, or the resolver did not answer in time.
    """
    what = f" of the {purpose}" if purpose else ""
    if not 0 < port < 65_536:
        raise EgressDenied(f"Port {port}{what} is out of range.", field="port", value=port, remedy="Use 1 to 65535.")
    name = normalise_host(host)
    literal = _literal(name)
    addresses = [literal] if literal is not None else _resolve(name, port)
    for address in addresses:
        check_address(address, host=name, port=port)
    pinned = next((one for one in addresses if one.version == 4), addresses[0])
    return ResolvedTarget(str(pinned), name, port, tuple(str(one) for one in addresses))


def check_url(url: str, *, schemes: Iterable[str] = ("http", "https")) -> CheckedUrl:
    """Check the form of a URL. Its addresses are checked at connect time, and at once for IP literals.

    Raises:
        EgressDenied: scheme, user info, control characters, backslash, port or host are not acceptable.
    """
    allowed = tuple(schemes)
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise EgressDenied("The address contains a space, a control character or a backslash.", field="url", value=url)
    try:
        parts: SplitResult = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise EgressDenied(f"The address cannot be read: {error}.", field="url", value=url) from None
    if parts.scheme.lower() not in allowed:
        raise EgressDenied(
            f"Addresses must start with {' or '.join(f'{one}://' for one in allowed)}.", field="url", value=url
        )
    if "@" in parts.netloc:
        raise EgressDenied("The address must not contain a user name or password.", field="url", value=parts.hostname)
    if not parts.hostname:
        raise EgressDenied("The address has no host.", field="url", value=url)
    scheme = parts.scheme.lower()
    host = normalise_host(parts.hostname)
    number = port if port is not None else DEFAULT_PORTS.get(scheme, 0)
    if not 0 < number < 65_536:
        raise EgressDenied(f"Port {number} is out of range.", field="url", value=url)
    literal = _literal(host)
    if literal is not None:
        check_address(literal, host=host, port=number)
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port is None else f"{shown}:{port}"
    return CheckedUrl(parts._replace(netloc=netloc, scheme=scheme, fragment="").geturl(), scheme, host, number)


def normalise_host(host: str) -> str:
    """One spelling per host: lower case, IDNA, no trailing dot; refuses what parsers read differently.

    Raises:
        EgressDenied: empty, odd characters, or a number written so that only some parsers see an IP address.
    """
    text = host.strip()
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if not text or FORBIDDEN.search(text):
        raise EgressDenied("The host name is empty or contains a character that host names cannot have.", value=host)
    if ":" in text:
        try:
            return str(ipaddress.IPv6Address(text))
        except ValueError:
            raise EgressDenied("This is neither a host name nor an IP address.", value=host) from None
    try:
        name = idna.encode(text.rstrip("."), uts46=True, std3_rules=False).decode("ascii").lower()
    except idna.IDNAError as error:
        # Underscores are common inside companies' networks though no host name standard has them.
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", text):
            raise EgressDenied(f"This is not a host name: {error}.", value=host) from None
        name = text.rstrip(".").lower()
    if not name:
        raise EgressDenied("The host name is empty.", value=host)
    looks_numeric = NUMERIC_LABEL.match(name.rsplit(".", 1)[-1]) is not None
    if looks_numeric:
        try:
            canonical = str(ipaddress.IPv4Address(name))
        except ValueError:
            canonical = ""
        if canonical != text.rstrip("."):
            raise EgressDenied("Write the IP address as four plain decimal numbers.", value=host)
    return name


def check_address(address: IpAddress, *, host: str, port: int) -> None:
    """Refuse an address that is not public, unless the operator allowed it for this port.

    Raises:
        EgressDenied: names the address, so that an operator can decide about it.
    """
    if _is_public(address) and all(_is_public(one) for one in _embedded(address)):
        return
    # The allowance must name the address itself: allowing 127.0.0.0/8 does not allow its IPv6 disguises.
    if any(item.covers(host, address, port) for item in _allowances()):
        return
    shown = host if host == str(address) else f"{host} ({address})"
    raise EgressDenied(
        f"{shown} is inside a private or reserved network; the portal does not connect there.",
        field="host",
        value=host,
        address=str(address),
        port=port,
    )


def _literal(name: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _resolve(name: str, port: int) -> list[IpAddress]:
    lookup = _resolver_pool.submit(socket.getaddrinfo, name, port, 0, socket.SOCK_STREAM)
    try:
        answers = lookup.result(timeout=RESOLVE_TIMEOUT_S)
    except FutureTimeout:
        raise HostUnresolved(f"Looking up {name} took longer than {RESOLVE_TIMEOUT_S:g} s.", value=name) from None
    except (OSError, UnicodeError):
        raise HostUnresolved(f"The host name {name} has no address.", field="host", value=name) from None
    found: dict[str, IpAddress] = {}
    for _family, _kind, _protocol, _canonical, socket_address in answers:
        text = str(socket_address[0]).split("%", 1)[0]
        found.setdefault(text, ipaddress.ip_address(text))
    if not found:
        raise HostUnresolved(f"The host name {name} has no address.", field="host", value=name)
    return list(found.values())


def _embedded(address: IpAddress) -> list[IpAddress]:
    """IPv4 addresses that an IPv6 address carries: a gateway on the way may unwrap them."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[IpAddress] = []
    if address.ipv4_mapped is not None:
        found.append(address.ipv4_mapped)
    if address.sixtofour is not None:
        found.append(address.sixtofour)
    if address.teredo is not None:
        found.extend(address.teredo)
    if any(address in block for block in (NAT64, V4_TRANSLATED)):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    return found


def _is_public(address: IpAddress) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return (
            address.is_global
            and not address.is_multicast
            and not address.is_reserved
            and not any(address in block for block in NEVER_GLOBAL)
        )
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    if address in NAT64_LOCAL or address in V4_COMPATIBLE or address in V4_TRANSLATED:
        return False
    return address.is_global and not address.is_multicast and not address.is_site_local and not address.is_link_local


def _allowances() -> list[_Allowance]:
    return [_parse_allowance(item) for item in getattr(settings, "EGRESS_ALLOW_PRIVATE", [])]


def _parse_allowance(item: str) -> _Allowance:
    target, _separator, port_text = item.strip().rpartition(":")
    target = target.strip("[]").lower()
    if not target or not (port_text == "*" or port_text.isdigit()):
        raise ImproperlyConfigured(f"EGRESS_ALLOW_PRIVATE: {item!r} is not `host-or-network:port` or `…:*`.")
    port = None if port_text == "*" else int(port_text)
    try:
        return _Allowance(ipaddress.ip_network(target, strict=False), "", port)
    except ValueError:
        return _Allowance(None, target, port)


def open_socket(target: ResolvedTarget, *, timeout_s: float) -> socket.socket:
    """A TCP connection to a checked target, for clients that take a socket.

    Raises:
        OSError: nothing answers at this address and port.
    """
    return socket.create_connection((target.ip, target.port), timeout=timeout_s)


def probe(target: ResolvedTarget, *, timeout_s: float) -> None:
    """Open and close a TCP connection to a checked target.

    Raises:
        HostUnreachable: nothing answers at this address and port.
    """
    try:
        with open_socket(target, timeout_s=timeout_s):
            return
    except TimeoutError:
        reason = f"no answer within {timeout_s:g} s"
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    raise HostUnreachable(
        f"{target.host} cannot be reached on port {target.port}: {reason}.", field="host", value=target.host
    )
