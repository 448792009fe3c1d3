"""What a member's computer sends, in words, from the site's one list of every field that can leave. Shown before Join, whole."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fedliver.slicer.panel_state import Consent

if TYPE_CHECKING:
    from fedliver.site.policy import Policy
    from fedliver.site.rules import EgressRules

_APPROVED = "The network's weights after training here on your approved cases, once in each round. Weights can carry traces of what they learned from."
_EVERY = (
    "The network's weights after training here on your approved cases and on the waiting scans that nobody has excluded, once in each round. "
    "Weights can carry traces of what they learned from."
)
_ADDRESS = "This computer's network address, by which every connection is known."


def consent_to(policy: "Policy", rules: "EgressRules") -> Consent:
    """What is asked of whoever joins a federation with this policy. ``rules``: as the egress filter follows them here.

    Needs pydantic, as whoever has an invitation has it.
    """
    from fedliver.site.agreed_training import training_in_words
    from fedliver.site.what_leaves import NUMBERS, REQUEST

    leaves = (
        _EVERY if policy.learns_from_unlabelled else _APPROVED,
        f"{len(NUMBERS)} numbers in every answer: {_listed(NUMBERS)}.",
        f"Once, in the request file that you send yourself: {_listed(REQUEST)}.",
        _ADDRESS,
    )
    return Consent(leaves, (training_in_words(policy), *rules.sentences))


def _listed(fields: Mapping[str, str]) -> str:
    """What stands behind a colon points into docs/privacy.md."""
    return "; ".join(f"({number}) {words.partition(':')[0]}" for number, words in enumerate(fields.values(), 1))
