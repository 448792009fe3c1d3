"""What a person meets at the prompt: a result, or one sentence and exit code 2. Never a traceback."""

import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from fedliver.cli.main import main
from fedliver.image import to_sitk
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "ct.nii.gz"
    sitk.WriteImage(to_sitk(generate(PhantomSettings(seed=5, spacing_mm=(5.0, 5.0, 5.0)))[0]), str(path))
    return path


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize("name", ["out.nii.gz", "out.seg.nrrd"])
def test_segment_writes_on_the_grid_of_the_ct_and_prints_volumes(
    ct: Path, teacher: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("segment", ct, tmp_path / name, "--teacher", teacher) == 0
    assert capsys.readouterr().out.startswith(("Liver ", "No liver"))
    written, scan = sitk.ReadImage(str(tmp_path / name)), sitk.ReadImage(str(ct))
    assert written.GetSize() == scan.GetSize()
    assert np.allclose(written.GetOrigin(), scan.GetOrigin(), atol=1e-3)
    assert np.allclose(written.GetDirection(), scan.GetDirection(), atol=1e-6)


def _pickled_weights(teacher: Path, folder: Path) -> Path:
    import shutil

    copy = folder / "posing"
    shutil.copytree(teacher, copy)
    (copy / "models" / "model.pt").write_bytes(pickle.dumps({"weights": Path}))
    return copy


@pytest.mark.parametrize(
    "case", ["no such file", "empty file", "photograph", "unknown suffix", "no bundle", "pickle as weights", "no site", "case unknown", "not enrolled"]
)
def test_bad_input_gets_one_sentence_and_exit_code_2(case: str, ct: Path, teacher: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty.nii.gz").write_bytes(b"")
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((20, 20), np.uint8)), str(tmp_path / "photo.png"))
    out, home = tmp_path / "out.nii.gz", tmp_path / "no home"
    site = SiteHome.open(tmp_path / "site").path
    commands = {
        "no such file": ("segment", tmp_path / "absent.nii.gz", out, "--teacher", teacher),
        "empty file": ("segment", tmp_path / "empty.nii.gz", out, "--teacher", teacher),
        "photograph": ("segment", tmp_path / "photo.png", out, "--teacher", teacher),
        "unknown suffix": ("segment", ct, tmp_path / "out.jpg", "--teacher", teacher),
        "no bundle": ("segment", ct, out, "--teacher", tmp_path),
        "pickle as weights": ("segment", ct, out, "--teacher", _pickled_weights(teacher, tmp_path)),
        "no site": ("segment", ct, out, "--home", home),
        "case unknown": ("case", "check", "C-NOSUCHCASE", "--home", site),
        "not enrolled": ("site", "join", "--home", site),
    }
    assert _run(*commands[case]) == 2
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err + captured.out
    assert captured.err.strip().splitlines()[-1].startswith("fedliver: ")
    assert not out.exists()


def test_ctrl_c_ends_with_130_and_no_traceback(
    ct: Path, teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fedliver.ct_reader.read_ct", interrupt)
    assert _run("segment", ct, tmp_path / "out.nii.gz", "--teacher", teacher) == 130
    assert "Traceback" not in capfd.readouterr().err


def test_a_mistyped_option_is_explained_and_exits_with_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert _run("segment", "--no-such-option") == 2
    assert "no-such-option" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_started_with_signals_ignored_still_ends_when_it_is_told_to(number: signal.Signals) -> None:
    """A script's background job inherits SIGINT ignored: a site that joined from one must be able to leave."""
    program = (
        "import time, typer\nfrom fedliver.cli import main as line\n"
        "@line.app.command('hold')\ndef hold() -> None:\n    print('holding', flush=True)\n    time.sleep(60)\n"
        "line.main(['hold'])"
    )
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as held:
            assert held.stdout is not None
            assert held.stdout.readline().strip() == "holding"
            held.send_signal(number)
            said = held.communicate(timeout=30)[1]
    finally:
        signal.signal(number, before)
    assert held.returncode == 130
    assert "Traceback" not in said
