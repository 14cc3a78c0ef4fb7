# SPDX-License-Identifier: Apache-2.0
"""Pictures that a client makes as small as the model would: the same actions bit for bit."""

import numpy as np
import pytest
from models.golden import CASES

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.models.common.images import BilinearCrop
from gr00t_policy_core.resize import SquareResize

pytest.importorskip("cv2", reason="pip install '.[resize]'")

FIRST = {
    "gr00t_n1d7/a": SquareResize(96),
    "gr00t_n1d7/b": SquareResize(96, "bilinear"),
    "gr00t_n1d6/a": SquareResize(90),
    "gr00t_n1d6/b": SquareResize(112, "bilinear"),
}


def sent_for(golden, server, case, **settings):
    """(action, bytes that it took) of a client of these settings."""
    before = server.metrics()["received_bytes"]
    with PolicyClient("127.0.0.1", server.port, timeout_ms=60_000, **settings) as client:
        action, _ = client.get_action(golden.observation(case), {"seed": golden.seed})
    return action, server.metrics()["received_bytes"] - before


def test_a_model_says_what_it_does_first(golden, policy):
    assert SquareResize.told_by(policy.get_capabilities()) == FIRST[golden.name]


def test_a_pipeline_whose_result_is_not_square_does_nothing_that_a_client_can_do():
    assert BilinearCrop((96, 128), (90, 120)).first is None


@pytest.mark.parametrize("case", CASES)
def test_actions_of_resized_pictures_are_the_same_bit_for_bit(golden, policy, case):
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        expected, whole = sent_for(golden, server, case)
        actions, sent = sent_for(golden, server, case, resize=True)
    for key, values in expected.items():
        np.testing.assert_array_equal(actions[key], values)
    assert sent < 0.9 * whole


@pytest.mark.parametrize("size", [(480, 640), (360, 270), (1080, 1920), (97, 97)])
def test_pixels_of_resized_pictures_are_the_same_bit_for_bit(golden, policy, size):
    pipeline = policy.model.backbone.pipeline
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pipeline(pipeline.first(frame)), pipeline(frame))
