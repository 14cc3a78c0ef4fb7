# SPDX-License-Identifier: Apache-2.0
"""Policies without a model: the replay of a dataset, and a wrapper for flat keys."""

from gr00t_policy_core.policies.replay import ReplayPolicy
from gr00t_policy_core.policies.sim_wrapper import Gr00tSimPolicyWrapper, SimPolicyWrapper

__all__ = ["Gr00tSimPolicyWrapper", "ReplayPolicy", "SimPolicyWrapper"]
