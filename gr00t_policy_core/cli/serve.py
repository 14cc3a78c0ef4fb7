# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy serve`: one policy behind a port, until a signal or a client ends it."""

from __future__ import annotations

import argparse
import contextlib
import logging
import signal
from collections.abc import Callable
from typing import Any

from gr00t_policy_core.cli.common import (
    add_server_flags,
    api_token,
    device,
    port,
    positive,
    refuse_without_effect,
)
from gr00t_policy_core.cli.model_flags import MODEL_FLAGS, add_model_flags
from gr00t_policy_core.cli.output import StderrLog, announce
from gr00t_policy_core.cli.policy_loader import PolicyLoader
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import ClosedError
from gr00t_policy_core.policies import SimPolicyWrapper
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.replicas import ReplicaPool
from gr00t_policy_core.serving.server.policy_server import PolicyServer
from gr00t_policy_core.serving.server.settings import REPLY_FORMATS
from gr00t_policy_core.serving.transport import addresses

logger = logging.getLogger(__name__)

DESCRIPTION = """\
Serve a policy to stock Isaac-GR00T clients and to our own. Prints "listening on HOST:PORT" when
it is ready; while a model loads, ping is answered already and tells so. SIGINT and SIGTERM finish
the requests in progress, refuse the others and end it. With --replicas, SIGHUP restarts them one
after the other without losing a request; without them it changes nothing."""

REPLAY_FLAGS = ("modality_config_path", "execution_horizon")

MALLOC_HELP = """\
do not restart with glibc's malloc set up to keep large buffers instead of returning them to the
system after each message. The set-up costs memory: what the largest messages needed stays with
the process, and the heap grows 64 MiB at a time (address space until it is used)"""


def add_command(commands: Any) -> None:
    """Add `serve` to the subparsers of the program."""
    parser = commands.add_parser("serve", help="serve a policy", description=DESCRIPTION)
    parser.set_defaults(run=run, parser=parser)

    policy = parser.add_argument_group("the policy (one of --model-path and --dataset-path)")
    policy.add_argument(
        "--model-path",
        metavar="PATH",
        help="checkpoint of a GR00T N1.6 or N1.7 model, of Isaac-GR00T or LeRobot, or a LoRA "
        "adapter: a folder, or an id on the Hugging Face hub (owner/name or owner/name/folder)",
    )
    policy.add_argument(
        "--embodiment-tag",
        type=_embodiment_tag,
        default=EmbodimentTag.NEW_EMBODIMENT,
        metavar="TAG",
        help="robot that the model is to drive, name or value (default: new_embodiment)",
    )
    policy.add_argument(
        "--device",
        type=device,
        default="cuda",
        help="where the model runs: cuda, cuda:1 or 1, cpu (default: cuda)",
    )
    add_model_flags(policy)
    policy.add_argument(
        "--dataset-path", metavar="DIR", help="LeRobot v2.1 or v3.0 dataset to replay"
    )
    policy.add_argument(
        "--modality-config-path",
        metavar="FILE",
        help="JSON file of modality configs (default: all keys of the dataset, 16 action steps)",
    )
    policy.add_argument(
        "--execution-horizon",
        type=positive,
        metavar="STEPS",
        help="steps that a replay advances with each request (default: the action horizon)",
    )
    policy.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="check observations and actions",
    )
    policy.add_argument(
        "--use-sim-policy-wrapper",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="take the flat keys of Isaac-GR00T's simulation environments (clients of ours: "
        "PolicyClient(strict=False))",
    )

    server = parser.add_argument_group("the server")
    add_server_flags(
        server,
        "127.0.0.1",
        "interface to listen on; 0.0.0.0 for the whole network, ipc:///path for a Unix socket",
    )
    server.add_argument(
        "--reply-format",
        choices=REPLY_FORMATS,
        default="auto",
        help="auto answers each client in its own form (default)",
    )
    server.add_argument(
        "--max-batch",
        type=positive,
        default=16,
        metavar="ROWS",
        help="most rows that the model is asked for at once when several clients wait; 1 asks for "
        "one request at a time (default: 16)",
    )
    server.add_argument(
        "--replicas",
        type=positive,
        metavar="N",
        help="answer by N processes with the policy, each with a GPU of its own where there are "
        "GPUs; needs Ray: pip install '.[ray]' (default: the policy is in this process)",
    )
    server.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="put the replicas on the Ray cluster there, which this machine must be part of "
        "(default: Ray is started for this server alone, on loopback)",
    )
    server.add_argument(
        "--secure",
        metavar="KEYS_DIR",
        help="encrypt with CURVE and admit only the clients whose keys are listed in this folder, "
        "which `gr00t-policy keys` makes",
    )
    server.add_argument(
        "--metrics-port",
        type=port,
        metavar="PORT",
        help="serve metrics to Prometheus on this port of 127.0.0.1",
    )
    server.add_argument(
        "--log-level",
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="on stderr (default: info)",
    )
    server.add_argument(
        "--no-malloc-tuning", dest="malloc_tuning", action="store_false", help=MALLOC_HELP
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal comes or a client asks the server to end."""
    logging.basicConfig(level=args.log_level.upper(), handlers=[StderrLog()])
    _check_usage(args)
    policy, backend = _policy(args)
    server = PolicyServer(
        policy,
        args.host,
        args.port,
        api_token(args),
        reply_format=args.reply_format,
        keys=args.secure,
        max_batch=args.max_batch,
        metrics_port=args.metrics_port,
        on_ready=lambda: announce(f"listening on {addresses.name(args.host, server.port)}"),
        backend=backend,
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    signal.signal(signal.SIGHUP, lambda *_: _restart_replicas(server, backend))
    with contextlib.suppress(ClosedError):  # the signal came before `run`
        server.run()
    return 0


def _restart_replicas(server: PolicyServer, backend: ReplicaPool | None) -> None:
    """SIGHUP, as `systemctl reload` sends it."""
    if backend is None:
        logger.warning("SIGHUP restarts replicas, and there are none: it changes nothing")
    else:
        server.restart_replicas()


def _check_usage(args: argparse.Namespace) -> None:
    if (args.model_path is None) == (args.dataset_path is None):
        given = "neither" if args.model_path is None else "both"
        args.parser.error(
            f"give either --dataset-path (a dataset to replay) or --model-path (a model), "
            f"got {given}"
        )
    if args.model_path is None:
        model_flags = {"camera_size", "device", "embodiment_tag", "max_batch", *MODEL_FLAGS}
        refuse_without_effect(args, model_flags, "a replay has no model")
    else:
        refuse_without_effect(args, REPLAY_FLAGS, "a model replays no data set")
    if args.ray_address is not None and args.replicas is None:
        args.parser.error("--ray-address says where --replicas are: give both")
    if args.replicas is not None and args.device.startswith("cuda:"):
        args.parser.error(
            f"--replicas are given a GPU each, --device is cuda then, got {args.device}"
        )


def _policy(
    args: argparse.Namespace,
) -> tuple[BasePolicy | Callable[[], BasePolicy], ReplicaPool | None]:
    """A policy that is there at once, or what makes it while the server answers pings."""
    load = PolicyLoader.of(args)
    if args.replicas is not None:
        pool = ReplicaPool(
            load.anywhere(), args.replicas, address=args.ray_address, use_gpus=load.uses_gpu
        )
        return (lambda: _wrapped(pool.start(), args)), pool
    if args.model_path is not None:
        return (lambda: _wrapped(load(), args)), None
    return _wrapped(load(), args), None


def _wrapped(policy: BasePolicy, args: argparse.Namespace) -> BasePolicy:
    if not args.use_sim_policy_wrapper:
        return policy
    return SimPolicyWrapper(policy, strict=args.strict)


def _embodiment_tag(text: str) -> EmbodimentTag | str:
    try:
        return EmbodimentTag.resolve(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
