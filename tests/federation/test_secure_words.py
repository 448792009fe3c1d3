"""What can leave in a masked sum is what docs/secure_aggregation.md says, field by field."""

from pathlib import Path

from fedliver.federation.secure.ring import _TAIL
from fedliver.federation.secure.words import Keys, Letters, Shares, Unreadable
from fedliver.site.what_leaves import MASKED

PAGE = Path(__file__).resolve().parents[2] / "docs" / "secure_aggregation.md"


def test_every_field_that_a_site_answers_with_is_in_words_and_no_other() -> None:
    fields = {field for kind in (Keys, Letters, Shares, Unreadable) for field in kind.model_fields}
    assert {name for names in MASKED for name in names.split(", ")} == fields


def test_the_page_has_the_same_words() -> None:
    text = PAGE.read_text()
    assert [name for name, words in MASKED.items() if f"| `{name}` | {words} |" not in text] == []
    assert len(_TAIL) == 8
    assert "and eight more for the counts" in text
