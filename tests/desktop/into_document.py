"""Put what a walk left into docs/acceptance.md: ``python tests/desktop/into_document.py OUT [BLOCK]``.

``OUT``: the walk's folder, or a file with what ``tests/desktop/lock.py`` printed. ``BLOCK``: which of the document's blocks, by the name in its comment;
the whole walk's unless given.
"""

import json
import re
import sys
from pathlib import Path

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "acceptance.md"


def put(text: str, table: str, block: str) -> str:
    """``text`` with ``table`` in the block that begins with ``<!-- block -->``. Raises ValueError where there is no such block."""
    found = re.subn(rf"(<!-- {re.escape(block)} -->\n).*?(<!-- /outcomes -->)", lambda at: at[1] + table + at[2], text, flags=re.DOTALL)
    if found[1] != 1:
        raise ValueError(f"{DOCUMENT.name} has no block “{block}”")
    return found[0]


def outcomes_of(out: Path) -> str:
    """The table, and under a walk's how busy the computer was."""
    if out.is_file():
        return out.read_text()
    outcomes = json.loads((out / "outcomes.json").read_text())
    loads = [outcome["load"] for outcome in outcomes]
    said = f"\nThe computer's load, from other work too, was {min(loads):.1f} to {max(loads):.1f} on {outcomes[0]['processors']} processors.\n"
    stolen = [outcome["stolen"] for outcome in outcomes]
    if max(stolen) >= 0.01:
        said += f"Its host, for it is a virtual machine, gave up to {max(stolen):.0%} of that to others during a step, which can look like own work.\n"
    return (out / "outcomes.md").read_text() + said


if __name__ == "__main__":
    DOCUMENT.write_text(put(DOCUMENT.read_text(), outcomes_of(Path(sys.argv[1])), sys.argv[2] if len(sys.argv) > 2 else "outcomes"))
