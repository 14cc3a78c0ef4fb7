# SPDX-License-Identifier: Apache-2.0
"""The settings of a server, checked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.errors import SpecError
from gr00t_policy_core.serving.transport.base import OnDisconnect, Transport
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys
from gr00t_policy_core.serving.transport.curve_server import CurveTransport
from gr00t_policy_core.serving.transport.tcp_connection_table import ConnectionLimits
from gr00t_policy_core.serving.transport.tcp_server import TcpTransport
from gr00t_policy_core.serving.wire.api_token import token_problems

if TYPE_CHECKING:
    from gr00t_policy_core.serving.server.prometheus import Exporter

REPLY_FORMATS = ("auto", "envelope", "bare")


def make_exporter(
    host: str, port: int | None, snapshot: Callable[[], dict[str, Any]]
) -> Exporter | None:
    """Serve metrics to Prometheus where a port is given.

    Raises:
        ImportError: Its client is not installed.
    """
    if port is None:
        return None
    try:
        from gr00t_policy_core.serving.server.prometheus import Exporter
    except ImportError as error:
        raise ImportError(
            f"metrics for Prometheus need: pip install '.[metrics]' ({error})"
        ) from None
    return Exporter(host, port, snapshot)


def make_transport(
    host: str,
    port: int,
    limits: ConnectionLimits,
    *,
    keys: ServerKeys | None,
    token: bool,
    refused: Callable[[str, Exception], None],
    ended: OnDisconnect,
) -> Transport:
    """Listen, encrypted where there are keys; see `CurveTransport` and `TcpTransport`.

    Raises:
        AddressError: It is not possible there.
    """
    if keys is not None:
        return CurveTransport(
            host,
            port,
            max_message_bytes=limits.message_bytes,
            keys=keys,
            on_reject=refused,
            on_disconnect=ended,
        )
    return TcpTransport(
        host,
        port,
        limits=limits,
        requires_token=token,
        on_reject=refused,
        on_disconnect=ended,
    )


def check(
    api_token: object, reply_format: object, max_batch: object, limits: ConnectionLimits
) -> None:
    """Raise `SpecError` where something is wrong with them."""
    found = token_problems(api_token)
    if reply_format not in REPLY_FORMATS:
        found.append(f"reply_format must be one of {REPLY_FORMATS}, got {reply_format!r}")
    if type(max_batch) is not int or max_batch < 1:
        found.append(f"max_batch must be an integer of at least 1, got {max_batch!r}")
    found += _problems_of_limits(limits)
    if found:
        raise SpecError("bad server setting", found)


def _problems_of_limits(limits: ConnectionLimits) -> list[str]:
    values = {
        "max_message_bytes": limits.message_bytes,
        "max_receiving_bytes": limits.receiving_bytes,
        "max_connections": limits.connections,
        "max_connections_per_address": limits.per_address,
    }
    found = [
        f"{name} must be an integer of at least 1, got {value!r}"
        for name, value in values.items()
        if type(value) is not int or value < 1
    ]
    if not found and limits.receiving_bytes < limits.message_bytes:
        found.append(
            f"max_receiving_bytes must be at least max_message_bytes ({limits.message_bytes}), "
            f"got {limits.receiving_bytes}"
        )
    return found
