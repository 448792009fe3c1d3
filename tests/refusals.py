"""What tests of refusals share: a patient that never lived, written to disk, and what the sentence of a refusal must be like."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import SimpleITK as sitk

from fedliver.errors import FedLiverError
from fedliver.image import Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate


@cache
def patient() -> tuple[Volume, Volume]:
    """CT and labels at 5 mm. Not to be written to."""
    return generate(PhantomSettings(seed=5, spacing_mm=(5.0, 5.0, 5.0)))


def refused(code: str, advice: str, read: Callable[[], object]) -> str:
    """The sentence of a refusal with this code: one sentence for a person, that holds ``advice`` and no patient."""
    with pytest.raises(FedLiverError) as refusal:
        read()
    sentence = refusal.value.sentence
    assert refusal.value.code == code, sentence
    assert advice in sentence
    assert sentence.endswith(".")
    assert "\n" not in sentence
    for secret in ("Secret", "SECRET", "Traceback", "itk::", "sitk"):
        assert secret not in sentence
    return sentence


def saved(volume: Volume, path: Path, compressed: bool = True) -> Path:
    """Write a volume as it is and return where."""
    sitk.WriteImage(to_sitk(volume), str(path), compressed)
    return path
