"""Images made from label maps: right labels, plausible tissue, the same for the same seed."""

import numpy as np
import pytest

from fedliver.teacher.plan import TeacherPlan
from fedliver.training.anatomy import Tissue, fill_in_body
from fedliver.training.sources import Patch, PatientPatches, PreparedPatient, prepared
from fedliver.training.synthesis import synthesise

SPACING = (5.0, 5.0, 5.0)
PLAN = TeacherPlan.tiny().model_copy(update={"patch_size": (32, 32, 32), "spacing_mm": (4.0, 4.0, 4.0)})


@pytest.fixture(scope="module")
def organs() -> np.ndarray:
    """A coarse patient: liver on the right (low i), spleen on the left, kidneys behind, bowel in the middle."""
    k, j, i = np.indices((60, 64, 72))
    organs = np.zeros(k.shape, np.uint8)

    def ellipsoid(centre: tuple[int, int, int], radii: tuple[int, int, int], tissue: Tissue) -> None:
        organs[((k - centre[0]) / radii[0]) ** 2 + ((j - centre[1]) / radii[1]) ** 2 + ((i - centre[2]) / radii[2]) ** 2 < 1] = tissue

    ellipsoid((25, 34, 36), (14, 8, 16), Tissue.INTESTINE)
    ellipsoid((38, 40, 54), (6, 6, 5), Tissue.SPLEEN)
    ellipsoid((30, 42, 24), (6, 4, 4), Tissue.KIDNEY)
    ellipsoid((40, 32, 24), (10, 12, 10), Tissue.LIVER)
    return organs


def test_the_body_has_what_the_annotators_left_out_and_keeps_every_organ(organs: np.ndarray) -> None:
    body = fill_in_body(organs, SPACING, np.random.default_rng(0))
    assert np.array_equal(body[organs > 0], organs[organs > 0])
    for tissue in (Tissue.FAT, Tissue.MUSCLE, Tissue.BONE, Tissue.LUNG, Tissue.SKIN, Tissue.AIR):
        assert (body == tissue).sum() > 100, tissue
    lung, bone = np.argwhere(body == Tissue.LUNG), np.argwhere((body == Tissue.BONE) & (organs == 0))
    liver = np.argwhere(body == Tissue.LIVER)
    assert lung[:, 0].mean() > liver[:, 0].mean()
    assert bone[:, 1].mean() > liver[:, 1].mean()


def test_lesions_grow_only_inside_the_liver_and_labels_are_legal(organs: np.ndarray) -> None:
    body = np.ascontiguousarray(fill_in_body(organs, SPACING, np.random.default_rng(0)).transpose(2, 1, 0))
    lesions = 0
    for seed in range(6):
        hu, labels = synthesise(body, SPACING, np.random.default_rng(seed))
        assert set(np.unique(labels)) <= {0, 1, 2}
        assert np.array_equal(labels > 0, body == Tissue.LIVER)
        assert np.isfinite(hu).all()
        lesions += int((labels == 2).any())
    assert lesions > 0


def test_the_hounsfield_scale_is_kept(organs: np.ndarray) -> None:
    body = np.ascontiguousarray(fill_in_body(organs, SPACING, np.random.default_rng(0)).transpose(2, 1, 0))
    hu, _ = synthesise(body, SPACING, np.random.default_rng(0))
    assert hu[body == Tissue.AIR].mean() < -800
    assert hu[body == Tissue.LUNG].mean() < -500
    assert -140 < hu[body == Tissue.FAT].mean() < -40
    assert hu[body == Tissue.BONE].mean() > 150


def test_the_same_seed_makes_the_same_image(organs: np.ndarray) -> None:
    body = np.ascontiguousarray(organs.transpose(2, 1, 0))
    one, two, other = (synthesise(body, SPACING, np.random.default_rng(seed))[0] for seed in (4, 4, 5))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


def _patient(tumour_labelled: bool = True) -> PreparedPatient:
    """Noise of a real scan's kind around a block of liver, on the plan's grid."""
    rng = np.random.default_rng(1)
    image = np.full((1, 40, 40, 40), 0.1, np.float32)
    labels = np.zeros(image.shape, np.uint8)
    labels[0, 6:34, 6:34, 6:34] = 1
    image[labels == 1] = 0.65
    image += rng.normal(0, 0.02, image.shape).astype(np.float32)
    return prepared(image, labels, PLAN, tumour_labelled)


def _drawn(patient: PreparedPatient, share: float, patches: int = 12) -> list[Patch]:
    source, rng = PatientPatches([patient], PLAN, (0.0, 1.0, 0.0), with_lesions=share), np.random.default_rng(2)
    return [source.draw(rng) for _ in range(patches)]


def test_lesions_are_grown_in_real_livers_too_darker_or_brighter_than_the_liver_and_nowhere_else() -> None:
    plain, grown = _drawn(_patient(), 0.0), _drawn(_patient(), 1.0)
    assert not any((patch.labels == 2).any() for patch in plain)
    assert sum((patch.labels == 2).any() for patch in grown) >= 4
    for patch in grown:
        assert set(np.unique(patch.labels)) <= {0, 1, 2}
        assert 0 <= patch.image.min() <= patch.image.max() <= 1
        np.testing.assert_allclose(patch.image[patch.labels == 0].mean(), 0.1, atol=0.01)
        if (patch.labels == 2).sum() > 50:
            assert abs(patch.image[patch.labels == 2].mean() - 0.65) > 0.03


def test_where_tumours_are_annotated_as_liver_none_are_grown_and_the_patient_in_memory_stays_as_it_was() -> None:
    assert not any((patch.labels == 2).any() for patch in _drawn(_patient(tumour_labelled=False), 1.0))
    patient = _patient()
    before = patient.image.copy(), patient.labels.copy()
    _drawn(patient, 1.0)
    assert np.array_equal(patient.image, before[0])
    assert np.array_equal(patient.labels, before[1])
