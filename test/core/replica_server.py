# SPDX-License-Identifier: Apache-2.0
"""A server of toy replicas: ``replica_server.py FOLDER`` prints its port when it is ready."""

import signal
import sys

from replica_policies import DEADLINE_S, LoadToy

from gr00t_policy_core import PolicyServer
from gr00t_policy_core.serving.replicas import ReplicaPool


def main() -> None:
    pool = ReplicaPool(LoadToy(sys.argv[1]), 2)
    server = PolicyServer(
        pool.start,
        "127.0.0.1",
        0,
        backend=pool,
        stop_timeout_s=DEADLINE_S,
        on_ready=lambda: sys.stdout.write(f"{server.port}\n") and sys.stdout.flush(),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    server.run()


if __name__ == "__main__":
    main()
