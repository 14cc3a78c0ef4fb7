# SPDX-License-Identifier: Apache-2.0
"""Lets only those in who know the token, and only by a name of this machine. Pure.

The token is the first part of every path. Nothing is stored in the browser, so no other page can
have it send requests for it, as it could with a cookie.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_VARIABLE = "GR00T_DASHBOARD_TOKEN"
MIN_TOKEN_CHARS = 16
FORBIDDEN_STATUS = 403
REFUSED_BODY_S = 1.0  # for the body of a request that is refused; it is thrown away
HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
        b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),  # the address holds the token
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")


def new_token() -> str:
    """A token that nobody guesses."""
    return secrets.token_urlsafe(24)


def token_problem(token: str) -> str:
    """Say what is wrong with a token; empty for one that can be used."""
    if len(token) < MIN_TOKEN_CHARS or not _TOKEN.fullmatch(token):
        return (
            f"the token needs at least {MIN_TOKEN_CHARS} characters, all of them letters, digits, "
            f"- or _; this one has {len(token)}"
        )
    return ""


def is_own_name(host: str, bound_host: str) -> bool:
    """Whether a Host header names this machine.

    A page that has its own name resolved to this machine (DNS rebinding) sends its name; an
    address cannot be redirected.

    Args:
        host: The value of the header, with or without a port.
        bound_host: The name or address that the server listens on.
    """
    name = re.sub(r":\d*$", "", host).lower()
    if name in {"localhost", bound_host.lower(), socket.gethostname().lower()}:
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


class TokenGate:
    """ASGI middleware: answers 403 unless the path begins with the token and the host is ours.

    The app behind it sees the path without the token.

    Args:
        app: What is behind the gate.
        token: The token.
        bound_host: The name or address that the server listens on.
    """

    def __init__(self, app: App, *, token: str, bound_host: str) -> None:
        self._app = app
        self._token = token.encode()
        self._bound_host = bound_host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request or a WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)  # the start and the end of the server
            return
        _, _, path = scope["path"].partition("/")
        given, slash, rest = path.partition("/")
        is_known = hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token)
        if not (is_known and slash and self._is_from_here(scope)):
            await _refuse(scope, receive, send)
            return
        inside = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
        await self._app(inside, receive, _with_headers(send))

    def _is_from_here(self, scope: Scope) -> bool:
        """Whether host and, where a browser names one, origin are this server."""
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        origins = [value for name, value in headers if name == b"origin"]
        if len(hosts) != 1 or not is_own_name(hosts[0], self._bound_host):
            return False
        return all(origin == f"http://{hosts[0]}" for origin in origins)


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), *HEADERS]}
        await send(message)

    return send_with_headers


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # before accept: 403
        return
    # The connection is closed with the answer. Closed on a body that nobody has read, TCP resets
    # it, and the answer is lost.
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(_throw_away_body(receive), REFUSED_BODY_S)
    headers = [(b"content-type", b"text/plain"), (b"connection", b"close"), *HEADERS]
    await send({"type": "http.response.start", "status": FORBIDDEN_STATUS, "headers": headers})
    text = b"Open the address that `gr00t-policy dashboard` has printed, with its token.\n"
    await send({"type": "http.response.body", "body": text})


async def _throw_away_body(receive: Receive) -> None:
    while (await receive()).get("more_body", False):
        pass
