# SPDX-License-Identifier: Apache-2.0
"""A loaded policy, with the values that the server derives from it once."""

from __future__ import annotations

from dataclasses import dataclass

from gr00t_policy_core.policy import BasePolicy
from gr00t_policy_core.serving.server.endpoints import ACTION_ENDPOINT, Endpoint, EndpointTable
from gr00t_policy_core.serving.server.request_limits import RequestLimits


@dataclass(frozen=True, slots=True)
class ServedPolicy:
    """A policy that the server answers with.

    Args:
        policy: The policy, which only its own threads may call.
        endpoint: The endpoint ``get_action`` as it was when the policy was loaded. Only requests
            for it are joined to batches.
        max_batch: The most rows (B) of one call.
        limits: What a request for actions may cost.
        capabilities: The result of `BasePolicy.get_capabilities`.
    """

    policy: BasePolicy
    endpoint: Endpoint
    max_batch: int
    limits: RequestLimits
    capabilities: tuple[str, ...]

    @classmethod
    def of(cls, policy: BasePolicy, endpoints: EndpointTable, max_batch: int) -> ServedPolicy:
        """Register a policy's endpoints, and derive the rest. Reads nothing of the policy later.

        Args:
            policy: May be duck-typed: what it lacks of `BasePolicy` counts as the default.
            endpoints: Receives the policy's endpoints; names that are taken stay as they are.
            max_batch: The server's own limit of rows.
        """
        limits = RequestLimits.of(policy, max_batch)
        endpoints.register_policy(policy, limits.items)
        endpoint = endpoints.find(ACTION_ENDPOINT)
        if endpoint is None:  # `register_policy` has added it
            raise RuntimeError(f"no endpoint {ACTION_ENDPOINT}")
        return cls(
            policy,
            endpoint,
            min(max_batch, getattr(policy, "max_batch_size", 1)),
            limits,
            tuple(getattr(policy, "get_capabilities", tuple)()),
        )

    @property
    def has_own_handler(self) -> bool:
        """Whether a user's handler answers instead of the policy's ``get_action``."""
        return self.endpoint.handler != getattr(self.policy, ACTION_ENDPOINT, None)
