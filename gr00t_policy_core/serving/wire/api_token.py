# SPDX-License-Identifier: Apache-2.0
"""The API token that a request carries where the server requires one."""

from __future__ import annotations

import hmac


def token_matches(expected: str | None, given: object) -> bool:
    """Compare the token of a request with that of the server, in constant time.

    Args:
        expected: The server's token; None matches everything.
        given: What the request carries; only a str can match.
    """
    if expected is None:
        return True
    if not isinstance(given, str):
        return False
    return hmac.compare_digest(expected.encode(), given.encode())


def token_problems(token: object) -> list[str]:
    """What is wrong with a token; None, for no token, is right."""
    if token is None:
        return []
    if not isinstance(token, str) or not token:
        return ["api_token must be a non-empty str, or None for no token"]
    try:
        token.encode()
    except UnicodeEncodeError:  # from an environment variable or a command line that is not UTF-8
        return ["api_token must be text in UTF-8, or no request could carry it"]
    return []
