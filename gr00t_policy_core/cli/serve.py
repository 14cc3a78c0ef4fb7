# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy serve`: serve one policy until a signal or a client stops the server."""

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
from gr00t_policy_core.cli.custom_policy import policy_argument, policy_name
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
Serve a policy to Isaac-GR00T's clients and to PolicyClient. The command prints "listening on
HOST:PORT" when the policy is ready; while a model loads, the server answers ping and says that it
is loading. SIGINT and SIGTERM finish the requests in progress, reject the others and stop the
server. SIGHUP restarts the replicas of --replicas one after the other, without losing a request."""

REPLAY_FLAGS = ("modality_config_path", "execution_horizon", "episode_index")
MODEL_ONLY_FLAGS = ("camera_size", "device", "embodiment_tag", *MODEL_FLAGS)

MALLOC_HELP = """\
do not restart the process with glibc's malloc configured to keep large buffers. The configuration
costs memory: the process keeps the buffers of its largest messages, and the heap grows by 64 MiB of
address space at a time"""


def add_command(commands: Any) -> None:
    """Add `serve` to the subparsers of the program."""
    parser = commands.add_parser("serve", help="serve a policy", description=DESCRIPTION)
    parser.set_defaults(run=run, parser=parser)

    policy = parser.add_argument_group(
        "the policy (one of --model-path, --dataset-path and --policy)"
    )
    policy.add_argument(
        "--model-path",
        metavar="PATH",
        help="GR00T N1.6 or N1.7 checkpoint of Isaac-GR00T or LeRobot, or a LoRA adapter: a "
        "folder, or an id on the Hugging Face hub (owner/name or owner/name/folder)",
    )
    policy.add_argument(
        "--embodiment-tag",
        type=_embodiment_tag,
        default=EmbodimentTag.NEW_EMBODIMENT,
        metavar="TAG",
        help="embodiment that the model drives, name or value (default: new_embodiment)",
    )
    policy.add_argument(
        "--device",
        type=device,
        default="cuda",
        help="device of the model: cuda, cuda:1 or 1, cpu (default: cuda)",
    )
    add_model_flags(policy)
    policy.add_argument(
        "--dataset-path", metavar="DIR", help="LeRobot v2.0, v2.1 or v3.0 dataset to replay"
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
        "--episode-index",
        type=int,
        metavar="INDEX",
        help="episode that a replay begins with (default: the first one)",
    )
    policy.add_argument(
        "--policy",
        type=policy_name,
        metavar="MODULE:NAME",
        help="policy of your own: a class, or a function that returns a policy, in a module of the "
        "current folder or an installed one",
    )
    policy.add_argument(
        "--policy-args",
        type=policy_argument,
        action="extend",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="keyword arguments of --policy; a value is JSON, or else text",
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
        help="accept the flat keys of Isaac-GR00T's simulation environments (with our client: "
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
        help="format of replies; auto uses the format of each request (default: auto)",
    )
    server.add_argument(
        "--max-batch",
        type=positive,
        default=16,
        metavar="ROWS",
        help="maximum number of rows in one call of the model, which joins requests of waiting "
        "clients; 1 joins none (default: 16)",
    )
    server.add_argument(
        "--replicas",
        type=positive,
        metavar="N",
        help="run the policy in N processes, each with its own GPU if there are GPUs; needs Ray: "
        "pip install '.[ray]' (default: run the policy in this process)",
    )
    server.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="run the replicas on this Ray cluster, which the machine must be part of (default: "
        "start Ray for this server only, on loopback)",
    )
    server.add_argument(
        "--secure",
        metavar="KEYS_DIR",
        help="encrypt with CURVE, and admit only clients with a key in this folder, which "
        "`gr00t-policy keys` generates",
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
        help="level of the log on stderr (default: info)",
    )
    server.add_argument(
        "--no-malloc-tuning", dest="malloc_tuning", action="store_false", help=MALLOC_HELP
    )


def run(args: argparse.Namespace) -> int:
    """Serve until a signal or a client stops the server."""
    logging.basicConfig(level=args.log_level.upper(), handlers=[StderrLog()])
    _check_usage(args)
    _check_replicas(args)
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
    with contextlib.suppress(ClosedError):  # a signal stopped it before `run`
        server.run()
    return 0


def _restart_replicas(server: PolicyServer, backend: ReplicaPool | None) -> None:
    """Handle SIGHUP, which `systemctl reload` sends."""
    if backend is None:
        logger.warning("SIGHUP has no effect: it restarts replicas, and there are none")
    else:
        server.restart_replicas()


def _check_usage(args: argparse.Namespace) -> None:
    sources = {
        "--model-path": args.model_path,
        "--dataset-path": args.dataset_path,
        "--policy": args.policy,
    }
    given = [flag for flag, value in sources.items() if value is not None]
    if len(given) != 1:
        args.parser.error(
            "give one of --model-path (a model), --dataset-path (a dataset to replay) and --policy "
            f"(a policy of your own), got {' and '.join(given) or 'none'}"
        )
    if args.policy is None:
        refuse_without_effect(args, ["policy_args"], "there is no --policy")
    if args.dataset_path is not None:
        refuse_without_effect(args, (*MODEL_ONLY_FLAGS, "max_batch"), "a replay has no model")
        return
    kind = "a model" if args.policy is None else "a policy of your own"
    refuse_without_effect(args, REPLAY_FLAGS, f"{kind} does not replay a dataset")
    if args.policy is not None:
        refuse_without_effect(args, MODEL_ONLY_FLAGS, "only with --model-path")


def _check_replicas(args: argparse.Namespace) -> None:
    if args.ray_address is not None and args.replicas is None:
        args.parser.error("--ray-address needs --replicas")
    if args.replicas is not None and args.device.startswith("cuda:"):
        args.parser.error(f"--replicas have a GPU each: --device must be cuda, got {args.device}")


def _policy(
    args: argparse.Namespace,
) -> tuple[BasePolicy | Callable[[], BasePolicy], ReplicaPool | None]:
    """A policy, or a function that loads it while the server answers pings; and the replicas."""
    load = PolicyLoader.of(args)
    if args.replicas is not None:
        pool = ReplicaPool(
            load.anywhere(), args.replicas, address=args.ray_address, use_gpus=load.uses_gpu
        )
        return (lambda: _wrapped(pool.start(), args)), pool
    if args.dataset_path is None:
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
