"""``fedliver study federated`` as a hospital types it."""

from pathlib import Path

import pytest

from fedliver.cli.main import main

TINY = """
base = "heart-small"
name = "tiny"
seeds = 1
[data]
generated = 9
spacing_mm = [8.75, 8.75, 8.75]
[network]
channels = [4, 8]
strides = [2]
[training]
steps = 4
rounds = 2
patch_size = [16, 16, 16]
curve_cases = 1
"""


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(["study", "federated", *arguments])
    return int(end.value.code or 0)


def test_one_command_runs_a_federation_and_writes_its_report_and_again_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "tiny.toml").write_text(TINY)
    command = ("--task", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), "--clients", "6", "--active", "2")
    assert _run(*command) == 0
    assert "| federated, 6 sites, equal sizes, 2 at a time |" in capsys.readouterr().out
    results = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "results").iterdir()}
    assert sorted(path.name for path in results) == ["centralised.seed-0.json", "federated-6-balanced-active2.seed-0.json"]
    assert (tmp_path / "out" / "report.html").is_file()
    assert "fedliver study federated --task tiny.toml --out OUT --clients 6 --active 2" in (tmp_path / "out" / "study.md").read_text()
    assert _run(*command) == 0
    assert _run(*command, "--report-only") == 0
    assert {path: path.stat().st_mtime_ns for path in results} == results


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--task", "no-such-task"), "There is no task no-such-task"),
        (("--task", "chest-xray-small"), "give --data"),
        (("--task", "heart-small", "--engine", "flower", "--workers", "2"), "leave out --workers"),
        (("--task", "heart-small", "--engine", "flower", "--device", "cuda"), "leave out --device"),
        (("--task", "heart-small", "--device", "abacus"), "There is no device"),
        (("--task", "heart-small", "--active", "2"), "--active needs --clients"),
        (("--task", "heart-small", "--data", "/tmp"), "generates its images: leave out --data"),
        (("--task", "heart-mm-whs", "--data", "/no/such/folder"), "There is nothing at /no/such/folder"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str):
    assert _run(*arguments, "--out", str(tmp_path / "out")) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("results/*"))


def test_what_is_wrong_with_an_arm_is_said_also_by_a_worker(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "tiny.toml").write_text(
        TINY
        + """
[[arms]]
way = "centralised"
[[arms]]
way = "federated"
clients = 3
strategy = { name = "multi-krum" }
"""
    )
    assert _run("--task", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), "--workers", "2") == 2
    assert "multi-krum needs" in capsys.readouterr().err


def test_a_structure_that_no_image_has_is_refused_before_anything_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "tiny.toml").write_text(
        TINY
        + """
[[structures]]
name = "atrium"
labels = [3]
"""
    )
    assert _run("--task", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out")) == 2
    assert "No image has the structure atrium" in capsys.readouterr().err
