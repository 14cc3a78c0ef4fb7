# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy ping` and `info`: check that a server answers, and show its policy's keys."""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import time
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any

from gr00t_policy_core.cli.common import (
    add_key_flags,
    add_server_flags,
    add_timeout_flag,
    api_token,
    write_line,
)
from gr00t_policy_core.errors import AddressError
from gr00t_policy_core.modality import ModalityConfig
from gr00t_policy_core.serving.client.policy_client import PolicyClient
from gr00t_policy_core.serving.transport import addresses
from gr00t_policy_core.serving.wire.arrays import Dialect

PINGS = 5


def add_commands(commands: Any) -> None:
    """Add `ping` and `info` to the subparsers of the program."""
    ping = commands.add_parser(
        "ping", help="measure the round trip to a server", description="Measure the round trip."
    )
    info = commands.add_parser(
        "info",
        help="show the keys and shapes of a server's policy",
        description="Show the keys, shapes and horizons of a server's policy.",
    )
    info.add_argument("--json", action="store_true", help="print one JSON object")
    for parser, run in ((ping, run_ping), (info, run_info)):
        parser.set_defaults(run=run)
        add_server_flags(parser, "localhost", "host of the server, or ipc:///path")
        add_key_flags(parser)
        add_timeout_flag(parser)


def run_ping(args: argparse.Namespace) -> int:
    """Print the round trip time."""
    with make_client(args) as client:
        round_trip_ms = _round_trip_ms(client)
    server = addresses.name(args.host, args.port)
    write_line(f"{server} answers in {round_trip_ms:.2f} ms (median of {PINGS})")
    return 0


def run_info(args: argparse.Namespace) -> int:
    """Print the modality configs, the dimensions, the dialect and the round trip time."""
    with make_client(args) as client:
        round_trip_ms = _round_trip_ms(client)
        configs = client.get_modality_config()
        dimensions = client.get_dimensions()
        dialect = _dialect(client.dialect, configs)
    if args.json:
        info = {
            "host": args.host,
            "port": args.port,
            "dialect": dialect,
            "round_trip_ms": round(round_trip_ms, 3),
            "dimensions": dimensions,
            "modality_configs": {name: config.as_json() for name, config in configs.items()},
        }
        write_line(json.dumps(info))
        return 0
    write_line(f"server      {addresses.name(args.host, args.port)}")
    write_line(f"dialect     {dialect}")
    write_line(f"round trip  {round_trip_ms:.2f} ms (median of {PINGS} pings)")
    for modality, config in configs.items():
        for line in _lines(modality, config, dimensions.get(modality, {})):
            write_line(line)
    return 0


def make_client(args: argparse.Namespace) -> PolicyClient:
    """A client of the server that the flags name.

    Raises:
        AddressError: The host is unknown, so that a client would wait until its timeout.
        SpecError: The flags contradict each other.
    """
    client = PolicyClient(
        args.host,
        args.port,
        args.timeout_ms,
        api_token(args),
        server_key=args.server_key,
        keys=args.keys,
    )
    require_known_host(args.host)
    return client


def require_known_host(host: str) -> None:
    """Require that a host has an address; a typing error is told before anything is sent.

    Args:
        host: A name, an IP address (IPv6 also in brackets), or ``ipc:///path``.

    Raises:
        AddressError: Nobody knows the host.
    """
    if addresses.is_ipc(host):
        return
    try:
        socket.getaddrinfo(host.strip("[]"), None)
    except OSError as error:
        raise AddressError(f"unknown host {host}: {error.strerror}") from None


def _round_trip_ms(client: PolicyClient) -> float:
    """The median of `PINGS` pings, ms, after one that opens the connection."""
    client.call_endpoint("ping")
    times_s = []
    for _ in range(PINGS):
        start = time.perf_counter()
        client.call_endpoint("ping")
        times_s.append(time.perf_counter() - start)
    return 1000 * statistics.median(times_s)


def _dialect(detected: Dialect | None, configs: Mapping[str, ModalityConfig]) -> str:
    """``n1d6``, ``n1d7``, ``both``, or ``unknown`` for a server without modality configs."""
    if detected is not None:
        return detected.value
    return "both" if configs else "unknown"


def _lines(modality: str, config: ModalityConfig, dimensions: Mapping[str, int]) -> Iterator[str]:
    deltas = config.delta_indices
    consecutive = len(deltas) > 1 and deltas == list(range(deltas[0], deltas[-1] + 1))
    steps = f"{deltas[0]}..{deltas[-1]}" if consecutive else ", ".join(map(str, deltas))
    what = "horizon" if modality == "action" else "steps"
    yield ""
    yield f"{modality}: {what} {len(deltas)} (delta indices {steps})"
    width = max(map(len, config.modality_keys))
    reps = [f"  {action.rep.name}" for action in config.action_configs or ()]
    for key, rep in zip_longest(config.modality_keys, reps, fillvalue=""):
        yield f"  {key:{width}}  {_shape(modality, len(deltas), dimensions.get(key, 'D'))}{rep}"


def _shape(modality: str, steps: int, dimension: int | str) -> str:
    if modality == "video":
        return f"uint8 (B, {steps}, H, W, 3) RGB"
    if modality == "language":
        return f"B lists of {steps} str"
    return f"float32 (B, {steps}, {dimension})"
