"""The list that is shown before Join must be true: it is compared with what the messages between site and coordinator can hold."""

import ast
from pathlib import Path

import fedliver
from fedliver.slicer.panel_view import what_leaves, what_stays

MESSAGES = Path(fedliver.__file__).parent / "federation" / "messages.py"


def test_the_numbers_that_leave_are_the_ones_that_the_panel_names() -> None:
    """Read from the source, since the federation's room imports flwr. A number more, and the panel's sentence is no longer true."""
    (numbers,) = [node for node in ast.parse(MESSAGES.read_text()).body if isinstance(node, ast.ClassDef) and node.name == "Numbers"]
    fields = {node.target.id for node in numbers.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}
    assert fields == {"error", "cases", "unlabelled", "loss", "seconds", "dice", "dice_cases"}
    (sentence,) = [sentence for sentence in what_leaves() if sentence.startswith("Seven numbers")]
    for word in ("error number", "approved cases", "scans without approval", "loss", "seconds", "Dice", "held-out"):
        assert word in sentence


def test_weights_the_name_and_the_address_are_named_and_images_are_not_among_what_leaves() -> None:
    leaves, stays = " ".join(what_leaves()), " ".join(what_stays())
    for word in ("weights", "traces", "name of your site", "public key", "network address"):
        assert word in leaves
    for word in ("images", "segmentations", "Names", "patient IDs", "File names"):
        assert word in stays
        assert word not in leaves


def test_where_the_federation_learns_from_scans_without_approval_the_list_says_so() -> None:
    assert "scans that nobody has excluded" not in what_leaves()[0]
    assert "scans that nobody has excluded" in what_leaves(learns_from_unlabelled=True)[0]
