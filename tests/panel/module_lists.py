"""What FedLiverSlicer/CMakeLists.txt must list: ``python tests/panel/module_lists.py`` writes its two lists anew from the files on disk.

Slicer's macro copies every listed file to the same relative path in the build and the install tree; what is not listed is not installed.
"""

import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "FedLiverSlicer"
FILE = FOLDER / "CMakeLists.txt"
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"


def on_disk() -> dict[str, list[str]]:
    """The files that belong in each list, relative to the module's folder, sorted. Files that git ignores are left out."""
    shown = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "."], cwd=FOLDER, capture_output=True, text=True, check=True)
    files = sorted({line for line in shown.stdout.splitlines() if (FOLDER / line).is_file()} - {"CMakeLists.txt"})
    return {SCRIPTS: [name for name in files if name.endswith(".py")], RESOURCES: [name for name in files if not name.endswith(".py")]}


def listed(text: str, name: str) -> list[str]:
    """The entries of ``set(name ...)`` in a CMakeLists.txt."""
    found = re.search(rf"set\({name}\n(.*?)\n\s*\)", text, re.DOTALL)
    return [line.strip() for line in found.group(1).splitlines() if line.strip()] if found else []


def rewritten(text: str) -> str:
    """``text`` with both lists as they must be."""
    for name, files in on_disk().items():
        body = "\n".join(f"  {file}" for file in files)
        text = re.sub(rf"set\({name}\n.*?\n\s*\)", lambda _, name=name, body=body: f"set({name}\n{body}\n  )", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    FILE.write_text(rewritten(FILE.read_text()))
    print(FILE)
