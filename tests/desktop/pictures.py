"""The documents' pictures from a walk: ``python tests/desktop/pictures.py OUT``. Small ones: five bits of each colour. None of them shows a patient."""

import sys
from pathlib import Path

from PIL import Image

TARGET = Path(__file__).resolve().parents[2] / "docs" / "images"
PICTURES = {
    "6-lesion": "panel",
    "2-working": "panel-working",
    "6-doubt": "panel-refine",
    "7-approved": "panel-approve",
    "9-invited": "panel-consent",
    "10-round": "panel-rounds",
}
STEP = 8


def coarse(value: int) -> int:
    """The nearest of 32 values that reach from black to white: a palette would tint what is grey."""
    return round(round(value / 255 * (256 // STEP - 1)) * 255 / (256 // STEP - 1))


def main(out: Path) -> None:
    for name, target in PICTURES.items():
        if not (out / f"{name}.png").is_file():
            print(f"{target}.png: this walk took none")
            continue
        Image.open(out / f"{name}.png").convert("RGB").point(coarse).save(TARGET / f"{target}.png", optimize=True)
        print(f"{target}.png: {(TARGET / f'{target}.png').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
