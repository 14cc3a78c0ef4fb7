# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a checkpoint or an observation is named before a single weight is read."""

import re

import numpy as np
import pytest
from models.checkpoints import edit, load, rename, shard
from models.golden import Golden, golden_of, policy_of, torch
from safetensors.torch import load_file, save_file

from gr00t_policy_core import CheckpointError, SpecError

LFS_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.usefixtures("no_weights")
class TestACheckpointIsRefused:
    def test_for_a_tag_that_it_does_not_know(self, golden):
        with pytest.raises(SpecError, match=rf"'libero'.*processor_config.*{golden.tag}"):
            load(golden, golden.checkpoint, tag="libero")

    def test_that_does_not_number_the_tag(self, n1d7, damaged):
        folder = damaged(n1d7)
        configs = folder / "processor_config.json"
        edit(configs, lambda c: rename(c["processor_kwargs"]["modality_configs"], n1d7.tag, "me"))
        with pytest.raises(SpecError, match=r"'me' is not in embodiment_id\.json"):
            load(n1d7, folder, tag="me")

    @pytest.mark.parametrize(
        ("path", "named"),
        [
            ([], "new_embodiment is missing"),
            (["state", "gripper"], "new_embodiment.state.gripper is missing"),
            (["action", "gripper"], "new_embodiment.action.gripper is missing"),
            (
                ["relative_action"],
                "new_embodiment.relative_action is missing in .*; use the file that",
            ),
            (["state", "single_arm", "q99"], "new_embodiment.state.single_arm.q99 is missing"),
            (["action", "gripper", "q01"], "new_embodiment.action.gripper.q01 is missing"),
        ],
    )
    def test_for_missing_statistics(self, n1d7, damaged, path, named):
        folder = damaged(n1d7)

        def remove(content):
            for key in [n1d7.tag, *path][:-1]:
                content = content[key]
            del content[[n1d7.tag, *path][-1]]

        edit(folder / "statistics.json", remove)
        with pytest.raises(SpecError, match=named):
            load(n1d7, folder)

    def test_for_relative_statistics_of_another_horizon(self, n1d7, damaged):
        folder = damaged(n1d7)

        def shorten(content):
            bounds = content[n1d7.tag]["relative_action"]["single_arm"]
            bounds["min"] = bounds["min"][:-1]

        edit(folder / "statistics.json", shorten)
        with pytest.raises(SpecError, match=r"relative_action.single_arm.min .*\(16, 5\).*15"):
            load(n1d7, folder)

    @pytest.mark.parametrize("kept", [4, 1000, -1])
    def test_for_a_truncated_file(self, golden, damaged, kept):
        file = damaged(golden) / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        with pytest.raises(CheckpointError, match=r"model\.safetensors: is truncated or damaged"):
            load(golden, file.parent)

    def test_for_a_file_that_is_something_else(self, n1d7, damaged):
        file = damaged(n1d7) / "model.safetensors"
        file.write_bytes(b"\x08\0\0\0\0\0\0\0not json")
        with pytest.raises(CheckpointError, match=r"model\.safetensors: is not a safetensors file"):
            load(n1d7, file.parent)

    @pytest.mark.parametrize("name", ["config.json", "processor_config.json", "statistics.json"])
    def test_for_a_missing_file(self, golden, damaged, name):
        file = damaged(golden) / name
        file.unlink()
        with pytest.raises(CheckpointError, match=f"{name}: is missing"):
            load(golden, file.parent)

    def test_for_missing_weights(self, n1d7, damaged):
        file = damaged(n1d7) / "model.safetensors"
        file.unlink()
        with pytest.raises(CheckpointError, match=r"model\.safetensors: is missing"):
            load(n1d7, file.parent)

    def test_for_a_missing_shard(self, n1d7, damaged):
        folder = damaged(n1d7)
        shard(folder)
        (folder / "model-00002-of-00002.safetensors").unlink()
        with pytest.raises(CheckpointError, match=r"model-00002-of-00002\.safetensors: is missing"):
            load(n1d7, folder)

    def test_for_a_model_type_of_no_line(self, n1d7, damaged):
        folder = damaged(n1d7)
        edit(folder / "config.json", lambda c: c.update(model_type="Gr00tN9"))
        with pytest.raises(CheckpointError, match=r"'Gr00tN9'.*'gr00t_n1d6', 'gr00t_n1d7'"):
            load(n1d7, folder)

    def test_for_a_missing_tensor(self, golden, damaged):
        folder = damaged(golden)
        weights = load_file(folder / "model.safetensors")
        del weights["action_head.action_encoder.W2.W"]
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"action_head\.action_encoder\.W2\.W is missing"):
            load(golden, folder)

    @pytest.mark.parametrize(
        "part", [r"\.transformer_blocks\.1\.attn1\.to_v\.bias", r"\.layers\.1\..*k_proj\.weight"]
    )
    def test_for_a_part_of_a_fused_layer_that_is_missing_or_of_another_shape(
        self, golden, damaged, part
    ):
        file = damaged(golden) / "model.safetensors"
        weights = load_file(file)
        (name, *_) = sorted(name for name in weights if re.search(part + "$", name))
        tensor = weights.pop(name)
        save_file(weights, file)
        with pytest.raises(CheckpointError, match=re.escape(f"{name} is missing")):
            load(golden, file.parent)
        save_file({**weights, name: tensor[:-1].contiguous()}, file)
        expected = f"{name} has shape {tuple(tensor[:-1].shape)}"
        with pytest.raises(CheckpointError, match=re.escape(expected)):
            load(golden, file.parent)

    def test_for_a_tensor_that_no_part_uses(self, golden, damaged):
        folder = damaged(golden)
        weights = load_file(folder / "model.safetensors")
        weights["action_head.novelty.weight"] = torch.zeros(2)
        save_file(weights, folder / "model.safetensors")
        with pytest.raises(CheckpointError, match=r"action_head\.novelty\.weight belongs to no"):
            load(golden, folder)

    def test_for_a_tensor_of_another_shape(self, golden, damaged):
        folder = damaged(golden)
        edit(folder / "config.json", lambda c: c.update(hidden_size=39))
        with pytest.raises(CheckpointError, match=r"layer\d\.W has shape"):
            load(golden, folder)

    def test_for_a_block_that_is_computed_otherwise(self, golden, damaged):
        folder = damaged(golden)
        edit(folder / "config.json", lambda c: c["diffusion_model_cfg"].update(norm_type="none"))
        with pytest.raises(SpecError, match=r"diffusion_model_cfg\.norm_type .*'none'"):
            load(golden, folder)

    def test_for_states_that_do_not_fit(self, golden, damaged):
        folder = damaged(golden)
        edit(folder / "config.json", lambda c: c.update(max_state_dim=3))
        with pytest.raises(SpecError, match="max_state_dim is 3"):
            load(golden, folder)

    def test_for_another_length_of_history(self, damaged):
        golden = golden_of("gr00t_n1d7/b")
        folder = damaged(golden)
        edit(folder / "config.json", lambda c: c.update(state_history_length=1))
        with pytest.raises(SpecError, match="has 2 state steps, state_history_length is 1"):
            load(golden, folder)

    def test_whose_weights_git_has_not_fetched(self, n1d7, damaged):
        file = damaged(n1d7) / "model.safetensors"
        file.write_text(LFS_POINTER)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: .* run `git lfs pull`"):
            load(n1d7, file.parent)

    def test_that_is_one_folder_deeper(self, n1d7, damaged):
        folder = damaged(n1d7)
        with pytest.raises(
            CheckpointError, match=r"config\.json: is missing.* within it: checkpoint"
        ):
            load(n1d7, folder.parent)

    def test_that_is_not_there(self, n1d7, tmp_path):
        with pytest.raises(CheckpointError, match="nowhere: there is no such folder"):
            load(n1d7, tmp_path / "nowhere")

    @pytest.mark.parametrize("device", ["gpu", "mps", -1])
    def test_on_what_is_no_device(self, n1d7, device):
        with pytest.raises(SpecError, match=f"must be cuda, .* or cpu, got {device!r}"):
            load(n1d7, n1d7.checkpoint, device=device)

    @pytest.mark.parametrize("device", ["cuda:2", 2])
    def test_on_a_gpu_too_many(self, n1d7, device, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        with pytest.raises(SpecError, match=f"{device!r}: this machine has 2 GPUs"):
            load(n1d7, n1d7.checkpoint, device=device)

    @pytest.mark.parametrize("device", ["cuda", "cuda:0", 0])
    def test_on_a_gpu_that_is_not_there(self, n1d7, device, monkeypatch):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(SpecError, match=f"{device!r}: .*no GPU"):
            load(n1d7, n1d7.checkpoint, device=device)

    @pytest.mark.parametrize(
        ("setting", "named"),
        [({"cuda_graphs": True}, "need a GPU"), ({"compile": "fast"}, "default.*'fast'")],
    )
    def test_in_a_way_of_running_that_does_not_work_here(self, n1d7, setting, named):
        with pytest.raises(SpecError, match=named):
            load(n1d7, n1d7.checkpoint, **setting)

    def test_in_an_unknown_dtype(self, n1d7):
        with pytest.raises(SpecError, match=r"bfloat16.*'int8'"):
            load(n1d7, n1d7.checkpoint, dtype="int8")


class TestTheBackbonesFiles:
    def test_are_found_under_their_name_in_a_folder(self, golden):
        load(golden, golden.checkpoint, backbone_path=golden.folder)

    def test_are_found_in_the_isaac_gr00t_repository(self, tmp_path):
        golden = golden_of("gr00t_n1d6/c")
        folder = tmp_path / "gr00t" / "model" / "modules" / "nvidia"
        folder.mkdir(parents=True)
        (folder / golden.backbone.name).symlink_to(golden.backbone)
        load(golden, golden.checkpoint, backbone_path=tmp_path)

    def test_are_found_where_their_name_is_a_path(self, golden, monkeypatch):
        monkeypatch.chdir(golden.folder)
        load(golden, golden.checkpoint, backbone_path=None)

    @pytest.mark.usefixtures("no_weights")
    def test_that_are_missing_in_the_given_folder_are_named(self, golden, tmp_path):
        name = f"nvidia/{golden.backbone.name}"
        with pytest.raises(CheckpointError, match=f"has no {name}"):
            load(golden, golden.checkpoint, backbone_path=tmp_path)
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(CheckpointError, match=r"lacks .*tokenizer_config\.json"):
            load(golden, golden.checkpoint, backbone_path=tmp_path)

    @pytest.mark.usefixtures("no_weights")
    @pytest.mark.parametrize(
        ("content", "named"),
        [
            ("{", "its tokenizer cannot be read"),
            (LFS_POINTER, r"\.json: .* run `git lfs pull`"),
        ],
    )
    def test_that_are_damaged_are_named(self, golden, tmp_path, content, named):
        for file in golden.backbone.iterdir():
            (tmp_path / file.name).symlink_to(file)
        (tmp_path / "tokenizer_config.json").unlink()
        (tmp_path / "tokenizer_config.json").write_text(content)
        with pytest.raises(CheckpointError, match=named):
            load(golden, golden.checkpoint, backbone_path=tmp_path)

    @pytest.mark.usefixtures("no_weights")
    def test_of_n1d7_that_nobody_has_are_named_with_the_way_to_get_them(self, n1d7):
        expected = r"preprocessor_config\.json.*tokenizer\.json.*hf download nvidia/Cosmos.*--inc"
        with pytest.raises(CheckpointError, match=expected):
            load(n1d7, n1d7.checkpoint, backbone_path=None)

    @pytest.mark.usefixtures("no_weights")
    def test_of_n1d6_come_with_isaac_gr00t(self):
        golden = golden_of("gr00t_n1d6/c")
        expected = r"github\.com/NVIDIA/Isaac-GR00T.*chat_template\.json.*merges\.txt"
        with pytest.raises(CheckpointError, match=expected):
            load(golden, golden.checkpoint, backbone_path=None)


class TestAnObservationIsRefused:
    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        """The network is not asked."""
        for name in ("gr00t_n1d7/c", "gr00t_n1d7/b"):
            if not Golden(name).folder.is_dir():
                continue
            policy = policy_of(name)
            monkeypatch.setattr(policy.runner, "features", lambda *_: pytest.fail("asked"))
            monkeypatch.setattr(policy.preprocessor, "videos", lambda *_: pytest.fail("resized"))

    def test_with_a_state_of_the_wrong_dimension(self, n1d7):
        observation = n1d7.observation("one")
        observation["state"]["single_arm"] = np.zeros((1, 1, 6), np.float32)
        with pytest.raises(
            SpecError, match=r"state\.single_arm: expected 5 values per step, got 6"
        ):
            policy_of(n1d7.name).get_action(observation)

    def test_with_too_few_frames(self):
        golden = golden_of("gr00t_n1d7/b")
        observation = golden.observation("one")
        observation["video"]["ego_view"] = observation["video"]["ego_view"][:, :1]
        with pytest.raises(SpecError, match=r"video\.ego_view: expected 2 steps, got 1"):
            policy_of(golden.name).get_action(observation)

    def test_with_a_pose_that_is_none(self):
        golden = golden_of("gr00t_n1d7/b")
        observation = golden.observation("one")
        observation["state"]["left_wrist_eef_9d"][..., 3:] = 0.0
        with pytest.raises(SpecError, match=r"state\.left_wrist_eef_9d: .* two rows of a rotation"):
            policy_of(golden.name).get_action(observation)

    def test_with_a_state_that_is_not_finite(self, n1d7):
        observation = n1d7.observation("one")
        observation["state"]["gripper"] = np.full((1, 1, 1), np.nan, np.float32)
        with pytest.raises(SpecError, match=r"state\.gripper: has values that are not finite"):
            policy_of(n1d7.name).get_action(observation)
