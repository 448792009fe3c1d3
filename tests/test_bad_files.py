"""A file that is damaged, cut off or something else gets one clear sentence, and no memory is given for what a header claims."""

import errno
import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_files import write_series
from fedliver.ct_reader import list_series, read_ct
from fedliver.errors import FedLiverError
from fedliver.image import Volume
from fedliver.image_file import check_alone, open_image
from refusals import patient, refused, saved


@pytest.fixture
def ct() -> Volume:
    return patient()[0]


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
        small = Volume(ct.array[:8, :20, :20], replace(ct.geometry, size=(20, 20, 8)))
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


META = "ObjectType = Image\nNDims = 3\nDimSize = 8 8 8\nElementType = MET_UCHAR\n"
NRRD = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 8 8 8\nencoding: raw\n"
SECRET = bytes(range(256)) * 2
"""As many bytes as the headers above claim."""


class TestVoxelsThatLieElsewhere:
    """ITK reads whatever file a header names. Whoever sends the header would see what is in that file: a key, another patient."""

    @pytest.mark.parametrize(
        "text",
        [
            pytest.param(META + "ElementDataFile = {secret}\n", id="MetaImage"),
            pytest.param(META + "ElementDataFile={secret}", id="MetaImage without spaces"),
            pytest.param(META + "ElementDataFile : {secret}\n", id="MetaImage with a colon"),
            pytest.param(META + "   ElementDataFile = {secret}\n", id="MetaImage, indented"),
            pytest.param(META + "ElementDataFile\n=\n{secret}\n", id="MetaImage over several lines"),
            pytest.param(META + "ElementDataFile = = {secret}\n", id="MetaImage with two signs"),
            pytest.param(META + "ElementDataFile\0x = {secret}\n", id="MetaImage with a null byte"),
            pytest.param(META + "\rElementDataFile = {secret}\r", id="MetaImage of an old Macintosh"),
            pytest.param(META + "ElementDataFile = {relative}\n", id="MetaImage with dots"),
            pytest.param(META + "ElementDataFile = LIST\n{secret}\n", id="MetaImage with a list"),
            pytest.param(META + "ElementDataFile = LIST 3D\n{secret}\n", id="MetaImage with a list of volumes"),
            pytest.param(META + "ElementDataFile = {pattern} 1 1 1\n", id="MetaImage with a pattern"),
            pytest.param(META + "elementdatafile = LOCAL\nElementDataFile = {secret}\n", id="MetaImage, the one in lower case is none"),
            pytest.param(META + "Comment =\nElementDataFile = LOCAL\nElementDataFile = {secret}\n", id="MetaImage, the first is a comment's text"),
            pytest.param(META + "Nothing\nElementDataFile = LOCAL\nElementDataFile = {secret}\n", id="MetaImage, the first follows a line without a sign"),
            pytest.param(META + "Comment = ElementDataFile = LOCAL\nElementDataFile = {secret}\n", id="MetaImage, the first is in a line"),
            pytest.param(NRRD + "data file: {secret}\n", id="NRRD"),
            pytest.param(NRRD + "datafile: {secret}\n\n", id="NRRD in one word"),
            pytest.param(NRRD + "Data File: {secret}\n\n", id="NRRD in upper case"),
            pytest.param(NRRD + "data file:   {secret}  \r\n", id="NRRD with spaces"),
            pytest.param(NRRD + "data file: {relative}\n", id="NRRD with dots"),
            pytest.param(NRRD + "data file: LIST\n{secret}\n", id="NRRD with a list"),
            pytest.param(NRRD + "data file: {pattern} 1 1 1 3\n", id="NRRD with a pattern"),
            pytest.param(NRRD + "data file: -\n", id="NRRD from standard input"),
            pytest.param(NRRD + "# a comment\rdata file: {secret}\n\n", id="NRRD of an old Macintosh"),
            pytest.param(NRRD + "data file: data.raw\ndata file: {secret}\n", id="NRRD with two"),
            pytest.param(NRRD.replace("\n", "\r\n") + "data file: {secret}\r\n\r\n", id="NRRD of Windows"),
            pytest.param(NRRD + "content: ObjectType NDims\ndata file: {secret}\n", id="NRRD that also looks like a MetaImage"),
            pytest.param("Comment = NRRD0004\n" + META + "ElementDataFile = {secret}\n", id="MetaImage that also looks like a NRRD"),
        ],
    )
    @pytest.mark.parametrize("name", ["x.mha", "x.mhd", "x.nrrd", "x.nhdr", "x.nii", "x"])
    def test_no_file_is_read_because_a_header_names_it(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "1").write_bytes(SECRET)
        folder = tmp_path / "mail"
        folder.mkdir()
        (folder / "data.raw").write_bytes(bytes(512))
        said = text.format(secret=tmp_path / "site" / "1", relative="../site/1", pattern=f"{tmp_path}/site/%d")
        (folder / name).write_bytes(said.encode())
        sentence = refused("detached-data", "export it as one .mha or .nrrd file", lambda: open_image(folder / name))
        assert "site" not in sentence

    @pytest.mark.parametrize("text", [META + "ElementDataFile = {}\n", NRRD + "data file: {}\n"], ids=["MetaImage", "NRRD"])
    @pytest.mark.parametrize(
        "said", ["link.raw", "folder", ".hidden", "LIST", "list of files", "a%d.raw", "C:data.raw", "a\\b.raw", "a" * 300, "= data.raw", ""]
    )
    def test_a_header_with_its_voxels_beside_it_names_one_plain_file(self, tmp_path: Path, text: str, said: str) -> None:
        (tmp_path / "secret").write_bytes(SECRET)
        (tmp_path / "link.raw").symlink_to(tmp_path / "secret")
        (tmp_path / "folder").mkdir()
        for name in {".hidden", "LIST", "list of files", "a%d.raw", "C:data.raw", "a\\b.raw", "= data.raw", "data.raw"}:
            (tmp_path / name).write_bytes(SECRET)
        (tmp_path / "x.mhd").write_text(text.format(said))
        refused("detached-data", "which is not opened", lambda: open_image(tmp_path / "x.mhd"))

    @pytest.mark.parametrize("text", [META + "ElementDataFile = {}\n", NRRD + "data file: {}\n"], ids=["MetaImage", "NRRD"])
    def test_only_mhd_and_nhdr_have_their_voxels_beside_them(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "CT scan (1).raw").write_bytes(SECRET)
        for name in ("x.mhd", "x.nhdr", "X.MHD", "x.mha", "x.nrrd", "x"):
            (tmp_path / name).write_text(text.format("CT scan (1).raw"))
            if name.lower() in ("x.mhd", "x.nhdr"):
                assert sitk.GetArrayFromImage(open_image(tmp_path / name).image).tobytes() == SECRET
                refused("detached-data", "which is not opened", lambda name=name: check_alone(tmp_path / name))
            else:
                refused("detached-data", "which is not opened", lambda name=name: open_image(tmp_path / name))
        (tmp_path / "x.mhd").write_text(text.format("gone.raw"))
        (tmp_path / "gone.raw.gz").symlink_to(tmp_path / "CT scan (1).raw")  # MetaIO would try this name next
        refused("damaged", "again", lambda: open_image(tmp_path / "x.mhd"))

    @pytest.mark.parametrize(
        "text",
        [
            META + "ElementDataFile = LOCAL\n",
            META.replace("\n", "\r\n") + "ElementDataFile = Local\r\n",
            META + "Comment = the data file: /etc/passwd\nElementDataFile=local\n",
            NRRD + "\n",
            NRRD.replace("\n", "\r\n") + "\r\n",
            NRRD + "# data file: /etc/passwd\ncontent: data file: x\nSource:=datafile: /etc/passwd\n\n",
        ],
    )
    def test_a_file_with_its_voxels_in_itself_opens_whatever_it_is_called(self, tmp_path: Path, text: str) -> None:
        for name in ("x.mha", "x.nrrd", "x.mhd", "x.nhdr", "x.nii", "x"):
            (tmp_path / name).write_bytes(text.encode() + SECRET)
            check_alone(tmp_path / name)
            assert sitk.GetArrayFromImage(open_image(tmp_path / name).image).tobytes() == SECRET

    def test_the_word_is_found_wherever_it_lies_in_a_large_file(self, tmp_path: Path) -> None:
        for before in ((1 << 20) - len(META) - 30, (1 << 20) - len(META) - 20, 3_000_000):
            (tmp_path / "x.mha").write_text(META + "ElementDataFile = LOCAL\n" + " " * before + "\nElementDataFile = /etc/passwd\n")
            refused("detached-data", "which is not opened", lambda: open_image(tmp_path / "x.mha"))
        (tmp_path / "x.nrrd").write_text(NRRD + "#" * 3_000_000 + "\ndata file: /etc/passwd\n\n")
        refused("damaged", "again", lambda: open_image(tmp_path / "x.nrrd"))


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


def test_a_good_file_opens(ct: Volume, tmp_path: Path) -> None:
    """The refusals above are not refusals of everything."""
    assert open_image(saved(ct, tmp_path / "ct.nii.gz")).warnings == ()
    np.testing.assert_array_equal(read_ct(tmp_path / "ct.nii.gz").volume.array, ct.array)
