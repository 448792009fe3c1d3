"""The label scheme: which number means what, its SNOMED CT code, its colour. Standard library only.

Tumour is part of the liver: the *liver* that is reported, measured and scored is label 1 or 2.
"""

import re
from dataclasses import dataclass

BACKGROUND = 0
LIVER = 1
TUMOUR = 2
LEGAL_VALUES = (BACKGROUND, LIVER, TUMOUR)

_CONTEXT = "Segmentation category and type - 3D Slicer General Anatomy list"
_ANATOMIC_CONTEXT = "Anatomic codes - DICOM master list"


@dataclass(frozen=True)
class Code:
    """A coded concept: DICOM's triplet of scheme designator, value and meaning."""

    scheme: str
    value: str
    meaning: str

    def __str__(self) -> str:
        return f"{self.scheme}^{self.value}^{self.meaning}"


@dataclass(frozen=True)
class Structure:
    """One segmented structure. ``colour`` is sRGB 0 to 255, as in Slicer's General Anatomy terminology."""

    value: int
    name: str
    colour: tuple[int, int, int]
    category: Code
    type: Code

    @property
    def terminology_entry(self) -> str:
        """The string 3D Slicer serialises a segment's terminology into (``TerminologyEntry`` tag)."""
        return f"{_CONTEXT}~{self.category}~{self.type}~^^~{_ANATOMIC_CONTEXT}~^^~^^"


LIVER_STRUCTURE = Structure(
    value=LIVER,
    name="Liver",
    colour=(221, 130, 101),
    category=Code("SCT", "123037004", "Anatomical Structure"),
    type=Code("SCT", "10200004", "Liver"),
)
TUMOUR_STRUCTURE = Structure(
    value=TUMOUR,
    name="Tumour",
    colour=(144, 238, 144),
    category=Code("SCT", "49755003", "Morphologically Altered Structure"),
    type=Code("SCT", "4147007", "Mass"),
)
STRUCTURES = (LIVER_STRUCTURE, TUMOUR_STRUCTURE)

_TUMOUR_WORDS = re.compile(r"\b(tumou?rs?|lesions?|mass|masses|metastas[ie]s|hcc|cancer|carcinoma|malignan\w*|neoplasms?)\b", re.IGNORECASE)
_OTHER_WORDS = re.compile(r"\b(veins?|vena|vessels?|portal|arter\w+|ducts?|bile|biliary|cysts?|gallbladder|kidney\w*|spleen)\b", re.IGNORECASE)
_LIVER_WORDS = re.compile(r"\b(liver|hepar|leber|foie|h[ií]gado|fegato|lever)\b", re.IGNORECASE)
_TUMOUR_CODES = (TUMOUR_STRUCTURE.type.value, "108369006", "86049000", "1240414004", "52988006")


def structure_of(name: str, terminology_entry: str = "") -> Structure | None:
    """Which structure a segment is, or None: by its name first, since that is what the clinician sees and changes, then by its SNOMED code.

    ``terminology_entry`` is 3D Slicer's serialised terminology, as :attr:`Structure.terminology_entry` gives it.
    """
    words = re.sub(r"[\W\d_]+", " ", name)
    if _TUMOUR_WORDS.search(words):
        return TUMOUR_STRUCTURE
    if _OTHER_WORDS.search(words):
        return None
    if _LIVER_WORDS.search(words):
        return LIVER_STRUCTURE
    fields = terminology_entry.split("~")
    code = fields[2].split("^")[1] if len(fields) > 2 and fields[2].count("^") == 2 else ""
    if code == LIVER_STRUCTURE.type.value:
        return LIVER_STRUCTURE
    return TUMOUR_STRUCTURE if code in _TUMOUR_CODES else None
