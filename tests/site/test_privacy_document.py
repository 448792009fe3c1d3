"""What docs/privacy.md tells a data-protection officer is what the code can send: the lists are compared, field by field."""

import ast
from pathlib import Path

import privacy_lists

import fedliver
from fedliver.site.enrolment import EnrolmentRequest
from fedliver.site.what_leaves import NUMBERS, REQUEST

MESSAGES = Path(fedliver.__file__).parent / "federation" / "messages.py"


def test_every_number_that_a_message_can_hold_is_in_words_and_no_other() -> None:
    (numbers,) = [node for node in ast.parse(MESSAGES.read_text()).body if isinstance(node, ast.ClassDef) and node.name == "Numbers"]
    fields = [node.target.id for node in numbers.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    assert list(NUMBERS) == fields


def test_every_field_of_the_enrolment_request_is_in_words_and_no_other() -> None:
    assert list(REQUEST) == list(EnrolmentRequest.model_fields)


def test_the_lists_in_the_document_are_the_ones_in_the_code() -> None:
    text = privacy_lists.FILE.read_text()
    assert sorted(found[1] for found in privacy_lists.BLOCK.findall(text)) == sorted(privacy_lists.LISTS)
    assert privacy_lists.rewritten(text) == text, "run: python tests/site/privacy_lists.py"
