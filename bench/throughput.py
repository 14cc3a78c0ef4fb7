# SPDX-License-Identifier: Apache-2.0
"""How many answers a second a server gives to many robots: ours, and one of a single thread.

python -m bench.throughput [--seconds S] [--clients N ...]

It writes build/bench/throughput.json, and a whole run the table in docs/benchmarks/throughput.md.

The policy takes 40 ms for one row and 10 % of that more for each further one. Every robot asks
again as soon as it is answered. The single-thread server is an echo in the reference's manner: a
REP socket, one request at a time. All clients of a run live in a few processes of their own.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from bench import meta, report, transports, workload
from bench.processes import ROOT, Worker, ask_all, end_with_stdin, environment, tell
from bench.transports import isaac_gr00t, ours
from bench.workload import STATE_KEY, Size
from gr00t_policy_core import PolicyServer

ROW_S = 0.040
FURTHER_ROW_SHARE = 0.1
SIZE = Size(2, 224, 224)
CLIENTS = (1, 4, 16, 64)
MAX_ROWS = 16
CLIENT_PROCESSES = 2
MODULE = "bench.throughput"  # __name__ is another in the process that was started
SERVERS = {"ours": "ours-tcp", "single-thread": "n1d6-tcp"}  # and the transport of its clients
SECONDS = 8.0  # for each row
RESULT = ROOT / "build" / "bench" / "throughput.json"
PAGE = ROOT / "docs" / "benchmarks" / "throughput.md"
GOAL_CLIENTS = 16
GOAL_RATIO = 5.0  # of our answers/s to those of the single thread
GOAL_WAIT = 2.0  # of the slowest client's median to that of all


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the result; times in s."""

    server: str
    clients: int
    answers_per_s: float
    p50_s: float
    p99_s: float
    worst_client_p50_s: float


def policy_time_s(rows: int) -> float:
    """What the measured policy takes for so many rows."""
    return ROW_S * (1 + FURTHER_ROW_SHARE * (rows - 1))


class SlowPolicy(ours.FreePolicy):
    """Takes its time as a model on an accelerator does: without holding the interpreter."""

    max_batch_size = MAX_ROWS

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = len(observation["state"][STATE_KEY])
        threading.Event().wait(policy_time_s(rows))
        return {STATE_KEY: answer(observation)}, {}


def answer(observation: dict[str, Any]) -> Any:
    """Each row's chunk: its own state over the horizon."""
    return np.repeat(observation["state"][STATE_KEY], workload.HORIZON, axis=1)


def run_server(name: str) -> None:
    end_with_stdin()
    if name == "ours":
        server = PolicyServer(SlowPolicy(SIZE), host=ours.HOST, port=0)
        tell(server.port)
        server.run()
        return

    def slow(observation: dict[str, Any]) -> Any:
        threading.Event().wait(policy_time_s(1))
        return answer(observation)

    isaac_gr00t.workload.answer = slow  # type: ignore[assignment]
    transports.find(SERVERS[name]).serve(SIZE, tell)


def run_clients(name: str, address: str, count: int, first: int) -> None:
    """Be `count` robots; for each line "SECONDS" tell the times of each robot's round trips."""
    with ExitStack() as stack:
        find = transports.find(SERVERS[name])
        asks = [stack.enter_context(find.connect(SIZE, address)) for _ in range(count)]
        tell("ready")
        for line in sys.stdin:
            times: list[list[float]] = [[] for _ in asks]
            ends_at = time.perf_counter() + float(line)
            threads = [
                threading.Thread(
                    target=_ask_until, args=(ends_at, ask, first + index, times[index])
                )
                for index, ask in enumerate(asks)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            tell(times)


def _ask_until(ends_at: float, ask: transports.Ask, seed: int, times: list[float]) -> None:
    observation = workload.make_observation(SIZE, seed)
    wanted = answer(observation)
    while (start := time.perf_counter()) < ends_at:
        got = ask(observation)
        if (end := time.perf_counter()) < ends_at or not times:
            times.append(end - start)
        if not np.array_equal(got, wanted):
            raise RuntimeError("a client got another's answer")


def measure(name: str, clients: int, seconds: float) -> Row:
    """Let so many robots ask one server for so long."""
    env = environment("default")
    processes = min(CLIENT_PROCESSES, clients)
    shares = [clients // processes + (i < clients % processes) for i in range(processes)]
    with ExitStack() as stack:
        server = stack.enter_context(Worker(MODULE, "server", name, env=env))
        address = str(server.read())
        workers = []
        for index, share in enumerate(shares):
            arguments = (name, address, str(share), str(sum(shares[:index])))
            worker = Worker(MODULE, "clients", *arguments, env=env)
            workers.append(stack.enter_context(worker))
        for worker in workers:
            worker.read()
        ask_all(workers, min(1.0, seconds))  # warm-up
        times = list(itertools.chain.from_iterable(ask_all(workers, seconds)))
    return row(name, clients, seconds, times)


def row(name: str, clients: int, seconds: float, times: Sequence[Sequence[float]]) -> Row:
    """What the round trips of every robot, s, come to."""
    everything = [value for own in times for value in own]
    p50, p99 = np.percentile(everything, [50, 99])
    slowest = max(float(np.median(own)) if own else seconds for own in times)
    return Row(name, clients, len(everything) / seconds, float(p50), float(p99), slowest)


def text(about: dict[str, Any], rows: Sequence[Row]) -> str:
    """The goals and the rows, as docs/benchmarks/throughput.md has them."""
    head = ["clients", "server", "answers/s", "p50", "p99", "slowest client's p50"]
    table = [head, *([*_cells(each)] for each in rows)]
    goals = "\n".join(f"- {goal}" for goal in _goals(rows))
    return f"{report.meta_report(about)}\n\n{goals}\n\n{report.markdown(table)}"


def _cells(row: Row) -> Iterator[str]:
    yield str(row.clients)
    yield row.server
    yield f"{row.answers_per_s:.1f}"
    for value_s in (row.p50_s, row.p99_s, row.worst_client_p50_s):
        yield f"{value_s * 1e3:.0f} ms"


def _goals(rows: Sequence[Row]) -> Iterator[str]:
    found = {(each.server, each.clients): each for each in rows}
    ours_row, single = (found.get((name, GOAL_CLIENTS)) for name in SERVERS)
    if ours_row and single:
        ratio = ours_row.answers_per_s / single.answers_per_s
        verdict = "met" if ratio >= GOAL_RATIO else "missed"
        yield (
            f"answers/s at {GOAL_CLIENTS} clients against the single thread: {ratio:.2f} "
            f"(goal ≥ {GOAL_RATIO:g}, {verdict})"
        )
    waits = [each.worst_client_p50_s / each.p50_s for each in rows if each.server == "ours"]
    if waits:
        verdict = "met" if max(waits) <= GOAL_WAIT else "missed"
        yield (
            f"the slowest client's median against that of all, at worst: {max(waits):.2f} "
            f"(goal ≤ {GOAL_WAIT:g}, {verdict})"
        )


def main() -> None:
    if sys.argv[1:2] == ["server"]:
        return run_server(sys.argv[2])
    if sys.argv[1:2] == ["clients"]:
        return run_clients(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m bench.throughput")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each row")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    args = parser.parse_args()
    load_before = os.getloadavg()[0]
    rows = []
    for clients in args.clients:
        for name in SERVERS:
            sys.stdout.write(f"{clients} clients, {name}\n")
            sys.stdout.flush()
            rows.append(measure(name, clients, args.seconds))
    about = meta.describe(load_before)
    found = text(about, rows)
    sys.stdout.write(f"\n{found}\n")
    report.write_result(RESULT, about, [asdict(each) for each in rows])
    if args.seconds >= SECONDS and set(args.clients) >= set(CLIENTS):
        report.write_section("throughput", found, PAGE)
    return None


if __name__ == "__main__":
    main()
