# SPDX-License-Identifier: Apache-2.0
"""Round trips of observations, every transport in one run, taking turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench.processes import Worker, environment
from bench.workload import Size

RESOLUTIONS = ((224, 224), (480, 640), (720, 1280))
SIZES = [Size(cameras, *pixels) for pixels in RESOLUTIONS for cameras in (1, 2, 4)]
QUICK_SIZES = [Size(1, 224, 224), Size(2, 480, 640)]


@dataclass(frozen=True, slots=True)
class Turns:
    """How often each transport gets its turn, and how many round trips it makes then."""

    rounds: int
    block: int

    @property
    def samples(self) -> int:
        return self.rounds * self.block


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result; times in s."""

    path: str
    cameras: int
    height: int
    width: int
    malloc: str
    p50_s: float
    p99_s: float

    @property
    def size(self) -> Size:
        return Size(self.cameras, self.height, self.width)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def turns_for(size: Size, quick: bool) -> Turns:
    """Fewer round trips where each takes long."""
    if quick:
        return Turns(rounds=6, block=10)
    if size.pixel_bytes < 1_000_000:
        return Turns(rounds=16, block=25)
    if size.pixel_bytes < 4_000_000:
        return Turns(rounds=16, block=15)
    return Turns(rounds=12, block=8)


def measure(
    paths: Sequence[str],
    sizes: Sequence[Size],
    mallocs: Sequence[str],
    quick: bool,
    report: Callable[[str], None],
) -> list[Row]:
    """Round trips of every path at every size.

    Args:
        paths: Names of transports.
        sizes: Of the observations.
        mallocs: ``"default"``, ``"tuned"``.
        quick: A few round trips only.
        report: Told what is measured now.
    """
    rows = []
    for malloc in mallocs:
        for size in sizes:
            turns = turns_for(size, quick)
            report(f"{size.label}, malloc {malloc}: {turns.samples} round trips of each")
            rows += measure_size(paths, size, malloc, turns)
    return rows


def measure_size(paths: Sequence[str], size: Size, malloc: str, turns: Turns) -> list[Row]:
    """Round trips of every path, in blocks that take turns, in another order each round.

    What else runs on the machine so hits them alike. Every path has a server process and a client
    process of its own.
    """
    env = environment(malloc)
    with ExitStack() as stack:
        start = {
            path: stack.enter_context(
                Worker("bench.peer", "server", path, *size.arguments(), env=env)
            )
            for path in paths
        }
        clients = {
            path: stack.enter_context(
                Worker("bench.peer", "client", path, *size.arguments(), str(server.read()), env=env)
            )
            for path, server in start.items()
        }
        for client in clients.values():
            client.read()
        times = _take_turns(clients, turns)
    return [_row(path, size, malloc, times[path]) for path in paths]


def _take_turns(clients: dict[str, Worker], turns: Turns) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {path: [] for path in clients}
    order = list(clients)
    shuffle = random.Random(0).shuffle
    for path in order:
        clients[path].ask(turns.block)  # warm-up
    for _ in range(turns.rounds):
        shuffle(order)
        for path in order:
            times[path] += clients[path].ask(turns.block)
    return times


def _row(path: str, size: Size, malloc: str, times: list[float]) -> Row:
    p50, p99 = np.percentile(times, [50, 99])
    return Row(path, size.cameras, size.height, size.width, malloc, float(p50), float(p99))
