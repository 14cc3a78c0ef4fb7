# SPDX-License-Identifier: Apache-2.0
"""Embodiment tags: known ones by any spelling, new ones as they are."""

import pytest

from gr00t_policy_core import EmbodimentTag


@pytest.mark.parametrize("spelling", ["LIBERO_PANDA", "libero_panda", "libero_sim", " Libero_Sim "])
def test_a_known_tag_is_found_by_name_or_value_in_any_case(spelling):
    assert EmbodimentTag.resolve(spelling) is EmbodimentTag.LIBERO_PANDA


@pytest.mark.parametrize("tag", EmbodimentTag)
def test_every_tag_resolves_to_itself_by_member_name_and_value(tag):
    assert EmbodimentTag.resolve(tag) is tag
    assert EmbodimentTag.resolve(tag.name) is tag
    assert EmbodimentTag.resolve(tag.value) is tag


def test_a_tag_equals_its_string_as_checkpoints_write_it():
    assert EmbodimentTag.NEW_EMBODIMENT == "new_embodiment"


def test_a_new_robots_tag_stays_a_plain_string_with_its_case():
    tag = EmbodimentTag.resolve("  My_Robot-7 ")
    assert tag == "My_Robot-7"
    assert type(tag) is str


@pytest.mark.parametrize("tag", ["", "   "])
def test_an_empty_tag_is_refused(tag):
    with pytest.raises(ValueError, match="empty"):
        EmbodimentTag.resolve(tag)


@pytest.mark.parametrize("tag", [None, 3, b"gr1"])
def test_a_tag_that_is_no_string_is_refused(tag):
    with pytest.raises(TypeError, match="must be a string"):
        EmbodimentTag.resolve(tag)
