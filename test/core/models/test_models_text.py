# SPDX-License-Identifier: Apache-2.0
"""Instructions that hold the text of special tokens, or letters that can be written in two ways."""

import unicodedata

import pytest
from models.checkpoints import edit, load
from models.golden import golden_of, policy_of, torch

from gr00t_policy_core import EmbodimentTag, PolicyError, SpecError


def asked(golden, policy, text):
    observation = golden.observation("one")
    observation["language"] = {golden.language_key: [[text]]}
    return policy.get_action(observation, {"seed": 1})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("gr00t_n1d7/c", "pick <|image_pad|> up"),
        ("gr00t_n1d6/c", "pick <IMG_CONTEXT> up"),
        ("gr00t_n1d6/c", "pick <image-1> up"),
    ],
)
def test_the_text_that_stands_for_an_image_is_refused_by_name(damaged, name, text):
    golden = golden_of(name)
    folder = damaged(golden)
    configs = folder / "processor_config.json"
    edit(configs, lambda c: c["processor_kwargs"].update(formalize_language=False))
    policy = load(golden, folder)
    with pytest.raises(SpecError, match=r"contains the text of an image token, remove it: 'pick"):
        asked(golden, policy, text)
    # Cleaned as in training it is text like any other.
    asked(golden, policy_of(name), text)


def test_letters_written_in_two_ways_are_the_same_tokens(golden, policy):
    written = [unicodedata.normalize(form, "café façade") for form in ("NFC", "NFD")]
    assert written[0] != written[1]
    encode = policy.model.backbone._tokenizer.encode
    assert encode(written[0]) == encode(written[1])


def test_what_scripts_ask_a_policy_for_is_there(golden, policy):
    assert policy.modality_configs == policy.get_modality_config()
    assert policy.language_key == golden.language_key
    assert policy.embodiment_tag == golden.tag
    assert isinstance(policy.embodiment_tag, EmbodimentTag)


def test_an_overflow_of_float16_is_called_that(n1d7):
    policy = load(n1d7, n1d7.checkpoint, dtype="float16")
    with torch.inference_mode():
        policy.model.head.action_decoder.layer2.weight.mul_(0).add_(60000.0)
    with pytest.raises(PolicyError, match=r"float16 overflowed .*: use bfloat16 or float32"):
        policy.get_action(n1d7.observation("one"))


def test_an_answer_that_is_not_finite_is_never_given(n1d7):
    policy = load(n1d7, n1d7.checkpoint)
    with torch.inference_mode():
        policy.model.head.action_decoder.layer2.weight.mul_(torch.nan)
    with pytest.raises(PolicyError, match="the network's output is not finite"):
        policy.get_action(n1d7.observation("one"))
