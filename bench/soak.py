# SPDX-License-Identifier: Apache-2.0
"""A server under load for long, and its memory before and after: `python -m bench.soak SECONDS`.

Robots that ask all the time, robots that come and go, clients that vanish in a request, and
garbage. Writes build/bench/soak.json: the server's resident memory, bytes by second, and counts.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from bench import workload
from bench.processes import ROOT, Worker, end_with_stdin, environment, tell
from bench.transports import ours
from bench.workload import STATE_KEY, Size
from gr00t_policy_core import PolicyClient, PolicyServer

MODULE = "bench.soak"
SIZE = Size(2, 224, 224)
ASK_EACH_S = 0.03
SETTLE_SHARE = 0.1  # of the time, before memory counts as that before
RESULT = ROOT / "build" / "bench" / "soak.json"


class JoiningPolicy(ours.FreePolicy):
    """Answers each row of a batch as it would alone."""

    max_batch_size = 16

    def _get_action(
        self, observation: dict[str, Any], options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        rows = []
        for row in range(len(observation["state"][STATE_KEY])):
            part = {
                m: {k: v[row : row + 1] for k, v in observation[m].items()} for m in observation
            }
            rows.append(workload.answer(part))
        return {STATE_KEY: np.concatenate(rows)}, {}


def run_server() -> None:
    end_with_stdin()
    server = PolicyServer(JoiningPolicy(SIZE), host=ours.HOST, port=0)
    tell([server.port, os.getpid()])
    server.run()


def resident_bytes(pid: int) -> int:
    """What a process holds in memory now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    if sys.argv[1:2] == ["server"]:
        return run_server()
    seconds = float(sys.argv[1] if len(sys.argv) > 1 else 600)
    with Worker(MODULE, "server", env=environment("default")) as server:
        port, pid = server.read()
        result = soak(port, pid, seconds)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(
        f"{seconds:.0f} s: resident {result['before_bytes'] / 1e6:.1f} MB before, "
        f"{result['after_bytes'] / 1e6:.1f} MB after, {result['counts']}\n"
    )
    return None


def soak(port: int, pid: int, seconds: float) -> dict[str, object]:
    """Load a server for so long."""
    counts: Counter[str] = Counter()
    done = threading.Event()
    roles = (steady, steady, coming_and_going, vanishing, garbage)
    threads = [threading.Thread(target=role, args=(port, counts, done)) for role in roles]
    for thread in threads:
        thread.start()
    done.wait(seconds * SETTLE_SHARE)
    started = time.monotonic()
    memory = [resident_bytes(pid)]
    while time.monotonic() - started < seconds * (1 - SETTLE_SHARE):
        done.wait(1.0)
        memory.append(resident_bytes(pid))
    done.set()
    for thread in threads:
        thread.join()
    return {
        "seconds": seconds,
        "before_bytes": memory[0],
        "after_bytes": memory[-1],
        "resident_bytes": memory,
        "counts": dict(counts),
    }


def steady(port: int, counts: Counter[str], done: threading.Event) -> None:
    """A robot that asks some 30 times a second, and looks whose answer it gets."""
    observation = workload.make_observation(SIZE, threading.get_ident() % 2**32)
    wanted = workload.answer(observation)
    with PolicyClient(ours.HOST, port) as client:
        while not done.wait(ASK_EACH_S):
            action, _ = client.get_action(observation)
            right = bool((action[STATE_KEY] == wanted).all())
            counts["answers" if right else "wrong answers"] += 1


def coming_and_going(port: int, counts: Counter[str], done: threading.Event) -> None:
    """Robots that each ask once."""
    observation = workload.make_observation(SIZE, seed=1)
    while not done.wait(0.01):
        with PolicyClient(ours.HOST, port) as client:
            client.get_action(observation)
        counts["short visits"] += 1


def vanishing(port: int, counts: Counter[str], done: threading.Event) -> None:
    """Clients that are gone before their answer comes."""
    while not done.wait(0.02):
        with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
            asking.setsockopt(zmq.LINGER, 5)
            asking.connect(f"tcp://{ours.HOST}:{port}")
            asking.send_multipart([b"", b"\x81\xa8endpoint\xb3get_modality_config"])
        counts["vanished"] += 1


def garbage(port: int, counts: Counter[str], done: threading.Event) -> None:
    """What is not a message at all."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as asking:
        asking.setsockopt(zmq.LINGER, 0)
        asking.connect(f"tcp://{ours.HOST}:{port}")
        while not done.wait(0.01):
            asking.send_multipart([b"", os.urandom(200)])
            asking.poll(1000)
            asking.recv_multipart()
            counts["garbage refused"] += 1


if __name__ == "__main__":
    main()
