# SPDX-License-Identifier: Apache-2.0
"""Images that a client makes as small as the model would: the same actions bit for bit."""

import numpy as np
import pytest
from models.golden import CASES

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.models.common.image_processing import (
    AreaCrop,
    BicubicCrop,
    BilinearCrop,
    Unchanged,
)
from gr00t_policy_core.resize import (
    ExactResize,
    LetterBoxResize,
    ShortestEdgeResize,
    first_resize,
)

pytest.importorskip("cv2", reason="pip install '.[resize]'")

FIRST = {
    "gr00t_n1d7/a": LetterBoxResize(96),
    "gr00t_n1d7/b": LetterBoxResize(96, "bilinear"),
    "gr00t_n1d7/c": ShortestEdgeResize(80),
    "gr00t_n1d7/d": ExactResize(90, 90, "bilinear"),
    "gr00t_n1d7/e": LetterBoxResize(90),
    "gr00t_n1d6/a": LetterBoxResize(90),
    "gr00t_n1d6/b": LetterBoxResize(112, "bilinear"),
    "gr00t_n1d6/c": ShortestEdgeResize(90),
}


def sent_for(golden, server, case, **settings):
    """(action, bytes that it took) of a client of these settings."""
    before = server.metrics()["received_bytes"]
    with PolicyClient("127.0.0.1", server.port, timeout_ms=60_000, **settings) as client:
        action, _ = client.get_action(golden.observation(case), {"seed": golden.seed})
    return action, server.metrics()["received_bytes"] - before


def test_a_model_says_what_it_does_first(golden, policy):
    assert first_resize(policy.get_capabilities()) == FIRST[golden.name]


def test_bars_around_an_image_that_is_not_square_are_nothing_that_a_client_can_do():
    assert BilinearCrop((96, 128), (90, 120), letter_box=True).first_resize is None
    assert Unchanged().first_resize is None


@pytest.mark.parametrize("case", CASES)
def test_actions_of_resized_images_are_the_same_bit_for_bit(golden, policy, case):
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        expected, whole = sent_for(golden, server, case)
        actions, sent = sent_for(golden, server, case, resize=True)
    for key, values in expected.items():
        np.testing.assert_array_equal(actions[key], values)
    assert sent < 0.9 * whole


PIPELINES = [
    *(AreaCrop(256, fraction, letter_box=box) for fraction in (0.95, 1.0) for box in (True, False)),
    AreaCrop(97, 0.5, letter_box=False),
    BilinearCrop((96, 96), (90, 90), letter_box=True),
    BilinearCrop((96, 128), (120, 90), letter_box=False),
    BicubicCrop(100, 0.93, (96, 128), letter_box=False),
    BicubicCrop(96, 1.0, (96, 96), letter_box=True),
]
SIZES = [(480, 640), (360, 270), (1080, 1920), (97, 97), (31, 53), (1, 150), (700, 5), (255, 300)]
ODD_SIZES = [(int(h), int(w)) for h, w in np.random.default_rng(2).integers(3, 700, (8, 2))]


@pytest.mark.parametrize("size", SIZES + ODD_SIZES)
@pytest.mark.parametrize("pipeline", PIPELINES, ids=str)
def test_pixels_of_resized_images_are_the_same_bit_for_bit(pipeline, size):
    first = first_resize([pipeline.first_resize.capability])
    assert first == pipeline.first_resize
    frame = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    once = first(frame)
    assert once.shape[:2] == first.size(*size)
    np.testing.assert_array_equal(first(once), once)
    whole = pipeline(frame)
    assert whole.shape[:2] == pipeline.size(*size) == pipeline.size(*once.shape[:2])
    np.testing.assert_array_equal(pipeline(once), whole)
