# SPDX-License-Identifier: Apache-2.0
"""LoRA adapters: merged at load as peft merges them, and refused where they are more than that."""

import json
import shutil

import numpy as np
import pytest
from models.checkpoints import edit, load
from models.golden import golden_of, largest, torch
from models.lerobot_golden import as_vector, lerobot_golden_of, load_lerobot
from safetensors.torch import load_file, save_file

from gr00t_policy_core import CheckpointError

LAYERS = (
    "backbone.model.model.language_model.layers.0.self_attn.q_proj",
    "backbone.model.model.visual.blocks.0.mlp.linear_fc1",
    "action_head.model.transformer_blocks.0.attn1.to_v",
)
REPLACED = "action_head.vlln.weight"
RANK = 3


def pairs(weights, seed=0):
    """Of each layer: what is added, A and B."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for layer in LAYERS:
        outputs, inputs = weights[f"{layer}.weight"].shape
        a = torch.randn(RANK, inputs, generator=generator) * 0.3
        made[layer] = a, torch.randn(outputs, RANK, generator=generator) * 0.3
    return made


def write_adapter(folder, weights, base, prefix="base_model.model.", **fields):
    """An adapter of three layers and one replaced tensor, as peft writes it."""
    folder.mkdir(exist_ok=True)
    tensors = {}
    for layer, (a, b) in pairs(weights).items():
        tensors[f"{prefix}{layer}.lora_A.weight"] = a
        tensors[f"{prefix}{layer}.lora_B.weight"] = b
    tensors[prefix + REPLACED] = weights[REPLACED] + 0.2
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": 5,
        "use_rslora": False,
        "alpha_pattern": {},
        **fields,
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def merged(weights, scales):
    changed = dict(weights)
    for layer, (a, b) in pairs(weights).items():
        changed[f"{layer}.weight"] = weights[f"{layer}.weight"] + scales[layer] * (b @ a)
    changed[REPLACED] = weights[REPLACED] + 0.2
    return changed


@pytest.fixture
def base(n1d7, damaged):
    return damaged(n1d7)


@pytest.fixture
def weights(base):
    return load_file(base / "model.safetensors")


@pytest.mark.parametrize(
    ("fields", "scales"),
    [
        ({}, (5 / 3,) * 3),
        ({"use_rslora": True}, (5 / 3**0.5,) * 3),
        ({"alpha_pattern": {"q_proj": 2, "attn1.to_.": 9}}, (2 / 3, 5 / 3, 3.0)),
    ],
)
def test_an_adapter_answers_as_its_merged_model_does(n1d7, base, weights, tmp_path, fields, scales):
    adapter = write_adapter(tmp_path / "adapter", weights, base, **fields)
    adapted = load(n1d7, adapter)
    plain = load(n1d7, base)
    save_file(merged(weights, dict(zip(LAYERS, scales, strict=True))), base / "model.safetensors")
    expected = load(n1d7, base)
    observation = n1d7.observation("one")
    answers = [p.get_action(observation, {"seed": 3})[0] for p in (adapted, expected, plain)]
    for key in answers[0]:
        np.testing.assert_allclose(answers[0][key], answers[1][key], atol=1e-5)
        assert largest(answers[0][key] - answers[2][key]) > 1e-3


def test_an_adapter_of_lerobot_has_processors_of_its_own(tmp_path):
    golden = lerobot_golden_of("lerobot_n1d7/a")
    weights = load_file(golden.checkpoint / "model.safetensors")
    ours = {name.removeprefix("_groot_model."): value for name, value in weights.items()}
    prefix = "base_model.model._groot_model."
    adapter = write_adapter(tmp_path / "adapter", ours, golden.checkpoint, prefix)
    for file in golden.checkpoint.glob("policy_*"):
        shutil.copy(file, adapter)
    shutil.copy(golden.checkpoint / "config.json", adapter)
    (adapter / "config.json").chmod(0o644)
    edit(adapter / "config.json", lambda c: c.update(use_peft=True, chunk_size=9, n_action_steps=9))
    policy = load_lerobot(golden, adapter)
    observation = golden.observation_of(policy, "one")
    answer = as_vector(policy.get_action(observation, {"seed": golden.seed})[0])
    assert answer.shape == (1, 9, 6)
    assert largest(answer - golden.vector("one", "action")[:, :9]) > 1e-3


def test_an_adapter_is_what_peft_merges(n1d7, base, weights, tmp_path):
    peft = pytest.importorskip("peft", reason="compares with peft where that is installed")

    class Tree(torch.nn.Module):
        """The adapted layers under their names."""

        def __init__(self):
            super().__init__()
            for layer in LAYERS:
                *path, last = layer.split(".")
                module = self
                for name in path:
                    if not hasattr(module, name):
                        module.add_module(name, torch.nn.Module())
                    module = getattr(module, name)
                value = weights[f"{layer}.weight"]
                linear = torch.nn.Linear(value.shape[1], value.shape[0], bias=False)
                linear.weight.data = value.clone()
                module.add_module(last, linear)

    config = peft.LoraConfig(
        r=4,
        lora_alpha=6,
        target_modules=[layer.rpartition(".")[2] for layer in LAYERS],
        rank_pattern={"q_proj": 2},
        alpha_pattern={"to_v": 11},
        init_lora_weights=False,
        use_rslora=True,
    )
    model = peft.get_peft_model(Tree(), config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path / "adapter")
    adapted = load(n1d7, tmp_path / "adapter")
    values = {f"{n}": value for n, value in model.merge_and_unload().state_dict().items()}
    save_file({**weights, **values}, base / "model.safetensors")
    expected = load(n1d7, base)
    for part in ("backbone.network", "head"):
        ours = dict(_module(adapted, part).state_dict())
        for name, value in _module(expected, part).state_dict().items():
            torch.testing.assert_close(ours[name], value, rtol=0, atol=1e-6)


def _module(policy, path):
    module = policy.model
    for name in path.split("."):
        module = getattr(module, name)
    return module


@pytest.mark.usefixtures("no_weights")
class TestAnAdapterIsRefused:
    @pytest.mark.parametrize(
        ("fields", "named"),
        [
            ({"peft_type": "LOHA"}, "peft_type 'LOHA' is not supported, only 'LORA'"),
            ({"use_dora": True}, "use_dora is not supported: merge the adapter with peft"),
            ({"lora_bias": True}, "lora_bias is not supported"),
            ({"target_parameters": ["W"]}, "target_parameters is not supported"),
            ({"lora_alpha": "5"}, "must be numbers, got"),
            ({"base_model_name_or_path": None}, "names no base_model_name_or_path: set"),
            ({"base_model_name_or_path": "some/base"}, "is a LoRA adapter for some/base, which"),
        ],
    )
    def test_for_what_would_be_ignored(self, n1d7, base, weights, tmp_path, fields, named):
        adapter = write_adapter(tmp_path / "adapter", weights, base, **fields)
        with pytest.raises(CheckpointError, match=rf"adapter_config\.json: .*{named}"):
            load(n1d7, adapter)

    def test_for_another_base(self, n1d7, weights, tmp_path):
        other = golden_of("gr00t_n1d6/c")
        adapter = write_adapter(tmp_path / "adapter", weights, other.checkpoint)
        named = r"adapter_model\.safetensors: is for another base model: this one lacks backbone"
        with pytest.raises(CheckpointError, match=named):
            load(n1d7, adapter)

    def test_for_a_part_that_is_missing(self, n1d7, base, weights, tmp_path):
        adapter = write_adapter(tmp_path / "adapter", weights, base)
        tensors = load_file(adapter / "adapter_model.safetensors")
        del tensors[f"base_model.model.{LAYERS[0]}.lora_B.weight"]
        save_file(tensors, adapter / "adapter_model.safetensors")
        with pytest.raises(CheckpointError, match="lora_A and lora_B do not fit together"):
            load(n1d7, adapter)


def test_a_base_model_may_be_given(n1d7, base, weights, tmp_path):
    adapter = write_adapter(tmp_path / "adapter", weights, "some/base")
    load(n1d7, adapter, base_model_path=base)
