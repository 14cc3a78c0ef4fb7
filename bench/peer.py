# SPDX-License-Identifier: Apache-2.0
"""One half of a transport, in a process of its own.

python -m bench.peer server NAME CAMERAS HEIGHT WIDTH            tells its address
python -m bench.peer client NAME CAMERAS HEIGHT WIDTH ADDRESS    tells that it is ready; for
    each line "N" on stdin, tells the times of N round trips, s
"""

from __future__ import annotations

import sys
import time

import numpy as np

from bench import transports, workload
from bench.processes import end_with_stdin, keep_to_half_of_the_cores, tell
from bench.transports import Ask, Transport
from bench.workload import Size

CHECKS = 3
UNMEASURED = 2  # round trips at the start of a block, with what other processes left in the caches


def check(transport: Transport, ask: Ask, size: Size) -> None:
    """Compare answers with what they should be, bit for bit.

    Raises:
        RuntimeError: The transport does not carry what it is given.
    """
    for seed in range(1, CHECKS + 1):
        observation = workload.make_observation(size, seed)
        wanted, got = workload.answer(transport.arriving(observation)), ask(observation)
        if got.dtype != wanted.dtype or not np.array_equal(got, wanted):
            raise RuntimeError(f"a wrong answer to observation {seed} of {size.label}: {got}")


def run_server(name: str, size: Size) -> None:
    end_with_stdin()
    transports.find(name).serve(size, tell)


def run_client(name: str, size: Size, address: str) -> None:
    observation = workload.make_observation(size, seed=0)
    transport = transports.find(name)
    with transport.connect(size, address) as ask:
        check(transport, ask, size)
        tell("ready")
        for line in sys.stdin:
            for _ in range(UNMEASURED):
                ask(observation)
            tell([_seconds(ask, observation) for _ in range(int(line))])


def _seconds(ask: Ask, observation: dict[str, object]) -> float:
    start = time.perf_counter()
    ask(observation)
    return time.perf_counter() - start


def main() -> None:
    role, name, *arguments = sys.argv[1:]
    size = Size.parse(arguments[:3])
    keep_to_half_of_the_cores(first=role == "server")
    if role == "server":
        run_server(name, size)
    else:
        run_client(name, size, arguments[3])


if __name__ == "__main__":
    main()
