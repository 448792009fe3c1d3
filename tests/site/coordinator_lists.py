"""The lists in docs/coordinators.md come from the code: ``python tests/site/coordinator_lists.py`` writes them anew, a test compares them."""

import sys
from collections.abc import Callable

from privacy_lists import BLOCK, REPOSITORY, table

FILE = REPOSITORY / "docs" / "coordinators.md"


def strategies() -> str:
    from fedliver.site.strategy import CHOICES

    rows: list[tuple[object, ...]] = []
    for choice in CHOICES:
        made = choice()
        rows.append((f"`{choice.model_fields['name'].default}`", choice.purpose, made.fewest_updates, choice.method))
    return table(("name", "what it is for", "fewest updates", "method"), rows)


def parameters() -> str:
    from fedliver.site.strategy import CHOICES

    rows: list[tuple[object, ...]] = []
    for choice in CHOICES:
        for name, field in choice.model_fields.items():
            if name != "name":
                rows.append((f"`{choice.model_fields['name'].default}`", f"`{name}`", field.description, f"{field.default:g}"))
    return table(("strategy", "parameter", "meaning", "default"), rows)


LISTS: dict[str, Callable[[], str]] = {"strategies": strategies, "parameters": parameters}


def rewritten(text: str) -> str:
    """``text`` with every list as it must be."""
    return BLOCK.sub(lambda found: f"{found[1]}{LISTS[found[2]]()}{found[4]}", text)


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY / "FedLiverSlicer" / "Logic"))
    FILE.write_text(rewritten(FILE.read_text()))
    print(FILE)
