# SPDX-License-Identifier: Apache-2.0
"""What follows from the size of the cameras' frames: tokens, shapes, and who may be answered."""

import numpy as np
import pytest
from models.checkpoints import edit, load
from models.golden import golden_of, largest, policy_of, rows_of, torch
from models.test_models_cuda_graphs import GRAPHS, FakeGraphs, Tapes

from gr00t_policy_core import SpecError
from gr00t_policy_core.models import gr00t_n1d6, gr00t_n1d7
from gr00t_policy_core.models.common.camera_sizes import check_camera_sizes
from gr00t_policy_core.models.common.image_processing import AreaCrop, BilinearCrop
from gr00t_policy_core.models.model_policy import ModelPolicy

pytest.importorskip("cv2", reason="one of the pipelines needs OpenCV: pip install '.[resize]'")

LINES = {"n1d7": gr00t_n1d7, "n1d6": gr00t_n1d6}
WITHOUT_LETTER_BOX = ("gr00t_n1d7/c", "gr00t_n1d6/c")


def backbone_of(line):
    device = torch.device("meta")
    return (
        LINES[line].random_model(small=True, cameras=1, device=device, dtype=torch.float32).backbone
    )


def with_frames(golden, case, *sizes):
    """An observation whose cameras have frames of noise, of these sizes in turn."""
    observation = golden.observation(case)
    rng = np.random.default_rng(0)
    for number, (key, video) in enumerate(observation["video"].items()):
        shape = (*video.shape[:2], *sizes[number % len(sizes)], 3)
        observation["video"][key] = rng.integers(0, 256, shape, dtype=np.uint8)
    return observation


# The table of the reference: frames, the pipeline's images, the backbone's, tokens of each.
@pytest.mark.parametrize(
    ("frame", "letter_box", "image", "n1d7", "n1d6"),
    [
        ((480, 640), True, (256, 256), ((256, 256), 64), ((252, 252), 81)),
        ((480, 640), False, (256, 340), ((256, 352), 88), ((252, 336), 108)),
        ((240, 320), False, (256, 340), ((256, 352), 88), ((252, 336), 108)),
        ((640, 480), False, (340, 256), ((352, 256), 88), ((336, 252), 108)),
        ((360, 640), False, (256, 455), ((256, 448), 112), ((252, 448), 144)),
        ((720, 1280), False, (256, 455), ((256, 448), 112), ((252, 448), 144)),
        ((1080, 1920), False, (256, 455), ((256, 448), 112), ((252, 448), 144)),
    ],
)
def test_the_number_of_tokens_follows_from_the_frame(frame, letter_box, image, n1d7, n1d6):
    pipeline = AreaCrop(256, 0.95, letter_box=letter_box)
    assert pipeline.size(*frame) == image
    pixels = pipeline(np.zeros((*frame, 3), np.uint8))
    assert pixels.shape[:2] == image
    for line, (size, tokens) in (("n1d7", n1d7), ("n1d6", n1d6)):
        backbone = backbone_of(line)
        assert backbone.grid(1, *image).tokens_per_image == tokens
        side = {"n1d7": 32, "n1d6": 28}[line]
        grid = backbone.grid(2, *image)
        assert (grid.count, grid.rows * side, grid.columns * side) == (2, *size)
        backbone.pipeline = pipeline
        assert tuple(backbone.images([[np.zeros((*frame, 3), np.uint8)]]).shape[1:3]) == size


@pytest.mark.parametrize("name", WITHOUT_LETTER_BOX)
def test_robots_of_different_cameras_in_turn_get_what_each_gets_alone(name, tmp_path):
    golden, shared = golden_of(name), load(golden_of(name), golden_of(name).checkpoint)
    sizes = [(480, 640), (640, 480), (120, 160), (720, 1280), (64, 64), (480, 640)]
    for size in sizes:
        observation = with_frames(golden, "batch", size)
        alone = load(golden, golden.checkpoint).get_action(observation, {"seed": 3})[0]
        action, _ = shared.get_action(observation, {"seed": 3})
        for key, values in alone.items():
            np.testing.assert_array_equal(action[key], values)


@pytest.mark.parametrize("name", WITHOUT_LETTER_BOX)
def test_captured_calls_are_of_one_shape_of_images(name):
    golden, loaded = golden_of(name), policy_of(name)
    tapes = Tapes()
    policy = ModelPolicy(loaded.model, loaded.device, loaded.dtype, GRAPHS, capturer=tapes)
    upright, wide = (with_frames(golden, "one", size) for size in ((160, 120), (120, 160)))
    for observation in (upright, wide, upright, wide):
        policy.prepare(observation)
        expected, _ = loaded.get_action(observation, {"seed": 3})
        action, _ = policy.get_action(observation, {"seed": 3})
        for key, values in expected.items():
            np.testing.assert_allclose(action[key], values, atol=1e-4 * largest(values))
    assert tapes.captured == 3, "one for each shape of images, and one for their tokens"


def test_the_places_of_patches_are_kept_for_each_grid(golden, policy):
    backbone = policy.model.backbone
    wide, upright = backbone.grid(1, 256, 352), backbone.grid(3, 352, 256)
    assert wide.tokens_per_image == upright.tokens_per_image
    assert (wide.rows, wide.columns) == (upright.columns, upright.rows)
    first, second = backbone.patch_positions(wide), backbone.patch_positions(upright)
    assert first.embedding.shape == second.embedding.shape
    assert not torch.equal(first.embedding, second.embedding)
    assert backbone.patch_positions(backbone.grid(2, 256, 352)).embedding is first.embedding


@pytest.mark.parametrize("name", ["gr00t_n1d7/c", "gr00t_n1d7/d"])
def test_a_server_joins_requests_with_the_same_number_of_image_tokens_only(name):
    golden, policy = golden_of(name), policy_of(name)

    def key(size):
        observation = rows_of(with_frames(golden, "batch", size), slice(0, 1))
        return policy.batch_key(observation, None)

    assert None not in (key((480, 640)), key((720, 1280)))
    if name.endswith("d"):  # everything is squeezed to one size
        assert key((480, 640)) == key((720, 1280))
    else:
        assert key((480, 640)) != key((720, 1280))


def test_cameras_whose_images_end_in_different_sizes_are_refused_before_any_work(
    damaged, monkeypatch
):
    golden = golden_of("gr00t_n1d7/c")
    for strict in (True, False):
        policy = load(golden, golden.checkpoint, strict=strict)
        monkeypatch.setattr(policy.runner, "token_batch", lambda *_: pytest.fail("laid out"))
        monkeypatch.setattr(policy.preprocessor, "videos", lambda *_: pytest.fail("resized"))
        with pytest.raises(SpecError) as caught:
            policy.get_action(with_frames(golden, "one", (480, 640), (720, 1280)))
        message = str(caught.value)
        assert "front 480x640 becomes 80x106" in message
        assert "wrist 720x1280 becomes 80x141" in message
        assert "`width` and `height`" in message
    policy_of("gr00t_n1d7/a").check_observation(
        with_frames(golden_of("gr00t_n1d7/a"), "one", (480, 640), (720, 1280))
    )


@pytest.mark.parametrize(
    ("sizes", "pipeline", "expected"),
    [
        ({"a": (480, 640), "b": (240, 320)}, AreaCrop(256, 0.95, letter_box=False), (256, 340)),
        ({"a": (480, 640), "b": (9, 9)}, AreaCrop(256, 0.95, letter_box=True), (256, 256)),
        (
            {"a": (480, 640), "b": (9, 900)},
            BilinearCrop((90, 80), (81, 72), letter_box=False),
            (90, 80),
        ),
    ],
)
def test_cameras_may_differ_where_their_images_do_not(sizes, pipeline, expected):
    assert check_camera_sizes(sizes, pipeline) == expected


@pytest.mark.parametrize(
    ("size", "named"),
    [
        ((1, 201), "video.front: 1x201 pixels; a side may have at most 16384 pixels, and at most"),
        ((100_000, 600), "video.front: 100000x600 pixels; a side may have at most 16384 pixels"),
        ((0, 5), "video.front: 0x5 pixels; a side may have at most 16384 pixels, and at most"),
    ],
)
def test_frames_that_no_model_reads_are_named(size, named):
    with pytest.raises(SpecError, match=named):
        check_camera_sizes({"front": size, "wrist": (5, 5)}, AreaCrop(256, 0.95, letter_box=True))


@pytest.mark.parametrize("name", WITHOUT_LETTER_BOX)
def test_after_warming_up_for_its_cameras_nothing_is_made_for_a_robot(name):
    golden, loaded = golden_of(name), policy_of(name)
    graphs = FakeGraphs()
    policy = ModelPolicy(loaded.model, loaded.device, loaded.dtype, GRAPHS, capturer=graphs)
    key = golden.language_key
    policy.warm_up(camera_sizes=[(720, 1280), {"front": (480, 640), "wrist": (240, 320)}])
    before = graphs.captured
    for sizes in ([(720, 1280)], [(480, 640), (240, 320)]):
        observation = with_frames(golden, "one", *sizes)
        observation["language"][key] = [["pick up the blue cube and put it on the red plate"]]
        policy.get_action(observation)
        assert (graphs.captured, len(policy.runner.queue)) == (before, 0)
    policy.get_action(with_frames(golden, "one", (640, 480)))
    assert policy.runner.queue.wait_until_empty(60)
    assert graphs.captured > before, "another shape would have been seen"


def test_warming_up_names_cameras_and_sizes_that_cannot_be(n1d7):
    policy = policy_of("gr00t_n1d7/c")
    with pytest.raises(SpecError, match=r"the policy has no camera \['top'\], only \['front', 'wr"):
        policy.warm_up(camera_sizes=[{"top": (480, 640)}])
    with pytest.raises(SpecError, match="front 480x640 becomes 80x106, wrist 90x160 be"):
        policy.warm_up(camera_sizes=[{"front": (480, 640), "wrist": (90, 160)}])
    with pytest.raises(SpecError, match=r"wrist: height and width must be .*\(0, 640\)"):
        policy.warm_up(camera_sizes=[{"wrist": (0, 640)}])


def test_cameras_that_are_left_out_have_the_size_of_the_others():
    video = policy_of("gr00t_n1d7/c").synthetic_observation(2, {"wrist": (90, 160)})["video"]
    assert {key: frames.shape for key, frames in video.items()} == {
        "front": (2, 1, 90, 160, 3),
        "wrist": (2, 1, 90, 160, 3),
    }


@pytest.mark.parametrize(("name", "edge"), [("gr00t_n1d7/c", 80), ("gr00t_n1d6/c", 90)])
def test_a_letter_box_is_made_only_where_the_file_asks_for_one(damaged, name, edge):
    golden, folder = golden_of(name), damaged(golden_of(name))
    file = folder / "processor_config.json"
    for value, boxed in ((True, True), (False, False), (None, False), ("absent", False)):

        def change(content, value=value):
            options = content["processor_kwargs"]
            options.pop("letter_box_transform", None)
            if value != "absent":
                options["letter_box_transform"] = value

        edit(file, change)
        pipeline = load(golden, folder).model.backbone.pipeline
        assert pipeline == AreaCrop(edge, 0.95, letter_box=boxed)
    edit(file, lambda content: content["processor_kwargs"].update(letter_box_transform="no"))
    with pytest.raises(SpecError, match="letter_box_transform must be true or false, got 'no'"):
        load(golden, folder)
