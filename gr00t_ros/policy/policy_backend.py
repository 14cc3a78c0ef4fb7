# SPDX-License-Identifier: Apache-2.0
"""The policy that the parameters name: a server across the network, or a model in this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gr00t_policy_core import PolicyClient
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.wire import jpeg
from gr00t_policy_core.serving.wire.client_info import CLIENT_INFO
from gr00t_ros.contract.policy_settings import PolicySettings
from gr00t_ros.policy.observation_builder import NotReadyError


def make_policy(settings: PolicySettings) -> BasePolicy:
    """Make the policy; a server is not contacted yet.

    Raises:
        SpecError: The backend cannot be made; says why.
    """
    return _client(settings) if settings.backend == "server" else _model(settings)


def require_loaded(policy: BasePolicy) -> None:
    """Require that a server has loaded its policy; a local policy is always loaded.

    Raises:
        NotReadyError: The server is still loading its policy.
        PolicyError: The server could not load its policy, or does not answer.
    """
    state = policy.get_state() if isinstance(policy, PolicyClient) else "ready"
    if state == "loading":
        raise NotReadyError("the server is loading its policy")
    if state != "ready":
        raise PolicyError(f"the server could not load its policy ({state}); its own log says why")


def takes_jpeg(settings: PolicySettings, capabilities: Sequence[str]) -> bool:
    """Whether images travel as JPEG: the parameters ask for it, and the server can decode them."""
    wanted = settings.backend == "server" and settings.image_encoding == "jpeg"
    return wanted and jpeg.CAPABILITY in capabilities


def tell_server(policy: BasePolicy, info: Mapping[str, Any]) -> None:
    """Tell a server that takes it what the robot does, without a request for actions.

    Raises:
        PolicyError: The server does not answer, or refuses it.
    """
    if isinstance(policy, PolicyClient) and CLIENT_INFO in policy.get_capabilities():
        policy.call_endpoint(CLIENT_INFO, dict(info))


def close_policy(policy: BasePolicy) -> None:
    """Close the connection or the model of a policy, if it has one to close."""
    close = getattr(policy, "close", None)
    if close is not None:
        close()


def _client(settings: PolicySettings) -> PolicyClient:
    try:
        return PolicyClient(
            host=settings.host,
            port=settings.port,
            hosts=settings.hosts or None,
            timeout_ms=round(settings.timeout_s * 1000),
            api_token=settings.token,
            server_key=settings.server_key,
            keys=settings.keys,
            image_encoding=settings.image_encoding,
            quality=settings.quality,
            resize=settings.resize,
        )
    except SpecError as error:  # each setting of the client has the name of its parameter
        problems = [f"policy.{problem}" for problem in error.problems]
        raise SpecError("bad parameters", problems) from error
    except ImportError as error:
        raise SpecError("bad parameters", [f"policy.image_encoding: {error}"]) from error


def _model(settings: PolicySettings) -> BasePolicy:
    try:
        from gr00t_policy_core.models import Gr00tPolicy
    except ImportError as error:
        raise SpecError(
            "bad parameters",
            [
                f"policy.backend: local needs the models ({error}); "
                "install the extra 'gr00t', or use policy.backend: server"
            ],
        ) from error
    try:
        policy = Gr00tPolicy(**asdict(settings.model))
        robot = [settings.camera_sizes] if settings.camera_sizes else []
        policy.warm_up(camera_sizes=robot)
        return policy
    except SpecError:
        raise
    except PolicyError as error:
        raise SpecError("the model cannot be loaded", [str(error)]) from error
