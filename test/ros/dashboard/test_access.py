# SPDX-License-Identifier: Apache-2.0
"""Which names are ours, which tokens are good enough, and how a request is refused."""

import asyncio
import socket
from collections.abc import Iterator, MutableMapping
from itertools import repeat
from typing import Any

import pytest

from gr00t_ros.dashboard import access
from gr00t_ros.dashboard.access import TokenGate, is_own_name, new_token, token_problem

Message = MutableMapping[str, Any]


@pytest.mark.parametrize(
    ("host", "bound_host", "is_own"),
    [
        ("127.0.0.1:8080", "127.0.0.1", True),
        ("localhost:8080", "127.0.0.1", True),
        ("LOCALHOST", "127.0.0.1", True),
        ("[::1]:8080", "::1", True),
        ("192.168.1.7:8080", "0.0.0.0", True),
        ("robot.lab:8080", "robot.lab", True),
        (f"{socket.gethostname()}:8080", "0.0.0.0", True),
        ("evil.example:8080", "127.0.0.1", False),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("localhost.evil.example:8080", "0.0.0.0", False),
        ("", "127.0.0.1", False),
    ],
)
def test_a_host_header_names_this_machine(host: str, bound_host: str, is_own: bool) -> None:
    assert is_own_name(host, bound_host) is is_own


@pytest.mark.parametrize("token", ["short", "with a space in it, long", "a" * 15, "ä" * 20, ""])
def test_a_bad_token_is_explained(token: str) -> None:
    assert "at least 16 characters" in token_problem(token)


def test_new_tokens_are_good_and_differ() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert not any(map(token_problem, tokens))


def refuse(messages: Iterator[Message]) -> tuple[list[Message], int]:
    """What a request without the token is answered, and how many of its messages were read."""
    answer: list[Message] = []
    read = 0

    async def receive() -> Message:
        nonlocal read
        await asyncio.sleep(0)
        for message in messages:
            read += not answer
            return message
        return await asyncio.Future()  # nothing more comes

    async def send(message: Message) -> None:
        answer.append(message)

    async def app(*_: object) -> None:
        pytest.fail("it got through the gate")

    gate = TokenGate(app, token="a" * 16, bound_host="127.0.0.1")
    scope = {"type": "http", "path": "/wrong/", "headers": [(b"host", b"127.0.0.1")]}
    asyncio.run(gate(scope, receive, send))
    return answer, read


def body(*, more: bool) -> Message:
    return {"type": "http.request", "body": b"x", "more_body": more}


def test_a_refused_request_is_answered_when_its_body_has_been_read() -> None:
    """Closed on an unread body the connection would be reset, and the answer lost."""
    answer, read = refuse(iter([body(more=True), body(more=True), body(more=False)]))
    assert read == 3
    assert answer[0]["status"] == 403
    assert (b"connection", b"close") in answer[0]["headers"]


@pytest.mark.parametrize("messages", [(), repeat(body(more=True))], ids=["none", "endless"])
def test_a_refused_request_keeps_no_connection_by_its_body(
    messages: Iterator[Message], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "REFUSED_BODY_S", 0.05)
    answer, _ = refuse(iter(messages))
    assert answer[0]["status"] == 403


def test_a_refused_request_whose_sender_is_gone_ends() -> None:
    answer, read = refuse(iter([{"type": "http.disconnect"}]))
    assert read == 1
    assert answer[0]["status"] == 403
