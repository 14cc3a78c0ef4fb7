# SPDX-License-Identifier: Apache-2.0
"""The policies that a command line names: servers, checkpoints, datasets and Python functions."""

from __future__ import annotations

import argparse
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gr00t_policy_core.cli.common import (
    add_key_flags,
    add_server_flags,
    device,
    positive,
    refuse_without_effect,
)
from gr00t_policy_core.cli.custom_policy import CustomPolicy
from gr00t_policy_core.cli.model_flags import MODEL_FLAGS, add_model_flags, execution_arguments
from gr00t_policy_core.cli.policy_loader import PolicyLoader
from gr00t_policy_core.cli.query import make_client
from gr00t_policy_core.embodiment import EmbodimentTag
from gr00t_policy_core.errors import PolicyTimeoutError, SpecError
from gr00t_policy_core.policies import ReplayPolicy
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.client.policy_client import PolicyClient

TIMEOUT_MS = 60_000  # a server's first answer may wait for its model to be captured
TOLD_AFTER_S = 3.0  # a person begins to wonder
POLICY_HELP = """\
a policy of a comparison, as NAME=WHERE; may be given several times. WHERE is a server (HOST:PORT
or ipc:///path), a checkpoint (a folder or an id on the Hugging Face hub), a LeRobot dataset to
replay, or a class or function without arguments that makes a policy (module:name, of a module in
the current folder or an installed one)"""
SERVER_FLAGS = ("host", "port", "api_token", "server_key", "keys", "timeout_ms")
LOCAL_FLAGS = (*MODEL_FLAGS, "camera_size", "embodiment_tag", "device")

logger = logging.getLogger(__name__)

_SERVER = re.compile(r"(?P<host>[^/\s]+):(?P<port>[0-9]+)")
_FUNCTION = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<function>[A-Za-z_]\w*)")


class _Kind(Enum):
    SERVER, MODEL, REPLAY, FUNCTION = range(4)


@dataclass(frozen=True, slots=True)
class PolicySource:
    """Where a policy is, and what a report calls it."""

    name: str
    where: str


def add_policy_flags(parser: Any) -> None:
    """Add the flags that name policies to the parser of a command."""
    parser.add_argument(
        "--policy",
        type=policy_source,
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help=POLICY_HELP,
    )
    server = parser.add_argument_group("a policy server")
    add_server_flags(server, "localhost", "host of the server, or ipc:///path")
    add_key_flags(server)
    server.add_argument(
        "--timeout-ms",
        type=positive,
        default=TIMEOUT_MS,
        help=f"timeout of each request, ms (default: {TIMEOUT_MS})",
    )
    model = parser.add_argument_group("a model on this machine")
    model.add_argument("--model-path", metavar="PATH", help="checkpoint: a folder or a hub id")
    model.add_argument(
        "--embodiment-tag",
        default=EmbodimentTag.NEW_EMBODIMENT,
        metavar="TAG",
        help="embodiment that the model drives (default: new_embodiment)",
    )
    model.add_argument(
        "--device", type=device, default="cuda", help="cuda, cuda:1 or 1, cpu (default: cuda)"
    )
    add_model_flags(model)


def policy_source(text: str) -> PolicySource:
    """An argparse type: ``NAME=WHERE``."""
    name, equals, where = text.partition("=")
    if not (name and equals and where):
        raise argparse.ArgumentTypeError(f"must be NAME=WHERE, got {text!r}")
    return PolicySource(name, where)


def policy_sources(args: argparse.Namespace) -> list[PolicySource]:
    """The policies that a command line names, in its order; the server where it names none.

    It exits with a usage error for flags that belong to no policy.

    Raises:
        SpecError: Two policies have one name.
    """
    sources = list(args.policy)
    if args.model_path is not None:
        sources.append(PolicySource(Path(args.model_path).name, args.model_path))
    if {"host", "port"} & args.given or not sources:
        sources.append(PolicySource("server", _address(args.host, args.port)))
    _refuse_unused(args, sources)
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SpecError("bad policies", [f"two have the name {twice}: give each its own"])
    return sources


def names_a_policy(args: argparse.Namespace) -> bool:
    """Whether a command line names any policy."""
    return bool(args.policy or args.model_path is not None or {"host", "port"} & args.given)


def open_policies(
    args: argparse.Namespace, stack: ExitStack
) -> Iterator[tuple[PolicySource, BasePolicy]]:
    """Open one policy after the other, so that a broken one does not wait for the others.

    Args:
        args: The arguments of the command.
        stack: Closes the connections to servers.

    Yields:
        Where each policy is, and the policy.

    Raises:
        PolicyError: A policy cannot be reached or loaded.
    """
    for source in policy_sources(args):
        yield source, open_policy(source, args, stack)


def open_policy(source: PolicySource, args: argparse.Namespace, stack: ExitStack) -> BasePolicy:
    """Open one policy.

    Args:
        source: Where it is.
        args: The arguments of the command.
        stack: Closes the connection to a server.

    Raises:
        PolicyError: The policy cannot be reached or loaded.
    """
    return _open(source.where, args, stack)


def wait_until_ready(policy: BasePolicy) -> None:
    """Wait until a policy that is a server is ready, for as long as its requests may take.

    The log says after `TOLD_AFTER_S` what it waits for. A policy that is not a server is ready.

    Raises:
        PolicyError: The server does not answer in time, rejects this client, or could not load its
            policy.
    """
    if not isinstance(policy, PolicyClient):
        return
    try:
        policy.wait_until_ready(TOLD_AFTER_S)
    except PolicyTimeoutError as error:
        timeout_s = policy.timeout_ms / 1000
        logger.warning("%s; waiting for up to %g s more, Ctrl-C ends", error, timeout_s)
        policy.wait_until_ready(timeout_s)


def server_arguments(source: PolicySource, args: argparse.Namespace) -> argparse.Namespace | None:
    """The arguments of the command with the host and the port of a policy that is a server.

    None for a policy that is none.
    """
    return _server_arguments(source.where, args) if _is_server(source.where) else None


def _refuse_unused(args: argparse.Namespace, sources: Sequence[PolicySource]) -> None:
    """Exit with a usage error for flags of a kind of policy that is not there."""
    kinds = {_kind(source.where) for source in sources}
    if _Kind.SERVER not in kinds:
        refuse_without_effect(args, SERVER_FLAGS, "no policy is a server")
    if _Kind.MODEL not in kinds:
        refuse_without_effect(args, LOCAL_FLAGS, "no policy is a model on this machine")


def _is_server(where: str) -> bool:
    return where.startswith("ipc://") or _SERVER.fullmatch(where) is not None


def _kind(where: str) -> _Kind:
    if _is_server(where):
        return _Kind.SERVER
    if (Path(where) / "meta/info.json").exists():
        return _Kind.REPLAY
    if _FUNCTION.fullmatch(where) and not Path(where).exists():
        return _Kind.FUNCTION
    return _Kind.MODEL


def _open(where: str, args: argparse.Namespace, stack: ExitStack) -> BasePolicy:
    match _kind(where):
        case _Kind.SERVER:
            client = stack.enter_context(make_client(_server_arguments(where, args)))
            wait_until_ready(client)
            return client
        case _Kind.REPLAY:
            return ReplayPolicy(where)
        case _Kind.FUNCTION:
            return CustomPolicy.in_current_folder(where, {}).make()
        case _Kind.MODEL:
            return _model_loader(where, args)()


def _server_arguments(where: str, args: argparse.Namespace) -> argparse.Namespace:
    server = _SERVER.fullmatch(where)
    host, port = (server["host"], int(server["port"])) if server else (where, args.port)
    return argparse.Namespace(**{**vars(args), "host": host, "port": port})


def _model_loader(model_path: str, args: argparse.Namespace) -> PolicyLoader:
    return PolicyLoader(
        model_path=model_path,
        backbone_path=args.backbone_path,
        embodiment_tag=args.embodiment_tag,
        device=args.device,
        dtype=args.dtype,
        settings=execution_arguments(args),
        dataset_path=None,
        modality_config_path=None,
        execution_horizon=None,
        strict=True,
        max_batch=1,
        camera_size=args.camera_size,
        base_model_path=args.base_model_path,
        denoising_steps=args.denoising_steps,
    )


def _address(host: str, port: int) -> str:
    return host if host.startswith("ipc://") else f"{host}:{port}"
