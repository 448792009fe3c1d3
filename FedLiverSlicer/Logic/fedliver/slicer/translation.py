"""How a sentence finds its translation. Standard library only.

Slicer's tools extract every ``_("...")`` under a context that is named after its file (Utilities/Scripts/update_translations.py), so it has to be
looked up there: ``_`` is passed on from file to file, and each calls it with its own sentences only. The tools do not see what stands inside an f-string.
"""

import re
import sys
from collections.abc import Callable

Translate = Callable[[str], str]
_BLANK = re.compile(r"\{\w+\}")


def unchanged(text: str) -> str:
    """The translator of those who have none."""
    return text


def by_file(translate: Callable[[str, str], str]) -> Translate:
    """The ``_`` of all files of this package: a sentence is looked up in the context of the file that calls it.

    As ``slicer.i18n.tr`` does it; but that one is in the desktop only, and a browser says some things otherwise. As there, a translation with other
    blanks than the sentence is not taken: to fill it in would fail.

    Parameters
    ----------
    translate:
        ``slicer.i18n.translate``, or what takes its place: context and text to text. It is asked anew each time, the language may change.
    """

    def translated(text: str) -> str:
        calling = sys._getframe(1).f_globals["__name__"]
        said = translate(".".join(calling.split(".")[-2:]), text)
        return said if set(_BLANK.findall(said)) == set(_BLANK.findall(text)) else text

    return translated
