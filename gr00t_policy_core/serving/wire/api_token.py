# SPDX-License-Identifier: Apache-2.0
"""The token that a request carries, and that a server may ask for."""

from __future__ import annotations

import hmac


def token_matches(expected: str | None, given: object) -> bool:
    """Whether a request's token lets it in, compared in constant time.

    Args:
        expected: The server's token; None lets everyone in.
        given: What the request carries; anything but a str never matches.
    """
    if expected is None:
        return True
    if not isinstance(given, str):
        return False
    return hmac.compare_digest(expected.encode(), given.encode())


def token_problems(token: object) -> list[str]:
    """What is wrong with a token; None is none."""
    if token is None:
        return []
    if not isinstance(token, str) or not token:
        return ["api_token must be a non-empty str, or None for no token"]
    try:
        token.encode()
    except UnicodeEncodeError:  # from an environment or a command line whose bytes are no UTF-8
        return ["api_token must be text in UTF-8, or no request could carry it"]
    return []
