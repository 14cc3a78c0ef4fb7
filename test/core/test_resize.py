# SPDX-License-Identifier: Apache-2.0
"""Pictures that a client makes as small as the policy would: the policy sees no difference."""

import importlib.util
import logging
import re
import sys

import numpy as np
import pytest
from peers.stock import StockServer
from toy_policy import ToyPolicy, toy_observation

from gr00t_policy_core import PolicyClient, PolicyServer
from gr00t_policy_core.resize import (
    ExactResize,
    LetterBoxResize,
    ShortestEdgeResize,
    bilinear_resized,
    first_resize,
    letterbox,
    saves_pixels,
)
from gr00t_policy_core.serving import JpegVideo
from gr00t_policy_core.serving.wire import jpeg

needs_opencv = pytest.mark.skipif(
    importlib.util.find_spec("cv2") is None, reason="pip install '.[resize]'"
)
FIRST = LetterBoxResize(32)
WAYS = [
    pytest.param(FIRST, marks=needs_opencv),
    LetterBoxResize(32, "bilinear"),
    LetterBoxResize(32, "bicubic"),
    pytest.param(ShortestEdgeResize(32), marks=needs_opencv),
    ExactResize(32, 40, "bilinear"),
    ExactResize(24, 32, "bicubic"),
]
SIZES = [(48, 64), (64, 48), (200, 200), (33, 33), (100, 37), (480, 640)]


def frame_of(height, width):
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)


class ResizingPolicy(ToyPolicy):
    """Keeps what came, and what its own pipeline makes of that first."""

    def __init__(self, capabilities=("rtc", FIRST.capability), first=FIRST):
        super().__init__()
        self.capabilities = capabilities
        self.first = first

    def get_capabilities(self):
        return self.capabilities

    def _get_action(self, observation, options=None):
        self.came = observation["video"]
        self.seen = {
            key: np.stack([self.first(frame) for frame in video[:, 0]])
            for key, video in self.came.items()
        }
        return super()._get_action(observation, options)


def client_of(server, **settings):
    return PolicyClient("127.0.0.1", server.port, timeout_ms=10_000, **settings)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [(2, 5, (1, 3), (0, 5)), (5, 2, (0, 5), (1, 3)), (3, 3, (0, 3), (0, 3))],
)
def test_a_letterbox_has_the_smaller_half_of_its_bars_first(height, width, rows, columns):
    square = letterbox(np.full((height, width, 3), 255, dtype=np.uint8))
    expected = np.zeros((max(height, width),) * 2, dtype=np.uint8)
    expected[slice(*rows), slice(*columns)] = 255
    np.testing.assert_array_equal(square, np.repeat(expected[..., None], 3, axis=2))


@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("size", SIZES)
def test_a_result_is_left_as_it_is(size, first):
    once = first(frame_of(*size))
    assert (once.shape, once.dtype) == ((*first.size(*size), 3), np.uint8)
    np.testing.assert_array_equal(first(once), once)


@needs_opencv
def test_a_shrunk_picture_is_the_average_of_its_blocks():
    blocks = frame_of(64, 64).reshape(32, 2, 32, 2, 3).mean(axis=(1, 3))
    assert np.abs(FIRST(frame_of(64, 64)) - blocks).max() <= 0.5


def test_a_picture_shrunk_bilinearly_is_what_a_triangle_as_wide_as_a_pixel_gives():
    square, weights = frame_of(6, 6), np.array([1, 3, 3, 1]) / 8
    expected = np.einsum("i,j,ijc->c", weights, weights, square[1:5, 1:5])
    assert np.abs(bilinear_resized(square, (3, 3))[1, 1] - expected).max() <= 1


def test_bilinear_interpolation_asks_for_no_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert LetterBoxResize(32, "bilinear")(frame_of(48, 64)).shape == (32, 32, 3)
    assert ExactResize(20, 30, "bicubic")(frame_of(48, 64)).shape == (20, 30, 3)


@needs_opencv
@pytest.mark.parametrize("first", WAYS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_policy_sees_the_very_same_pixels_whoever_resized_them(size, batch, first):
    observation = toy_observation(batch, *size)
    policy = ResizingPolicy(("rtc", first.capability), first)
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        with client_of(server) as client:
            client.get_action(observation)
        seen = policy.seen
        with client_of(server, resize=True) as client:
            client.get_action(observation)
    for key, video in policy.came.items():
        came = first.size(*size) if saves_pixels(first, *size) else size
        assert video.shape == (batch, 1, *came, 3)
        np.testing.assert_array_equal(policy.seen[key], seen[key])


@needs_opencv
def test_a_picture_that_would_not_get_smaller_is_left_to_the_policy():
    policy = ResizingPolicy()
    observation = toy_observation(1, 20, 40)
    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        client_of(server, resize=True) as client,
    ):
        client.get_action(observation)
    np.testing.assert_array_equal(policy.came["front"], observation["video"]["front"])


@needs_opencv
@pytest.mark.parametrize(
    "told", [(), ("rtc",), ("resize:area:0",), ("resize:cubic:32",), ("resize:shortest:3x4",)]
)
def test_a_policy_that_does_not_say_its_size_gets_pictures_as_they_are(told, caplog):
    caplog.set_level(logging.INFO, "gr00t_policy_core")
    policy = ResizingPolicy(told)
    observation = toy_observation()
    with (
        PolicyServer(policy, host="127.0.0.1", port=0) as server,
        client_of(server, resize=True) as client,
    ):
        client.get_action(observation)
        client.get_action(observation)
    np.testing.assert_array_equal(policy.came["front"], observation["video"]["front"])
    assert caplog.text.count("reports no image size: images are not resized") == 1


@needs_opencv
def test_a_stock_server_gets_pictures_as_they_are(line):
    observation = toy_observation()
    with StockServer(line) as server, client_of(server, resize=True, strict=False) as client:
        client.get_action(observation)
        sent = server.requests[-1]["data"]["observation"]["video"]["front"]
        np.testing.assert_array_equal(sent, observation["video"]["front"])


@needs_opencv
def test_pictures_are_resized_before_they_become_jpeg_and_what_is_jpeg_already_is_not():
    simplejpeg = pytest.importorskip("simplejpeg", reason="pip install '.[jpeg]'")
    policy = ResizingPolicy()
    observation = toy_observation()
    encoded = simplejpeg.encode_jpeg(observation["video"]["wrist"][0, 0])
    observation["video"]["wrist"] = JpegVideo([encoded], (1, 1, 48, 64, 3))
    with PolicyServer(policy, host="127.0.0.1", port=0) as server:
        with client_of(server, resize=True, image_encoding="jpeg") as client:
            client.get_action(observation)
        assert policy.came["front"].shape == (1, 1, 32, 32, 3)
        np.testing.assert_array_equal(policy.came["wrist"][0, 0], simplejpeg.decode_jpeg(encoded))
        with client_of(server, resize=True) as client:
            client.get_action(observation)
        expected = FIRST(simplejpeg.decode_jpeg(encoded))
        np.testing.assert_array_equal(policy.came["wrist"][0, 0], expected)


def test_only_pictures_are_resized():
    depth = np.zeros((1, 1, 64, 64, 1), np.uint8)
    observation = {"video": {"depth": depth}, "state": {"arm": np.zeros((1, 1, 5))}}
    assert jpeg.resized(observation, FIRST) is observation
    assert jpeg.resized({"video.depth": depth}, FIRST)["video.depth"] is depth


def test_the_extra_is_named_where_opencv_is_not_installed(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "cv2" else find(name)
    )
    with pytest.raises(ImportError, match=r"\.\[resize\]"):
        PolicyClient(resize=True)
    PolicyClient().close()  # nobody else is asked for it


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), None),
        (("rtc", "resize:area:256"), LetterBoxResize(256)),
        (("resize:bilinear:96", "rtc"), LetterBoxResize(96, "bilinear")),
        (("resize:bicubic:96",), LetterBoxResize(96, "bicubic")),
        (("resize:shortest:256",), ShortestEdgeResize(256)),
        (("resize:bilinear:96x128",), ExactResize(96, 128, "bilinear")),
        (("resize:bicubic:96x96",), ExactResize(96, 96, "bicubic")),
        (("resize:shortest:256x256",), None),
        (("resize:bilinear:96x",), None),
        (("resize:bilinear:x96",), None),
        (("resize:bilinear:96x0",), None),
        (("resize:nearest:96x96",), None),
        (("resize:cubic:96",), None),
        (("resize:area:256 ",), None),
        (("resize:area:-1",), None),
        (("resize:area:1000000",), None),
        (("resize:area:",), None),
    ],
)
def test_only_a_size_that_is_one_is_believed(told, expected):
    assert first_resize(told) == expected
    if expected is not None:
        assert expected.capability in told


# How clients before this one read capabilities: a letter box around every frame.
KNOWN_BEFORE = re.compile(r"resize:(area|bilinear):[1-9][0-9]{0,4}")


@pytest.mark.parametrize(
    "first",
    [ShortestEdgeResize(256), ExactResize(96, 96, "bilinear"), LetterBoxResize(96, "bicubic")],
)
def test_an_older_client_does_not_take_another_resize_for_a_letter_box(first):
    assert KNOWN_BEFORE.fullmatch(first.capability) is None
    assert KNOWN_BEFORE.fullmatch(FIRST.capability) is not None


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), (256, 341)),
        ((640, 480), (341, 256)),
        ((720, 1280), (256, 455)),
        ((512, 515), (256, 258)),  # 257.5, to even
        ((512, 513), (256, 256)),  # 256.5, to even
        ((100, 101), (256, 259)),
        ((1, 200), (256, 51200)),
    ],
)
def test_the_other_side_is_scaled_by_the_same_factor_and_halves_are_rounded_to_even(size, expected):
    assert ShortestEdgeResize(256).size(*size) == expected


@pytest.mark.parametrize("size", [(10, 30_000), (3, 700), (20_000, 200)])
def test_a_picture_that_no_model_reads_is_left_to_the_policy(size):
    """Which names it; a letter box around it would not fit into memory."""
    observation = {"video": {"front": np.zeros((1, 1, *size, 3), np.uint8)}}
    assert jpeg.resized(observation, FIRST) is observation
