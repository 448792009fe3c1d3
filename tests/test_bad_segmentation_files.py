"""A mask that does not fit is refused in words, and a full disk loses nothing that was there."""

import errno
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver import segmentation_file
from fedliver.image import Volume
from fedliver.phantom import PhantomSettings, generate
from fedliver.segmentation_file import read_segmentation, write_segmentation
from refusals import patient, refused, saved


@pytest.fixture
def ct() -> Volume:
    return patient()[0]


@pytest.fixture
def labels() -> Volume:
    return patient()[1]


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
            small = Volume(labels.array[:2, :8, :8] * 0, replace(labels.geometry, size=(8, 8, 2)))
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
