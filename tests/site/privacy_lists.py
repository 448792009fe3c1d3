"""The lists in docs/privacy.md come from the code: ``python tests/site/privacy_lists.py`` writes them anew, ``test_privacy_document.py`` compares them."""

import math
import re
import sys
from collections.abc import Callable
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FILE = REPOSITORY / "docs" / "privacy.md"
BLOCK = re.compile(r"(<!-- list: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(header: tuple[str, ...], rows: list[tuple[object, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def numbers() -> str:
    from fedliver.site.what_leaves import NUMBERS

    return table(("Number", "What it is"), [(f"`{name}`", words) for name, words in NUMBERS.items()])


def request() -> str:
    from fedliver.site.what_leaves import REQUEST

    return table(("Field", "What it is"), [(f"`{name}`", words) for name, words in REQUEST.items()])


def errors() -> str:
    from fedliver.site.codes import ErrorCode, sentence_of

    return table(("Number", "What it says"), [(code.value, sentence_of(code)) for code in ErrorCode])


def _starter() -> dict:
    from fedliver.federation.networks import trained_tensors
    from fedliver.teacher.bundle import STARTER, load_bundle

    return trained_tensors(load_bundle(STARTER).plan)


def tensors() -> str:
    kinds = _starter()
    count = sum(math.prod(kind.shape) for kind in kinds.values())
    size = sum(kind.nbytes for kind in kinds.values())
    rows: list[tuple[object, ...]] = [(f"`{name}`", " x ".join(map(str, kind.shape)) or "1", kind.dtype) for name, kind in kinds.items()]
    lead = f"Of the shipped network: {len(kinds)} tensors, {count:,} numbers, {size / 1e6:.1f} MB.\n\n"
    return lead + table(("Tensor", "Shape", "Type"), rows)


def rules() -> str:
    from fedliver.site.rules import EgressRules

    defaults = EgressRules()
    return "".join(f"- {sentence}\n" for sentence in defaults.sentences)


def epsilon() -> str:
    from fedliver.site.accountant import epsilon as spent
    from fedliver.site.rules import EgressRules

    delta = EgressRules().delta
    count = sum(math.prod(kind.shape) for kind in _starter().values())
    rows: list[tuple[object, ...]] = []
    for multiplier in (0.01, 1.0, 4.0, 20.0):
        rows.append((f"{multiplier:g}", *(f"{spent([multiplier] * rounds, delta):,.3g}" for rounds in (1, 10, 100)), f"{multiplier * math.sqrt(count):,.0f}"))
    return table(("`noise_multiplier`", "Epsilon after 1 round", "after 10", "after 100", "Length of the noise, in bounds"), rows)


LISTS: dict[str, Callable[[], str]] = {"numbers": numbers, "request": request, "errors": errors, "tensors": tensors, "rules": rules, "epsilon": epsilon}


def rewritten(text: str) -> str:
    """``text`` with every list as it must be."""
    return BLOCK.sub(lambda found: f"{found[1]}{LISTS[found[2]]()}{found[4]}", text)


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY / "FedLiverSlicer" / "Logic"))
    FILE.write_text(rewritten(FILE.read_text()))
    print(FILE)
