"""The documents' pictures from a walk: ``python tests/desktop/pictures.py OUT``. Small ones: of 128 colours. None of them shows a patient."""

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
COLOURS = 128


def main(out: Path) -> None:
    for name, target in PICTURES.items():
        picture = Image.open(out / f"{name}.png").convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        picture.save(TARGET / f"{target}.png", optimize=True)
        print(f"{target}.png: {(TARGET / f'{target}.png').stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
