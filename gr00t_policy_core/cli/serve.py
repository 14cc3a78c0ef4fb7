# SPDX-License-Identifier: Apache-2.0
"""`gr00t-policy serve`: one policy behind a port, until a signal or a client ends it."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import (
    add_server_flags,
    api_token,
    port,
    positive,
    write_line,
)
from gr00t_policy_core.cli.model_flags import add_model_flags, model_settings
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import ClosedError, SpecError
from gr00t_policy_core.modality import ModalityConfig, modality_configs_from_json
from gr00t_policy_core.policies import ReplayPolicy, SimPolicyWrapper
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving import addresses
from gr00t_policy_core.serving.server import PolicyServer
from gr00t_policy_core.serving.server_settings import REPLY_FORMATS

DESCRIPTION = """\
Serve a policy to stock Isaac-GR00T clients and to our own. Prints "listening on HOST:PORT" when
it is ready; while a model loads, ping is answered already and tells so. SIGINT and SIGTERM finish
the request in progress, refuse the others and end it."""

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
        help="checkpoint of a GR00T N1.6 or N1.7 model: a folder, or an id on the Hugging Face hub",
    )
    policy.add_argument(
        "--embodiment-tag",
        type=_embodiment_tag,
        default=EmbodimentTag.NEW_EMBODIMENT,
        metavar="TAG",
        help="robot that the model is to drive, name or value (default: new_embodiment)",
    )
    policy.add_argument("--device", default="cuda", help="where the model runs (default: cuda)")
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
    logging.basicConfig(
        level=args.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    server = PolicyServer(
        _policy(args),
        args.host,
        args.port,
        api_token(args),
        reply_format=args.reply_format,
        keys=args.secure,
        max_batch=args.max_batch,
        metrics_port=args.metrics_port,
        on_ready=lambda: write_line(f"listening on {addresses.name(args.host, server.port)}"),
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    with contextlib.suppress(ClosedError):  # the signal came before `run`
        server.run()
    return 0


def _policy(args: argparse.Namespace) -> BasePolicy | Callable[[], BasePolicy]:
    """A replay, which is there at once, or what loads a model while the server answers pings."""
    if (args.model_path is None) == (args.dataset_path is None):
        given = "neither" if args.model_path is None else "both"
        args.parser.error(
            f"give either --dataset-path (a dataset to replay) or --model-path (a model), "
            f"got {given}"
        )
    if args.model_path is not None:
        return lambda: _wrapped(_model(args), args)
    replay = ReplayPolicy(
        args.dataset_path,
        _modality_configs(args.modality_config_path),
        args.execution_horizon,
        strict=args.strict,
    )
    return _wrapped(replay, args)


def _wrapped(policy: BasePolicy, args: argparse.Namespace) -> BasePolicy:
    if not args.use_sim_policy_wrapper:
        return policy
    return SimPolicyWrapper(policy, strict=args.strict)


def _model(args: argparse.Namespace) -> BasePolicy:
    from gr00t_policy_core.models import Gr00tPolicy

    return Gr00tPolicy(
        args.embodiment_tag,
        args.model_path,
        device=args.device,
        dtype=args.dtype,
        backbone_path=args.backbone_path,
        **model_settings(args),
        strict=args.strict,
    )


def _modality_configs(path: str | None) -> dict[str, ModalityConfig] | None:
    if path is None:
        return None
    if not path.endswith(".json"):
        raise SpecError("bad --modality-config-path", [f"must be a .json file, got {path}"])
    try:
        return modality_configs_from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except ValueError as error:
        raise SpecError("bad --modality-config-path", [f"{path}: {error}"]) from error


def _embodiment_tag(text: str) -> EmbodimentTag | str:
    try:
        return EmbodimentTag.resolve(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
