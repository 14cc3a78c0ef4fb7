# SPDX-License-Identifier: Apache-2.0
"""The settings of a server, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.serving.security import token_problems

if TYPE_CHECKING:
    from gr00t_policy_core.serving.prometheus import Exporter

REPLY_FORMATS = ("auto", "envelope", "bare")


def make_exporter(host: str, port: int, snapshot: Callable[[], dict[str, Any]]) -> Exporter:
    """Serve metrics to Prometheus; `ImportError` where its client is not installed."""
    try:
        from gr00t_policy_core.serving.prometheus import Exporter
    except ImportError as error:
        raise ImportError(
            f"metrics for Prometheus need: pip install '.[metrics]' ({error})"
        ) from None
    return Exporter(host, port, snapshot)


def problems(api_token: object, reply_format: object, max_batch: object) -> list[str]:
    """What is wrong with them."""
    found = token_problems(api_token)
    if reply_format not in REPLY_FORMATS:
        found.append(f"reply_format must be one of {REPLY_FORMATS}, got {reply_format!r}")
    if type(max_batch) is not int or max_batch < 1:
        found.append(f"max_batch must be an integer of at least 1, got {max_batch!r}")
    return found
