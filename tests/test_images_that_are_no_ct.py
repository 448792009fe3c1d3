"""A whole and readable image that is no CT volume in Hounsfield units is refused in words; what is only unusual is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_files import write_series
from fedliver.ct_reader import check_ct, read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Volume, to_sitk
from fedliver.phantom import PhantomSettings, generate
from refusals import patient, refused, saved


@pytest.fixture
def ct() -> Volume:
    return patient()[0]


@pytest.fixture
def labels() -> Volume:
    return patient()[1]


class TestImagesThatAreNoCtVolume:
    def test_a_2d_image(self, ct: Volume, tmp_path: Path) -> None:
        image = to_sitk(ct)
        sitk.WriteImage(image[:, :, 9], str(tmp_path / "flat.nii.gz"))
        sitk.WriteImage(image[:, :, 9:10], str(tmp_path / "one.nrrd"))
        refused("two-dimensional", "whole CT volume", lambda: read_ct(tmp_path / "flat.nii.gz"))
        refused("two-dimensional", "whole CT volume", lambda: read_ct(tmp_path / "one.nrrd"))

    @pytest.mark.parametrize("name", ["four.nii.gz", "four.nrrd", "four.mha"])
    def test_a_4d_image(self, ct: Volume, tmp_path: Path, name: str) -> None:
        sitk.WriteImage(sitk.JoinSeries([to_sitk(ct)] * 3), str(tmp_path / name))
        assert "3 volumes" in refused("four-dimensional", "save the one to segment", lambda: read_ct(tmp_path / name))

    @pytest.mark.parametrize("name", ["colour.nii.gz", "colour.nrrd", "colour.mha"])
    def test_a_colour_volume(self, ct: Volume, tmp_path: Path, name: str) -> None:
        grey = sitk.Cast(to_sitk(ct), sitk.sitkUInt8)
        sitk.WriteImage(sitk.Compose(grey, grey, grey), str(tmp_path / name))
        refused("colour", "give the CT itself", lambda: read_ct(tmp_path / name))

    def test_three_slices(self, ct: Volume, tmp_path: Path) -> None:
        sitk.WriteImage(to_sitk(ct)[:, :, :3], str(tmp_path / "three.nii.gz"))
        assert "3 slices" in refused("too-few-slices", "whole series", lambda: read_ct(tmp_path / "three.nii.gz"))
        write_series(tmp_path / "dicom", ct, leave_out=range(3, 500))
        assert "3 slices" in refused("too-few-slices", "whole series", lambda: read_ct(tmp_path / "dicom"))

    def test_a_label_map(self, labels: Volume, tmp_path: Path) -> None:
        refused("label-map", "give the CT itself", lambda: read_ct(saved(labels, tmp_path / "labels.nii.gz")))

    @pytest.mark.parametrize(
        ("spoil", "advice"),
        [
            (lambda a: a.astype(np.int32) + 1024, "rescale intercept"),
            (lambda a: a.astype(np.float32) + 1024.5, "rescale intercept"),
            (lambda a: np.clip((a.astype(np.int32) + 160) // 2, 0, 255).astype(np.uint8), "original DICOM"),
            (lambda a: (np.clip(a, -160, 240) / 400 + 0.4).astype(np.float32), "rescale intercept"),
            (lambda a: (a / 300).astype(np.float32), "before any normalisation"),
            (lambda a: a - 1024, "rescale"),
            (lambda a: np.abs(a).astype(np.int32) * 3 - 20, "rescale slope and intercept"),
        ],
        ids=["offset of 1024", "float offset", "8 bit", "0 to 1", "normalised", "intercept applied twice", "MR-like"],
    )
    def test_values_that_are_not_hounsfield_units(self, ct: Volume, tmp_path: Path, spoil: Callable, advice: str) -> None:
        path = saved(ct.with_array(spoil(ct.array)), tmp_path / "x.nrrd")
        with pytest.raises(FedLiverError, match=advice) as refusal:
            read_ct(path)
        assert refusal.value.code in ("not-hounsfield", "no-body")

    def test_a_volume_of_air(self, ct: Volume, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).normal(-1000, 25, ct.array.shape).astype(np.int16)
        refused("no-body", "right series", lambda: read_ct(saved(ct.with_array(noise), tmp_path / "air.nii.gz")))
        refused("constant-image", "again", lambda: read_ct(saved(ct.with_array(np.full_like(noise, -1024)), tmp_path / "nothing.nii.gz")))

    def test_nan_inside_the_scan(self, ct: Volume, tmp_path: Path) -> None:
        for name, place, value in [("hole", np.s_[9:12, 30:34, 30:34], np.nan), ("slice", np.s_[9], np.nan), ("infinity", np.s_[0, 0, 0], np.inf)]:
            array = ct.array.astype(np.float32)
            array[place] = value
            path = saved(ct.with_array(array), tmp_path / f"{name}.nii.gz")
            refused("not-finite", "export it again", lambda path=path: read_ct(path))
            refused("not-finite", "export it again", lambda array=array: check_ct(ct.with_array(array)))

    def test_nan_around_the_scan_becomes_air_and_is_told(self, ct: Volume, tmp_path: Path) -> None:
        array = ct.array.astype(np.float32)
        array[:, :6] = np.nan
        array[:2] = np.nan
        found = read_ct(saved(ct.with_array(array), tmp_path / "round.nii.gz"))
        assert found.volume.array.dtype == np.int16
        assert (found.volume.array[:, :6] == -1024).all()
        assert (found.volume.array[:2] == -1024).all()
        assert any("NaN" in w for w in found.warnings)

    def test_a_spacing_that_cannot_be(self, ct: Volume, tmp_path: Path) -> None:
        wide = Volume(ct.array, replace(ct.geometry, spacing=(5.0, 5.0, 60.0)))
        refused("implausible-spacing", "correct the spacing", lambda: read_ct(saved(wide, tmp_path / "wide.nrrd")))

    def test_axes_that_are_not_at_right_angles(self, ct: Volume, tmp_path: Path) -> None:
        import nibabel as nib

        affine = np.diag([5.0, 5.0, 5.0, 1.0])
        affine[1, 2] = 1.5
        nib.save(nib.Nifti1Image(ct.array.transpose(2, 1, 0), affine), tmp_path / "sheared.nii.gz")
        with pytest.raises(FedLiverError, match="right angles") as refusal:
            read_ct(tmp_path / "sheared.nii.gz")
        assert refusal.value.code == "sheared"


class TestAcceptedWithAWarning:
    def test_slices_of_8_mm(self, tmp_path: Path) -> None:
        thick = generate(PhantomSettings(seed=6, spacing_mm=(4.0, 4.0, 8.0)))[0]
        assert any("8.0 mm apart" in w for w in read_ct(saved(thick, tmp_path / "thick.nii.gz")).warnings)
        write_series(tmp_path / "dicom", thick)
        assert any("8.0 mm apart" in w for w in read_ct(tmp_path / "dicom").warnings)

    def test_a_missing_series_instance_uid(self, ct: Volume, tmp_path: Path) -> None:
        def strip(dataset, k):
            del dataset.SeriesInstanceUID
            dataset.SOPInstanceUID = dataset.SOPClassUID = ""

        write_series(tmp_path, ct, change=strip)
        found = read_ct(tmp_path)
        np.testing.assert_array_equal(found.volume.array, ct.array)
        assert any("SeriesInstanceUID" in w for w in found.warnings)
