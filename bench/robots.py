# SPDX-License-Identifier: Apache-2.0
"""How many answers a second a model gives to robots: behind our server, and one thread alone.

python -m bench.robots [--model n1d7] [--clients N ...] [--seconds S] [--json FILE]
                       [flags of gr00t-policy serve that say how the model is run]

The model has random weights in the published shape on a GPU, and is small on a CPU. Each robot is a
process of its own, sends one 480x640 picture, and asks again as soon as it is answered. `single` is
the same model behind one thread in the reference's manner: a REP socket, one request at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import zmq

from bench.processes import Worker, ask_all, end_with_stdin, environment, tell
from bench.transports.isaac_gr00t import N1D6
from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.cli.common import OneLineParser, refuse_without_effect
from gr00t_policy_core.cli.model_flags import add_model_flags, execution_arguments

MODULE = "bench.robots"
SERVERS = ("ours", "single")
WARM_UP_S = 2.0
WITHOUT_EFFECT = ("backbone_path", "base_model_path", "denoising_steps", "camera_size")
INSTRUCTION = "pick up the red cube and put it on the blue plate"  # as a model is made ready with


def make_policy(args: argparse.Namespace) -> Any:
    """The model, ready for batches of up to `args.max_batch` rows."""
    from gr00t_policy_core.models.common.devices import default_device, find_device, find_dtype
    from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
    from gr00t_policy_core.models.model_policy import ModelPolicy
    from gr00t_policy_core.models.registry import find_random_builder

    device = find_device(args.device or default_device())
    dtype = find_dtype(args.dtype, device)
    build = find_random_builder(args.model)
    model = build(small=device.type == "cpu", cameras=1, device=device, dtype=dtype)
    settings = ExecutionSettings(**execution_arguments(args))
    policy = ModelPolicy(model, device, dtype, settings, float8=args.dtype == "fp8")
    policy.warm_up(args.max_batch)
    return policy


def run_server(args: argparse.Namespace) -> None:
    end_with_stdin()
    if args.server == "ours":
        policy = make_policy(args)
        with PolicyServer(policy, "127.0.0.1", 0, max_batch=args.max_batch) as server:
            tell(server.port)
            threading.Event().wait()
    args.max_batch = 1
    policy = make_policy(args)
    with zmq.Context() as context, context.socket(zmq.REP) as replies:
        tell(replies.bind_to_random_port("tcp://127.0.0.1"))
        while True:
            request = N1D6.line.unpack(replies.recv())
            replies.send(N1D6.line.pack(policy.get_action(**request["data"])))


def run_client(args: argparse.Namespace) -> None:
    """Be a robot; for each line "SECONDS" tell the times of its round trips, s."""
    with ExitStack() as stack:
        if args.server == "ours":
            client = stack.enter_context(PolicyClient("127.0.0.1", args.port))
            ask = client.get_action
        else:
            context = stack.enter_context(zmq.Context())
            requests = stack.enter_context(context.socket(zmq.REQ))
            requests.connect(f"tcp://127.0.0.1:{args.port}")

            def ask(observation: Any) -> Any:
                data = {"observation": observation, "options": None}
                requests.send(N1D6.line.pack({"endpoint": "get_action", "data": data}))
                return N1D6.line.unpack(requests.recv())

        observation = make_observation()
        tell("ready")
        for line in sys.stdin:
            ends_at, times = time.perf_counter() + float(line), []
            while (start := time.perf_counter()) < ends_at:
                ask(observation)
                times.append(time.perf_counter() - start)
            tell(times)


def make_observation() -> Any:
    """Of the robot that models with random weights have, with one camera; needs no torch."""
    rng = np.random.default_rng(0)
    state = {"arm": 7, "gripper": 1}
    return {
        "video": {"camera_0": rng.integers(0, 256, (1, 1, 480, 640, 3), dtype=np.uint8)},
        "state": {
            k: rng.uniform(-0.5, 0.5, (1, 1, n)).astype(np.float32) for k, n in state.items()
        },
        "language": {"annotation.human.task_description": [[INSTRUCTION]]},
    }


def measure(server: Worker, port: int, name: str, clients: int, seconds: float) -> dict[str, Any]:
    env = environment("tuned", {"OMP_NUM_THREADS": "1"})
    with ExitStack() as stack:
        workers = [
            stack.enter_context(
                Worker(MODULE, "--role", "client", "--server", name, "--port", str(port), env=env)
            )
            for _ in range(clients)
        ]
        for worker in workers:
            worker.read()
        ask_all(workers, WARM_UP_S)
        times_ms = 1e3 * np.concatenate(ask_all(workers, seconds))
    p50, p99 = np.percentile(times_ms, [50, 99])
    return {
        "server": name,
        "clients": clients,
        "answers_per_s": len(times_ms) / seconds,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "worst_ms": float(times_ms.max()),
    }


def main() -> None:
    parser = OneLineParser(description=__doc__, prog="python -m bench.robots")
    parser.set_defaults(parser=parser)
    parser.add_argument("--role", choices=("server", "client"), help=argparse.SUPPRESS)
    parser.add_argument("--server", choices=SERVERS, help="only this one")
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--model", default="n1d7")
    parser.add_argument("--device")
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=6.0, help="for each row")
    parser.add_argument("--json", type=Path)
    add_model_flags(parser)
    args = parser.parse_args()
    because = "the model has random weights, and each robot one camera of 480x640"
    refuse_without_effect(args, WITHOUT_EFFECT, because)
    if args.role == "server":
        return run_server(args)
    if args.role == "client":
        return run_client(args)
    rows = []
    for name in [args.server] if args.server else SERVERS:
        flags = ["--role", "server", "--server", name, *sys.argv[1:]]
        with Worker(MODULE, *flags, env=environment("tuned")) as server:
            port = server.read()
            for clients in args.clients:
                rows.append(measure(server, port, name, clients, args.seconds))
                sys.stdout.write(f"{json.dumps(rows[-1])}\n")
                sys.stdout.flush()
    if args.json is not None:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
