"""Bad input gets one clear sentence, exit by FedLiverError, and loses nothing."""

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_files import write_series
from fedliver import segmentation_file
from fedliver.ct_reader import check_ct, list_series, read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume, to_sitk
from fedliver.image_file import open_image
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import read_segmentation, write_segmentation


@pytest.fixture(scope="module")
def patient() -> tuple[Volume, Volume]:
    return generate(PhantomSettings(seed=5, spacing_mm=(5.0, 5.0, 5.0)))


@pytest.fixture
def ct(patient: tuple[Volume, Volume]) -> Volume:
    return patient[0]


@pytest.fixture
def labels(patient: tuple[Volume, Volume]) -> Volume:
    return patient[1]


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
    sitk.WriteImage(to_sitk(volume), str(path), compressed)
    return path


class TestFiles:
    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        refused("no-such-file", "check the name", lambda: read_ct(tmp_path / "absent.nii.gz"))
        refused("no-such-file", "check the name", lambda: list_series(tmp_path / "absent"))

    @pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha", "ct.dcm", "ct"])
    def test_an_empty_file(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).touch()
        refused("empty-file", "export or copy it again", lambda: read_ct(tmp_path / name))

    @pytest.mark.parametrize("part", [0.02, 0.5, 0.99])
    @pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nii", "ct.nrrd", "ct.mha"])
    @pytest.mark.parametrize("compressed", [True, False])
    def test_a_file_that_is_cut_off(self, ct: Volume, tmp_path: Path, name: str, part: float, compressed: bool) -> None:
        path = saved(ct, tmp_path / name, compressed)
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])
        with pytest.raises(FedLiverError, match="again") as refusal:
            read_ct(path)
        assert refusal.value.code in ("truncated", "damaged")

    def test_a_truncated_nifti_which_itk_reads_without_a_word_is_refused(self, ct: Volume, tmp_path: Path) -> None:
        path = saved(ct, tmp_path / "ct.nii.gz")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        assert sitk.ReadImage(str(path)).GetSize() == ct.geometry.size  # zeros, or whatever lay in memory
        refused("truncated", "copy or export it again", lambda: read_ct(path))

    @pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha"])
    def test_a_compressed_file_with_damage_in_the_middle(self, ct: Volume, tmp_path: Path, name: str) -> None:
        path = saved(ct, tmp_path / name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
        path.write_bytes(content)
        refused("damaged", "again", lambda: read_ct(path))

    def test_damage_in_compressed_data_beside_the_header(self, ct: Volume, tmp_path: Path) -> None:
        path = saved(ct, tmp_path / "ct.mhd")
        content = bytearray((tmp_path / "ct.zraw").read_bytes())
        content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
        (tmp_path / "ct.zraw").write_bytes(content)
        refused("damaged", "again", lambda: read_ct(path))
        (tmp_path / "ct.zraw").unlink()
        refused("damaged", "again", lambda: read_ct(path))

    def test_a_nifti_under_a_name_that_its_reader_does_not_take(self, ct: Volume, tmp_path: Path) -> None:
        path = saved(ct, tmp_path / "ct.nii.gz").rename(tmp_path / "ct.nii")
        refused("wrong-name", "rename it to end in .nii.gz", lambda: read_ct(path))

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
    @pytest.mark.parametrize("disguise", ["", ".nii.gz", ".dcm"])
    def test_a_photograph_whatever_it_is_called(self, tmp_path: Path, suffix: str, disguise: str) -> None:
        picture = sitk.GetImageFromArray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), isVector=True)
        path = tmp_path / f"holiday{suffix}"
        sitk.WriteImage(picture, str(path))
        path = path.rename(tmp_path / f"holiday{suffix}{disguise}")
        refused("photograph", "DICOM folder", lambda: read_ct(path))

    @pytest.mark.parametrize(
        "content", [b"hello, this is a letter" * 40, b"PK\x03\x04" + bytes(600), bytes(1000), b"\x1f\x8b\x08\0" + bytes(4), b"NRRD0004\n", b"n"]
    )
    @pytest.mark.parametrize("name", ["x.nii.gz", "x.dcm", "x.nrrd", "x"])
    def test_anything_else(self, tmp_path: Path, content: bytes, name: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FedLiverError) as refusal:
            read_ct(tmp_path / name)
        assert refusal.value.code in ("unknown-format", "truncated", "damaged")

    def test_random_damage_to_a_header_never_ends_in_a_traceback(self, ct: Volume, tmp_path: Path) -> None:
        rng = np.random.default_rng(11)
        small = Volume(ct.array[:8, :20, :20], Geometry((20, 20, 8), *_rest(ct.geometry)))
        for name in ("a.nii", "a.nii.gz", "a.nrrd", "a.mha"):
            content = saved(small, tmp_path / name, True).read_bytes()
            for _ in range(60):
                spoiled = bytearray(content)
                for at in rng.integers(0, min(400, len(content)), 4):
                    spoiled[at] = rng.integers(256)
                (tmp_path / f"spoiled-{name}").write_bytes(spoiled)
                with suppress(FedLiverError):
                    read_ct(tmp_path / f"spoiled-{name}")

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no permission bits")
    def test_a_file_that_may_not_be_read(self, ct: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = saved(ct, tmp_path / "ct.nii.gz")

        def forbidden(*_: object, **__: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "open", forbidden)
        refused("not-readable", "ask for read permission", lambda: read_ct(path))
        monkeypatch.setattr(os, "scandir", forbidden)
        refused("not-readable", "ask for read permission", lambda: read_ct(tmp_path))

    def test_a_subfolder_that_may_not_be_read_is_told(self, ct: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_series(tmp_path, ct)
        (tmp_path / "closed").mkdir()
        scan = os.scandir

        def scandir(path: str | Path):
            if Path(path).name == "closed":
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return scan(path)

        monkeypatch.setattr(os, "scandir", scandir)
        assert any("could not be read" in w for w in read_ct(tmp_path).warnings)

    def test_a_file_where_a_folder_is_asked_for(self, ct: Volume, tmp_path: Path) -> None:
        refused("no-dicom", "DICOM folder", lambda: list_series(saved(ct, tmp_path / "ct.nii.gz")))

    def test_a_folder_without_dicom(self, ct: Volume, tmp_path: Path) -> None:
        refused("no-dicom", "give the folder of a CT series", lambda: read_ct(tmp_path))
        saved(ct, tmp_path / "ct.nii.gz")
        refused("no-dicom", "file itself", lambda: read_ct(tmp_path))


def _rest(grid: Geometry) -> tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, ...]]:
    return grid.spacing, grid.origin, grid.direction


class TestSizesThatAreNotBelieved:
    """A header may claim anything; memory is never given for a claim."""

    @pytest.mark.parametrize("axes", [(32767, 32767, 32767), (30000, 64, 64), (4000, 4000, 4000)])
    def test_a_nifti_that_claims_an_absurd_size(self, ct: Volume, tmp_path: Path, axes: tuple[int, int, int]) -> None:
        path = saved(ct, tmp_path / "ct.nii", False)
        content = bytearray(path.read_bytes())
        content[42:48] = np.array(axes, "<i2").tobytes()
        path.write_bytes(content)
        refused("too-large", "crop or resample", lambda: read_ct(path))

    def test_a_nrrd_that_claims_an_absurd_size(self, tmp_path: Path) -> None:
        (tmp_path / "x.nrrd").write_bytes(b"NRRD0004\ntype: short\ndimension: 3\nsizes: 900000 900000 9000\nencoding: raw\nendian: little\n\n" + bytes(100))
        refused("too-large", "crop or resample", lambda: read_ct(tmp_path / "x.nrrd"))

    def test_a_gzip_bomb_is_unpacked_no_further_than_its_header_allows(self, ct: Volume, tmp_path: Path) -> None:
        import gzip

        content = saved(ct, tmp_path / "ct.nii", False).read_bytes()
        with gzip.open(tmp_path / "bomb.nii.gz", "wb", compresslevel=1) as stream:
            stream.write(content)
            for _ in range(300):
                stream.write(bytes(1 << 20))
        # VmHWM, not ru_maxrss: the latter is inherited from the process that started this one.
        script = (
            "import re; from pathlib import Path; from fedliver.ct_reader import read_ct; import SimpleITK\n"
            "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text()).group(1)) // 1024\n"
            f"before = peak(); read_ct(Path({str(tmp_path / 'bomb.nii.gz')!r})); print(peak() - before)"
        )
        if sys.platform != "linux":
            pytest.skip("memory is measured on Linux only")
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        assert int(done.stdout) < 150


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
        wide = Volume(ct.array, Geometry(ct.geometry.size, (5, 5, 60), *_rest(ct.geometry)[1:]))
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


class TestMasks:
    def test_a_mask_on_another_grid(self, ct: Volume, labels: Volume, tmp_path: Path) -> None:
        other = generate(PhantomSettings(seed=5, spacing_mm=(5.0, 5.0, 8.0)))[1]
        path = tmp_path / "mask.nii.gz"
        write_segmentation(other, path)
        sentence = refused("different-grid", "resample", lambda: read_segmentation(path, ct.geometry))
        for size in (other.geometry.size, ct.geometry.size):
            assert " × ".join(map(str, size)) in sentence

    def test_a_ct_taken_for_a_mask(self, ct: Volume, tmp_path: Path) -> None:
        refused("illegal-labels", "relabel", lambda: read_segmentation(saved(ct, tmp_path / "ct.nii.gz"), ct.geometry))

    def test_a_truncated_mask_is_not_an_empty_liver(self, labels: Volume, tmp_path: Path) -> None:
        write_segmentation(labels, tmp_path / "mask.nii.gz")
        path = tmp_path / "mask.nii.gz"
        path.write_bytes(path.read_bytes()[:-20])
        refused("truncated", "again", lambda: read_segmentation(path))


class TestFullDisk:
    def old(self, labels: Volume, target: Path) -> bytes:
        write_segmentation(labels.with_array(np.zeros_like(labels.array)), target)
        return target.read_bytes()

    @pytest.mark.parametrize("suffix", segmentation_file.WRITABLE)
    def test_a_disk_that_fills_up_while_saving(self, labels: Volume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        """ITK writes half a file and says nothing; the disk refuses whatever comes next."""
        target = tmp_path / f"case{suffix}"
        before = self.old(labels, target)

        def half(image: sitk.Image, name: str, compress: bool) -> None:
            write(image, name, compress)
            os.truncate(name, Path(name).stat().st_size // 2)

        def full(part: Path) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        write = sitk.WriteImage
        monkeypatch.setattr(segmentation_file.sitk, "WriteImage", half)
        monkeypatch.setattr(segmentation_file, "_raise_what_the_disk_says", full)
        refused("disk-full", "Free some space and save again", lambda: write_segmentation(labels, target))
        assert target.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [target.name]

    @pytest.mark.parametrize("suffix", segmentation_file.WRITABLE)
    def test_a_really_full_disk(self, labels: Volume, tmp_path: Path, suffix: str) -> None:
        """A tmpfs of 64 KiB where mounting is permitted (as root on Linux)."""
        if sys.platform != "linux" or shutil.which("mount") is None:
            pytest.skip("needs Linux's tmpfs")
        disk = tmp_path / "disk"
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
            pytest.skip("mounting is not permitted here")
        try:
            target = disk / f"case{suffix}"
            small = Volume(labels.array[:2, :8, :8] * 0, Geometry((8, 8, 2), *_rest(labels.geometry)))
            write_segmentation(small, target)
            before = target.read_bytes()
            rng = np.random.default_rng(0)
            noisy = labels.with_array(rng.integers(0, 3, labels.array.shape, dtype=np.uint8))  # does not compress into 64 KiB
            refused("disk-full", "Free some space and save again", lambda: write_segmentation(noisy, target))
            assert target.read_bytes() == before
            assert [p.name for p in disk.iterdir()] == [target.name]
            write_segmentation(small, target)
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def test_a_good_file_opens(ct: Volume, tmp_path: Path) -> None:
    """The refusals above are not refusals of everything."""
    assert open_image(saved(ct, tmp_path / "ct.nii.gz")).warnings == ()
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").volume.array, ct.array)
