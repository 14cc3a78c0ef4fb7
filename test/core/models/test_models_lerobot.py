# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of LeRobot: every stage held against lerobot's own, and what is refused."""

import json
import shutil

import numpy as np
import pytest
from models.checkpoints import edit
from models.golden import CASES, features_of, largest, torch
from models.lerobot_golden import (
    NAMES,
    as_vector,
    lerobot_golden_of,
    lerobot_policy_of,
    load_lerobot,
)
from models.test_models_cuda_graphs import FakeGraphs
from safetensors.torch import load_file, save_file

from gr00t_policy_core import CheckpointError
from gr00t_policy_core.models.common.checkpoint_formats import open_checkpoint
from gr00t_policy_core.models.common.execution_settings import ExecutionSettings
from gr00t_policy_core.models.common.normalization import LiberoGripper, MinMax
from gr00t_policy_core.models.common.preprocessor import initial_noise
from gr00t_policy_core.models.model_policy import ModelPolicy

PACK, ENCODE = 2, 3  # steps of the preprocessor


@pytest.fixture(params=NAMES)
def golden(request):
    return lerobot_golden_of(request.param)


@pytest.fixture
def policy(golden):
    return lerobot_policy_of(golden.name)


@pytest.fixture
def a():
    return lerobot_golden_of(NAMES[0])


@pytest.fixture
def b():
    return lerobot_golden_of(NAMES[1])


@pytest.fixture
def folder(tmp_path):
    """Copies a checkpoint that a test may change; its base model lies beside it."""

    def copy(golden):
        shutil.copytree(golden.folder, tmp_path / "copy")
        for path in (tmp_path / "copy").rglob("*"):
            path.chmod(0o755)
        return tmp_path / "copy" / "pretrained_model"

    return copy


def set_step(file, number, **fields):
    edit(file, lambda content: content["steps"][number]["config"].update(fields))


@pytest.mark.parametrize("case", CASES)
class TestEveryStageIsLeRobots:
    def test_tokens(self, golden, policy, case):
        tokens = features_of(policy, golden.observation_of(policy, case))[1]
        np.testing.assert_array_equal(tokens.ids.numpy(), golden.vector(case, "input_ids"))

    def test_pixels(self, golden, policy, case):
        backbone = policy.model.backbone
        frames = policy.preprocessor.frames(golden.observation_of(policy, case))
        pixels = backbone.pixels(backbone.images(frames))
        expected = golden.vector(case, "pixel_values")
        assert largest(pixels.numpy().reshape(expected.shape) - expected) <= 1e-5

    def test_states(self, golden, policy, case):
        state = golden.observation_of(policy, case)["state"]
        encoded = policy.embodiment.encode_state(state, policy.model.head.config.max_state_dim)
        expected = golden.vector(case, "model_state")
        assert encoded.shape == expected.shape
        assert largest(encoded - expected) <= 1e-6

    def test_features_and_normalized_actions(self, golden, policy, case):
        head, state = policy.model.head, torch.from_numpy(golden.vector(case, "model_state"))
        with torch.inference_mode():
            features, tokens = features_of(policy, golden.observation_of(policy, case))
            conditioning = head.condition(features, tokens, state)
            start = torch.from_numpy(golden.vector(case, "noise"))
            normalized = head.sample(conditioning, start)
        difference = conditioning.features.numpy() - golden.vector(case, "vl_features")
        ids = golden.vector(case, "input_ids")
        pad_id = int(golden.vector("batch", "input_ids")[0, 0])
        assert largest(difference[ids != pad_id]) <= 1e-4
        wanted = golden.vector(case, "normalized_action")
        assert largest(normalized.numpy() - wanted) <= 1e-4 * largest(wanted)

    def test_noise(self, golden, policy, case):
        expected = golden.vector(case, "noise")
        np.testing.assert_array_equal(initial_noise(golden.seed, expected.shape).numpy(), expected)

    def test_actions(self, golden, policy, case):
        observation = golden.observation_of(policy, case)
        action, _ = policy.get_action(observation, {"seed": golden.seed})
        expected = golden.vector(case, "action")
        assert as_vector(action).shape == expected.shape
        assert largest(as_vector(action) - expected) <= 1e-4 * largest(expected)

    def test_actions_of_captured_calls_with_images_resized_on_the_device(
        self, golden, policy, case
    ):
        """As on a GPU, where both are the default."""
        settings = ExecutionSettings(cuda_graphs=True, device_images=True)
        where = (policy.model, policy.device, policy.dtype)
        captured = ModelPolicy(*where, settings, capturer=FakeGraphs())
        observation = golden.observation_of(policy, case)
        captured.prepare(observation)
        action, _ = captured.get_action(observation, {"seed": golden.seed})
        expected = golden.vector(case, "action")
        assert largest(as_vector(action) - expected) <= 1e-4 * largest(expected)


def test_a_vector_that_is_not_divided_is_one_key(a):
    configs = lerobot_policy_of(a.name).get_modality_config()
    keys = {modality: config.modality_keys for modality, config in configs.items()}
    assert keys == {
        "video": ["front", "wrist"],
        "state": ["state"],
        "action": ["action"],
        "language": ["task"],
    }


def test_a_vector_that_is_divided_has_the_keys_of_its_groups(b):
    policy = lerobot_policy_of(b.name)
    assert policy.get_dimensions() == {
        "state": {"single_arm": 5, "gripper": 1},
        "action": {"single_arm": 5, "gripper": 1},
    }


def test_an_empty_instruction_is_read_as_lerobot_reads_it(a):
    policy = lerobot_policy_of(a.name)
    observation = a.observation_of(policy, "one")
    answers = []
    for text in ("", "Perform the task."):
        observation["language"] = {"task": [[text]]}
        answers.append(policy.get_action(observation, {"seed": 1})[0]["action"])
    np.testing.assert_array_equal(*answers)


@pytest.mark.parametrize("name", ["chunk_size", "n_action_steps"])
def test_the_horizon_is_the_shortest_that_the_checkpoint_knows(golden, folder, name):
    copied = folder(golden)
    edit(copied / "config.json", lambda c: c.update({name: 7}))
    policy = load_lerobot(golden, copied)
    assert policy.embodiment.horizon == 7
    action, _ = policy.get_action(golden.observation_of(policy, "one"), {"seed": golden.seed})
    expected = golden.vector("one", "action")[:, :7]
    assert largest(as_vector(action) - expected) <= 1e-4 * largest(expected)


def test_denoising_steps_of_its_config_are_used(a, folder):
    copied = folder(a)
    edit(copied / "config.json", lambda c: c.update(num_inference_timesteps=2))
    assert load_lerobot(a, copied).model.head.config.num_inference_timesteps == 2


def test_the_embedding_is_found_without_the_metadata_that_names_it(a, folder):
    copied = folder(a)
    weights = load_file(copied / "model.safetensors")
    save_file(weights, copied / "model.safetensors")
    policy = load_lerobot(a, copied)
    action, _ = policy.get_action(a.observation_of(policy, "one"), {"seed": a.seed})
    expected = a.vector("one", "action")
    assert largest(action["action"] - expected) <= 1e-4 * largest(expected)


def test_a_dimension_is_constant_only_where_its_bounds_are_equal():
    low, high = np.array([1.0, 1.0]), np.array([1.0, 1.0 + 2e-6])
    values = np.array([[5.0, 1.0 + 1e-6]])
    exact = MinMax(low, high, clip=True, exact=True).normalize(values)
    np.testing.assert_allclose(exact, [[0.0, 0.0]], atol=1e-9)
    above = MinMax(low, high, clip=True, exact=True).normalize(np.array([[5.0, 1.1]]))
    np.testing.assert_allclose(above, [[0.0, 1.0]])


class TestLiberosGripper:
    def test_is_turned_into_a_sign(self):
        gripper = LiberoGripper(MinMax(np.zeros(2), np.ones(2), clip=True))
        physical = gripper.unnormalize(np.array([[0.0, 1.0], [0.0, -1.0], [1.0, 0.5]]))
        np.testing.assert_array_equal(physical, [[0.5, -1.0], [0.5, 1.0], [1.0, -1.0]])

    def test_is_turned_back_for_real_time_chunking(self):
        gripper = LiberoGripper(MinMax(np.zeros(2), np.ones(2), clip=True))
        normalized = gripper.normalize(np.array([[0.5, -1.0], [0.5, 1.0]]))
        np.testing.assert_array_equal(normalized, [[0.0, 1.0], [0.0, -1.0]])

    @pytest.mark.parametrize(("transform", "signs"), [("libero", True), ("none", False)])
    def test_is_used_where_the_checkpoint_asks_for_it(self, b, folder, transform, signs):
        copied = folder(b)
        edit(copied / "config.json", lambda c: c.update(action_decode_transform=transform))
        policy = load_lerobot(b, copied)
        action, _ = policy.get_action(b.observation_of(policy, "one"), {"seed": b.seed})
        expected = b.vector("one", "action")
        gripper = -np.sign(2 * expected[..., 5:] - 1) if signs else expected[..., 5:]
        np.testing.assert_allclose(action["gripper"], gripper, atol=1e-4)


class TestItsBaseModel:
    def test_may_be_given(self, a, folder, tmp_path):
        copied = folder(a)
        shutil.move(copied.parent / "nvidia" / "GR00T-N1.7-tiny", tmp_path / "base")
        load_lerobot(a, copied, base_model_path=tmp_path / "base")

    def test_that_is_not_here_is_named_with_the_way_to_get_it(self, a, folder):
        copied = folder(a)
        shutil.rmtree(copied.parent / "nvidia" / "GR00T-N1.7-tiny")
        edit(copied / "config.json", lambda c: c.update(base_model_path="some/base"))
        expected = r"names the base model some/base.*hf download some/base config\.json"
        with pytest.raises(CheckpointError, match=expected):
            load_lerobot(a, copied)

    def test_that_is_the_published_one_is_known(self, a, folder):
        copied = folder(a)
        edit(copied / "config.json", lambda c: c.update(base_model_path="nvidia/GR00T-N1.7-3B"))
        assert open_checkpoint(copied).config["model_type"] == "Gr00tN1d7"
        with pytest.raises(CheckpointError, match=r"is missing.* more"):
            load_lerobot(a, copied)


@pytest.mark.usefixtures("no_weights")
class TestItIsRefused:
    @pytest.mark.parametrize(
        "fields",
        [{"tokenizer_assets_repo": "lerobot/eagle2"}, {"base_model_path": "nvidia/GR00T-N1.5-3B"}],
    )
    def test_as_n1d5(self, a, folder, fields):
        copied = folder(a)
        edit(copied / "config.json", lambda c: c.update(fields))
        with pytest.raises(
            CheckpointError, match=r"config\.json: is a LeRobot checkpoint of GR00T N1\.5"
        ):
            load_lerobot(a, copied)

    def test_for_a_step_of_n1d5(self, a, folder):
        copied = folder(a)
        edit(
            copied / "policy_preprocessor.json",
            lambda c: c["steps"].append({"registry_name": "groot_eagle_encode_v3"}),
        )
        with pytest.raises(
            CheckpointError,
            match=r"groot_eagle_encode_v3: it is a LeRobot checkpoint of GR00T N1\.5",
        ):
            load_lerobot(a, copied)

    @pytest.mark.parametrize("file", ["policy_preprocessor.json", "policy_postprocessor.json"])
    def test_for_a_step_that_would_be_ignored(self, a, folder, file):
        copied = folder(a)
        step = {"registry_name": "relative_actions_processor", "config": {"enabled": True}}
        edit(copied / file, lambda c: c["steps"].append(step))
        with pytest.raises(CheckpointError, match=f"{file}: has the step 'relative_actions_proc"):
            load_lerobot(a, copied)

    def test_for_another_policy_of_lerobot(self, a, folder):
        copied = folder(a)
        edit(copied / "config.json", lambda c: c.update(type="pi05"))
        with pytest.raises(CheckpointError, match="LeRobot's policy type 'pi05'; only 'groot'"):
            load_lerobot(a, copied)

    @pytest.mark.parametrize(
        "name",
        [
            "policy_preprocessor.json",
            "policy_postprocessor.json",
            "policy_preprocessor_step_2_groot_n1_7_pack_inputs_v1.safetensors",
            "policy_postprocessor_step_0_groot_action_unpack_unnormalize_v2.safetensors",
            "model.safetensors",
        ],
    )
    def test_for_a_missing_file(self, a, folder, name):
        copied = folder(a)
        (copied / name).unlink()
        with pytest.raises(CheckpointError, match=f"{name}: is missing"):
            load_lerobot(a, copied)

    @pytest.mark.parametrize(
        ("number", "fields", "named"),
        [
            (PACK, {"normalize_min_max": False}, "normalize_min_max must be true"),
            (PACK, {"clip_outliers": "yes"}, "clip_outliers must be true or false, got 'yes'"),
            (PACK, {"embodiment_mapping": None}, "embodiment_mapping must be an object"),
        ],
    )
    def test_for_settings_that_are_not_supported(self, a, folder, number, fields, named):
        copied = folder(a)
        set_step(copied / "policy_preprocessor.json", number, **fields)
        with pytest.raises(CheckpointError, match=named):
            load_lerobot(a, copied)

    def test_for_statistics_of_another_size(self, golden, folder):
        copied = folder(golden)
        feature = {"type": "STATE", "shape": [7]}
        edit(
            copied / "config.json",
            lambda c: c["input_features"].update({"observation.state": feature}),
        )
        with pytest.raises(CheckpointError, match="state has 7 values, its statistics have 6"):
            load_lerobot(golden, copied)

    def test_for_statistics_that_are_missing(self, b, folder):
        copied = folder(b)
        edit(
            copied / "policy_postprocessor.json",
            lambda c: c["steps"][0]["config"]["raw_stats"]["action"].pop("gripper"),
        )
        with pytest.raises(CheckpointError, match=r"raw_stats\.action\.gripper lacks"):
            load_lerobot(b, copied)


def test_a_checkpoint_one_folder_deeper_is_named(a):
    with pytest.raises(CheckpointError, match=r"is missing.*: pretrained_model"):
        open_checkpoint(a.folder)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"model_type": "gr00t_n1_5"}, r"GR00T N1\.5; supported are N1\.6 and N1\.7"),
        ({"model_type": "x", "architectures": ["GR00T_N1_5"]}, r"GR00T N1\.5"),
        ({"model_type": "qwen3_vl"}, "model_type 'qwen3_vl' is not supported"),
        ({}, "model_type None is not supported"),
        ({"type": "act"}, "LeRobot's policy type 'act'"),
    ],
)
def test_a_checkpoint_of_another_model_is_told_by_what_its_config_says(tmp_path, config, named):
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"config\.json: .*{named}"):
        open_checkpoint(tmp_path)
