# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy top`: the clients, rates and latencies of a server, live."""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gr00t_policy_core.cli.common import DEFAULT_TIMEOUT_MS, add_key_flags, add_server_flags
from gr00t_policy_core.cli.query import make_client
from gr00t_policy_core.errors import PolicyError, ProtocolError, printable
from gr00t_policy_core.serving.server.metrics import quantile

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

INTERVAL_S = 1.0
CELL_CHARS = 60  # of what a robot tells, so that many robots fit into a terminal
TITLE_CHARS = 75  # its longest line, which a table of few clients would otherwise break


def add_command(commands: Any) -> None:
    """Add `top` to the subparsers of the program."""
    parser = commands.add_parser(
        "top", help="watch a server live", description="Watch a server until Ctrl-C."
    )
    parser.set_defaults(run=run, timeout_ms=DEFAULT_TIMEOUT_MS)
    add_server_flags(parser, "localhost", "host of the server")
    add_key_flags(parser)
    parser.add_argument(
        "--once", action="store_true", help="print one table after one second, and exit"
    )


def run(args: argparse.Namespace) -> int:
    """Show the metrics every `INTERVAL_S`."""
    try:
        from rich.live import Live
        from rich.text import Text
    except ImportError as error:
        raise ImportError(f"top needs rich: run pip install '.[top]' ({error})") from None
    pause = threading.Event()
    with make_client(args) as client:
        before, before_s = client.call_endpoint("metrics"), time.monotonic()
        with Live(auto_refresh=False) as live:
            while True:
                pause.wait(INTERVAL_S)
                try:
                    now, now_s = client.call_endpoint("metrics"), time.monotonic()
                except PolicyError as error:
                    if args.once:
                        raise
                    live.update(Text(str(error)), refresh=True)
                    continue
                live.update(_view(before, now, now_s - before_s), refresh=True)
                if args.once:
                    break
                before, before_s = now, now_s
    return 0


def _view(before: Any, now: Any, seconds: float) -> Group:
    """Both tables, with `ProtocolError` for metrics that cannot be read."""
    from rich.console import Group

    try:
        return Group(view(before, now, seconds), *robots(now["clients"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProtocolError(f"the server's metrics cannot be read: {error!r}") from None


def view(before: Mapping[str, Any], now: Mapping[str, Any], seconds: float) -> Table:
    """A table of two snapshots of the metrics, `seconds` apart."""
    from rich.table import Table
    from rich.text import Text

    answers = (now["queue_s"]["count"] - before["queue_s"]["count"]) / seconds
    batches = now["batch_size"]
    mean_batch = batches["sum"] / batches["count"] if batches["count"] else 0.0
    secured = "encrypted" if now["encrypted"] else "plain text"
    title = (
        f"{now['state']} for {now['uptime_s']:.0f} s, {answers:.1f} answers/s, "
        f"{now['waiting']['requests']} waiting, {sum(now['errors'].values())} errors\n"
        f"inference p50 ≤ {_ms(quantile(now['inference_s'], 0.5))}, "
        f"p99 ≤ {_ms(quantile(now['inference_s'], 0.99))}; queue p99 ≤ "
        f"{_ms(quantile(now['queue_s'], 0.99))}\n"
        f"{mean_batch:.1f} requests a call; in {_rate(before, now, 'received_bytes', seconds)}, "
        f"out {_rate(before, now, 'sent_bytes', seconds)}, {secured}"
        + (", OPEN TO THE NETWORK" if now["open_to_network"] else "")
        + _replicas(now.get("replicas"))
    )
    shown = Text(
        "\n".join(map(printable, title.split("\n")))
    )  # Text, because a string from a server could contain markup
    table = Table(title=shown, title_justify="left", min_width=TITLE_CHARS)
    for heading in ("client", "first seen", "last seen", "requests", "errors", "mean", "last"):
        table.add_column(heading, justify="left" if heading == "client" else "right")
    clients = sorted(now["clients"], key=lambda c: -c["requests"])
    for client in clients:
        mean_s = client["total_s"] / client["answers"] if client["answers"] else 0.0
        table.add_row(
            Text(printable(client["peer"])),
            f"{client['connected_s']:.0f} s ago",
            f"{client['idle_s']:.1f} s ago",
            str(client["requests"]),
            str(client["errors"]),
            _ms(mean_s),
            _ms(client["last_total_s"]),
        )
    return table


def robots(clients: Iterable[Mapping[str, Any]]) -> Iterator[Table]:
    """A table of what the clients tell about their robots; none where nobody tells anything."""
    from rich.table import Table
    from rich.text import Text

    table = Table(min_width=TITLE_CHARS)
    for heading in ("robot", "state", "task", "outcomes", "holds"):
        table.add_column(heading)
    for client in clients:
        if client.get("info"):
            table.add_row(*(Text(_cut(printable(text))) for text in _robot(client)))
    if table.row_count:
        yield table


def _robot(client: Mapping[str, Any]) -> tuple[str, ...]:
    """Name, state with its reason, task, outcomes and holds of a robot; empty where not told."""
    info = client["info"]
    state, reason = info.get("state", ""), info.get("reason", "")
    outcomes = ", ".join(f"{count} {name}" for name, count in info.get("outcomes", {}).items())
    holds = info.get("holds", {})
    commonest = max(holds, key=holds.__getitem__, default="")
    held = f"{sum(holds.values())}, mostly: {commonest}" if holds else ""
    doing = f"{state}: {reason}" if reason else state
    return info.get("robot") or client["peer"], doing, info.get("task", ""), outcomes, held


def _cut(text: str) -> str:
    return text if len(text) <= CELL_CHARS else f"{text[: CELL_CHARS - 1]}…"


def _replicas(counted: Mapping[str, Any] | None) -> str:
    if counted is None:
        return ""
    return (
        f"\n{counted['ready']} of {counted['size']} replicas ready, {counted['deaths']} deaths, "
        f"{counted['retries']} retried requests"
    )


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def _rate(before: Mapping[str, Any], now: Mapping[str, Any], key: str, seconds: float) -> str:
    return f"{(now[key] - before[key]) / seconds / 1e6:.2f} MB/s"
