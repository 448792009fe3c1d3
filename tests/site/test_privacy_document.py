"""What docs/privacy.md tells a data-protection officer is what the code can send: the lists are compared, field by field."""

import ast
from pathlib import Path

import privacy_lists

import fedliver
from fedliver.site.enrolment import EnrolmentRequest
from fedliver.site.ledger import Ledger
from fedliver.site.rules import EgressRules
from fedliver.site.what_leaves import NUMBERS, REQUEST, rules_and_record, what_has_left

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


def test_a_panel_can_say_what_has_left_in_one_sentence(tmp_path: Path) -> None:
    from test_ledger import update

    ledger = Ledger(tmp_path)
    assert what_has_left(ledger) == "No update has left this site."
    ledger.append(update(1))
    assert what_has_left(ledger).startswith("1 update of up to 7 cases left this site, the last on ")
    assert what_has_left(ledger).endswith("in round 1; 20.0 MB together, without noise.")
    ledger.append(update(2, noise_multiplier=2.0, epsilon=4.5))
    assert "epsilon 4.5 spent by 1 of them; 1 left without noise" in what_has_left(ledger)
    assert rules_and_record(EgressRules(), ledger)[-1] == "The ledger is whole."
