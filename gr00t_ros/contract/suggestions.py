# SPDX-License-Identifier: Apache-2.0
"""Suggestions for misspelt names. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the most similar known name; empty if none is similar.

    A name that differs by a prefix counts as similar: robot descriptions add prefixes
    (``left_shoulder_pan``).
    """
    names = list(known)
    prefixed = [one for one in names if one.endswith(name) or name.endswith(one)]
    if prefixed:
        return get_close_matches(name, prefixed, n=1, cutoff=0.0)[0]
    return next(iter(get_close_matches(name, names, n=1)), "")


def did_you_mean(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return the end of a sentence about an unknown name: the similar one, or nothing."""
    found = nearest(name, known)
    return f" (did you mean {prefix}{found}?)" if found else ""
