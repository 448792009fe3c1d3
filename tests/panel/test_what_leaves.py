"""The list that is shown before Join must be true: it is made of the site's one list of every field that can leave, which is compared with the code."""

import ast
from pathlib import Path

import fedliver
from fedliver.site.policy import Policy, changed_policy
from fedliver.site.rules import EgressRules
from fedliver.site.what_leaves import NUMBERS, REQUEST
from fedliver.slicer import panel_events as on
from fedliver.slicer.consent import consent_to
from fedliver.slicer.panel_advance import advance
from fedliver.slicer.panel_html import consent
from fedliver.slicer.panel_state import PanelState
from fedliver.slicer.panel_view import view, what_stays
from fedliver.training.settings import ConsistencySettings, TrainingSettings

POLICY = Policy(contract="0" * 64)
LEARNING = TrainingSettings(consistency=ConsistencySettings(), average_decay=0.9).model_dump()
MESSAGES = Path(fedliver.__file__).parent / "federation" / "messages.py"


def asked(learns_from_unlabelled: bool = False) -> tuple[str, ...]:
    policy = changed_policy(POLICY, training=LEARNING) if learns_from_unlabelled else POLICY
    return consent_to(policy, EgressRules()).leaves


def test_the_numbers_that_leave_are_the_ones_that_the_panel_names() -> None:
    """Read from the source, since the federation's room imports flwr. A number more without a word for it, and the list is no longer true."""
    (numbers,) = [node for node in ast.parse(MESSAGES.read_text()).body if isinstance(node, ast.ClassDef) and node.name == "Numbers"]
    fields = {node.target.id for node in numbers.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    assert fields == set(NUMBERS)
    (sentence,) = [sentence for sentence in asked() if sentence.startswith(f"{len(NUMBERS)} numbers")]
    for words in NUMBERS.values():
        assert words.partition(":")[0] in sentence


def test_every_field_of_the_request_is_named() -> None:
    (sentence,) = [sentence for sentence in asked() if "request file" in sentence]
    for words in REQUEST.values():
        assert words.partition(":")[0] in sentence


def test_weights_the_name_and_the_address_are_named_and_images_are_not_among_what_leaves() -> None:
    leaves, stays = " ".join(asked()), " ".join(what_stays())
    for word in ("weights", "traces", "site's name", "public half", "network address"):
        assert word in leaves
    for word in ("images", "segmentations", "Names", "patient IDs", "File names"):
        assert word in stays
        assert word not in leaves


def test_where_the_federation_learns_from_scans_without_approval_the_list_says_so() -> None:
    assert "scans that nobody has excluded" not in asked()[0]
    assert "scans that nobody has excluded" in asked(learns_from_unlabelled=True)[0]


def test_the_panel_shows_the_whole_list_and_the_rules_that_watch_over_it() -> None:
    wanted = consent_to(POLICY, EgressRules(minimum_cases=7))
    state = advance(PanelState(), on.InvitationOpened("North", consent=wanted))
    look = view(state)
    assert (look.leaves, look.rules) == (wanted.leaves, wanted.rules)
    shown = consent(look).replace("&#x27;", "'")
    for sentence in (*wanted.leaves, *wanted.rules, *look.stays):
        assert sentence in shown
    assert "at least 7 patients" in shown
    assert "trains for 60 steps of 1 patch each, for 60 minutes at most. The coordinator may ask for 30 to 120 steps and" in shown
    after = advance(advance(state, on.Joined("North")), on.Left("gone"))
    assert view(after).leaves == wanted.leaves, "who was put out and may join again is asked again"
