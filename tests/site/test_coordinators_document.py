"""What docs/coordinators.md tells an IT department about the policy is what the code has."""

import coordinator_lists

from fedliver.site.policy import Policy
from fedliver.site.strategy import CHOICES


def test_the_lists_in_the_document_are_the_ones_in_the_code() -> None:
    text = coordinator_lists.FILE.read_text()
    assert sorted(found[1] for found in coordinator_lists.BLOCK.findall(text)) == sorted(coordinator_lists.LISTS)
    assert coordinator_lists.rewritten(text) == text, "run: python tests/site/coordinator_lists.py"


def test_every_field_of_the_policy_is_explained() -> None:
    text = coordinator_lists.FILE.read_text()
    assert [name for name in Policy.model_fields if f"| `{name}` |" not in text] == []


def test_every_strategy_has_words_for_people() -> None:
    for choice in CHOICES:
        assert choice.purpose
        assert choice.method
        assert all(field.description for name, field in choice.model_fields.items() if name != "name")
