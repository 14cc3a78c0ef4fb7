# SPDX-License-Identifier: Apache-2.0
"""What every policy must do, whichever it is: run over each implementation.

Uses the policy: give it one that nobody else is talking to.
"""

import copy
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gr00t_policy_core import BasePolicy, ModalityConfig, SpecError

Observation = dict[str, Any]


def check_policy_conforms(
    policy: BasePolicy, observation_factory: Callable[[int], Observation]
) -> None:
    """Hold a strict policy against the interface that `BasePolicy` describes.

    Args:
        policy: Strict, and telling its modality configs.
        observation_factory: Gives a valid observation of the policy for a batch size.

    Raises:
        AssertionError: Saying what the policy does not keep to.
    """
    configs = policy.get_modality_config()
    assert configs.keys() >= {"action"}
    assert all(isinstance(config, ModalityConfig) for config in configs.values())
    check_answers(policy, observation_factory, configs["action"])
    check_reset(policy, observation_factory)
    check_input_is_left_alone(policy, observation_factory)
    check_dimensions(policy, observation_factory)
    check_refusals(policy, observation_factory, configs)


def check_answers(policy, observation_factory, action_config: ModalityConfig) -> None:
    """Every key, float32 (B, horizon, D), finite, for several batch sizes."""
    policy.reset()
    for batch_size in (1, 3):
        action, info = policy.get_action(observation_factory(batch_size))
        assert isinstance(info, dict)
        assert set(action) == set(action_config.modality_keys)
        for key, values in action.items():
            assert values.dtype == np.float32, key
            assert values.ndim == 3, key
            assert values.shape[:2] == (batch_size, len(action_config.delta_indices)), key
            assert np.isfinite(values).all(), key
        policy.check_action(action)


def check_reset(policy, observation_factory) -> None:
    """A reset answers with a dict, takes options=None, and acting goes on after it."""
    assert isinstance(policy.reset(), dict)
    assert isinstance(policy.reset(options=None), dict)
    policy.get_action(observation_factory(1))


def check_input_is_left_alone(policy, observation_factory) -> None:
    """The observation is not written to, and writing to it later does not reach the answer."""
    policy.reset()
    observation = observation_factory(1)
    before = copy.deepcopy(observation)
    action, _ = policy.get_action(observation)
    np.testing.assert_equal(observation, before)
    answer = copy.deepcopy(action)
    for entries in observation.values():
        for value in entries.values():
            if isinstance(value, np.ndarray):
                value[:] = 7
    np.testing.assert_equal(action, answer)


def check_dimensions(policy, observation_factory) -> None:
    """Where a policy tells dimensions, they are those of its answers."""
    told = policy.get_dimensions().get("action", {})
    action, _ = policy.get_action(observation_factory(1))
    for key, dimension in told.items():
        assert action[key].shape[2] == dimension, key


def check_refusals(policy, observation_factory, configs) -> None:
    """Each wrong observation is a SpecError that names the key, and harms nothing after it."""
    for modality in ("video", "state", "language"):
        for key in configs[modality].modality_keys if modality in configs else ():
            good = observation_factory(2)[modality][key]
            for what, value in wrong_values(modality, good):
                observation = observation_factory(2)
                if value is MISSING:
                    del observation[modality][key]
                else:
                    observation[modality][key] = value
                with pytest.raises(SpecError) as caught:
                    policy.get_action(observation)
                name = key if modality == "language" else f"{modality}.{key}"
                assert name in str(caught.value), f"{what}: {caught.value}"
        if modality in configs:
            observation = observation_factory(1)
            del observation[modality]
            names = "|".join(map(re.escape, [modality, *configs[modality].modality_keys]))
            with pytest.raises(SpecError, match=names):
                policy.get_action(observation)
    with pytest.raises(SpecError):
        policy.get_action(None)
    policy.get_action(observation_factory(1))


MISSING = object()


def wrong_values(modality: str, good: Any) -> list[tuple[str, Any]]:
    """Wrong values in place of `good`, which is of batch size 2, each with what is wrong."""
    always = [("missing", MISSING), ("None", None)]
    if modality == "language":
        return [
            *always,
            ("a string", "pick"),
            ("a list of strings", ["pick", "pick"]),
            ("a number in place of a prompt", [[1], [2]]),
            ("too many steps", [[*row, "more"] for row in good]),
            ("another batch size", good[:1]),
        ]
    return [
        *always,
        ("nested lists", good.tolist() if modality == "state" else [[0]]),
        ("another dtype", good.astype(np.float64)),
        ("no batch axis", good[0]),
        ("too many steps", np.repeat(good, 2, axis=1)),
        ("another batch size", good[:1]),
        ("nothing in it", good[..., :0]),
    ]
