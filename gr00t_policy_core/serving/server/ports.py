# SPDX-License-Identifier: Apache-2.0
"""Opens the ports of a server: for clients, in plain text or encrypted, and for Prometheus."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.serving.server.connection_events import ConnectionEvents
from gr00t_policy_core.serving.server.settings import ServerSettings
from gr00t_policy_core.serving.transport.base import Transport
from gr00t_policy_core.serving.transport.curve_keys import ServerKeys
from gr00t_policy_core.serving.transport.curve_server import CurveTransport
from gr00t_policy_core.serving.transport.tcp_server import TcpTransport

if TYPE_CHECKING:
    from gr00t_policy_core.serving.server.prometheus import Exporter


def listen(settings: ServerSettings, events: ConnectionEvents) -> Transport:
    """Listen for clients; encrypted where the settings have keys.

    Raises:
        AddressError: The server cannot listen there.
    """
    if settings.keys is not None:
        return CurveTransport(
            settings.host,
            settings.port,
            max_message_bytes=settings.max_message_bytes,
            keys=ServerKeys.load(settings.keys),
            on_reject=events.rejected,
            on_disconnect=events.disconnected,
        )
    return TcpTransport(
        settings.host,
        settings.port,
        limits=settings.connection_limits,
        requires_token=settings.api_token is not None,
        on_reject=events.rejected,
        on_disconnect=events.disconnected,
    )


def export_metrics(host: str, port: int, report: Callable[[], dict[str, Any]]) -> Exporter:
    """Serve metrics to Prometheus.

    Args:
        host: The interface to listen on.
        port: 0 picks a free port.
        report: Makes what the endpoint ``metrics`` answers.

    Raises:
        ImportError: prometheus-client is not installed.
        AddressError: The exporter cannot listen there.
    """
    try:
        from gr00t_policy_core.serving.server.prometheus import Exporter
    except ImportError as error:
        raise ImportError(
            f"metrics for Prometheus need: pip install '.[metrics]' ({error})"
        ) from None
    return Exporter(host, port, report)
