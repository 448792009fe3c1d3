"""A DICOM series that is incomplete, of another modality or not evenly spaced is refused in words."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from dicom_files import write_series
from fedliver.ct_reader import read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Volume
from refusals import patient, refused


@pytest.fixture
def ct() -> Volume:
    return patient()[0]


class TestDicomSeries:
    @pytest.mark.parametrize("modality", ["MR", "PT", "US"])
    def test_another_modality(self, ct: Volume, tmp_path: Path, modality: str) -> None:
        paths = write_series(tmp_path, ct, modality=modality)
        assert modality in refused("not-ct", "choose a CT series", lambda: read_ct(tmp_path))
        refused("not-ct", "choose a CT series", lambda: read_ct(paths[0]))
        refused("not-ct", "choose a CT series", lambda: read_ct(tmp_path, "1"))
        write_series(tmp_path, ct, modality=modality, series="1.2.3.2", number=2)
        refused("not-ct", "Give the folder of a CT", lambda: read_ct(tmp_path))

    def test_one_missing_slice_is_named_by_its_place(self, ct: Volume, tmp_path: Path) -> None:
        write_series(tmp_path, ct, leave_out=[7])
        low, high = (ct.geometry.affine_lps @ [0, 0, 6, 1])[2], (ct.geometry.affine_lps @ [0, 0, 8, 1])[2]
        sentence = refused("missing-slices", "export the series again", lambda: read_ct(tmp_path))
        assert "1 slice is missing" in sentence
        assert f"{low:.1f} mm and {high:.1f} mm" in sentence

    def test_several_missing_slices_are_counted(self, ct: Volume, tmp_path: Path) -> None:
        write_series(tmp_path, ct, leave_out=[7, 8, 20])
        sentence = refused("missing-slices", "export the series again", lambda: read_ct(tmp_path))
        assert "3 slices are missing" in sentence

    def test_slices_at_odd_distances(self, ct: Volume, tmp_path: Path) -> None:
        def move(dataset, k):
            if k > 8:
                dataset.ImagePositionPatient[2] += 1.7

        write_series(tmp_path, ct, change=move)
        refused("irregular-slices", "evenly spaced", lambda: read_ct(tmp_path))

    def test_two_phases_that_no_header_tells_apart(self, ct: Volume, tmp_path: Path) -> None:
        write_series(tmp_path / "a", ct)
        write_series(tmp_path / "b", ct.with_array(ct.array + np.int16(2)))
        refused("duplicate-slices", "export one phase", lambda: read_ct(tmp_path))

    def test_a_tilted_gantry(self, ct: Volume, tmp_path: Path) -> None:
        def tilt(dataset, k):
            dataset.ImagePositionPatient[1] += 5 * k * np.tan(np.radians(12))

        write_series(tmp_path, ct, change=tilt)
        assert "12.0 degrees" in refused("tilted-gantry", "3D Slicer", lambda: read_ct(tmp_path))

    def test_slices_shifted_sideways(self, ct: Volume, tmp_path: Path) -> None:
        def shift(dataset, k):
            if k > 10:
                dataset.ImagePositionPatient[0] += 40

        write_series(tmp_path, ct, change=shift)
        refused("irregular-slices", "export the series again", lambda: read_ct(tmp_path))

    def test_a_slice_that_is_cut_off(self, ct: Volume, tmp_path: Path) -> None:
        paths = write_series(tmp_path, ct)
        paths[5].write_bytes(paths[5].read_bytes()[:-3000])
        refused("truncated", "export the series again", lambda: read_ct(tmp_path))

    def test_captures_in_8_bit_and_in_colour(self, ct: Volume, tmp_path: Path) -> None:
        def eight(dataset, k):
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit = 7
            dataset.PixelData = bytes(ct.array[k].size + ct.array[k].size % 2)

        def colour(dataset, k):
            dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0

        write_series(tmp_path / "8", ct, change=eight)
        write_series(tmp_path / "rgb", ct, change=colour)
        refused("not-hounsfield", "original CT series", lambda: read_ct(tmp_path / "8"))
        refused("colour", "original CT series", lambda: read_ct(tmp_path / "rgb"))

    def test_a_series_without_its_rescale_intercept(self, ct: Volume, tmp_path: Path) -> None:
        def forget(dataset, k):
            del dataset.RescaleIntercept, dataset.RescaleSlope

        write_series(tmp_path, ct, change=forget)
        refused("not-hounsfield", "rescale intercept", lambda: read_ct(tmp_path))

    @pytest.mark.parametrize("cut", [140, 400, 700])
    def test_a_file_whose_header_is_damaged_is_told(self, ct: Volume, tmp_path: Path, cut: int) -> None:
        """The last slice is no gap: only the warning says that it is not there."""
        paths = write_series(tmp_path, ct)
        content = paths[-1].read_bytes()
        paths[-1].write_bytes(content[:cut])
        found = read_ct(tmp_path)
        assert found.volume.geometry.size[2] == ct.geometry.size[2] - 1
        assert any("1 DICOM file" in w for w in found.warnings)

    def test_random_damage_to_files_never_ends_in_a_traceback(self, ct: Volume, tmp_path: Path) -> None:
        rng = np.random.default_rng(3)
        paths = write_series(tmp_path, ct, leave_out=range(9, 500))
        content = [path.read_bytes() for path in paths]
        for _ in range(60):
            which = int(rng.integers(len(paths)))
            spoiled = bytearray(content[which])
            for at in rng.integers(128, 1200, 6):
                spoiled[at] = rng.integers(256)
            paths[which].write_bytes(spoiled)
            with suppress(FedLiverError):
                read_ct(tmp_path)
            paths[which].write_bytes(content[which])
