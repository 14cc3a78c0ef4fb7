# SPDX-License-Identifier: Apache-2.0
"""Which names are ours, and which tokens are good enough."""

import socket

import pytest

from gr00t_ros.dashboard.access import is_own_name, new_token, token_problem


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
