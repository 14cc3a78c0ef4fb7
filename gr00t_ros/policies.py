# SPDX-License-Identifier: Apache-2.0
"""The policy that the parameters ask for: a server across the network, or a model in here."""

from __future__ import annotations

from gr00t_policy_core import PolicyClient
from gr00t_policy_core.errors import PolicyError, SpecError
from gr00t_policy_core.policy import BasePolicy
from gr00t_ros.contract import PolicySettings


def make_policy(settings: PolicySettings) -> BasePolicy:
    """Make the policy; a server is not contacted yet.

    Raises:
        SpecError: The backend is not to be had, and why.
    """
    if settings.backend == "server":
        return PolicyClient(
            host=settings.host,
            port=settings.port,
            timeout_ms=round(settings.timeout_s * 1000),
            api_token=settings.token,
        )
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
        return Gr00tPolicy(
            settings.embodiment_tag,
            settings.model_path,
            device=settings.device,
            backbone_path=settings.backbone_path,
        )
    except SpecError:
        raise
    except PolicyError as error:
        raise SpecError("the model cannot be loaded", [str(error)]) from error
