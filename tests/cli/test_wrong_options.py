"""Options that cannot be meant are refused before anything long begins, and nobody's own folder is replaced."""

from pathlib import Path

import pytest

from fedliver.cli.main import main


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train", "--minutes", "nan"), "minutes"),
        (("pretrain", "--data", ".", "--out", "t", "--minutes", "inf"), "minutes"),
        (("pretrain", "--data", ".", "--out", "t", "--fine-mm", "0"), "fine-mm"),
        (("dataset", "generate", "d", "--spacing", "nan"), "spacing"),
        (("study", "labels", "--out", "o", "--seeds", "0"), "seeds"),
        (("study", "labels", "--out", "o", "--steps", "0"), "steps"),
        (("study", "labels", "--out", "o", "--labelled=-1,a"), "not numbers from 1 on"),
        (("study", "order", "--out", "o", "--steps", "-1"), "steps"),
        (("study", "effort", "--out", "o", "--folds", "-1"), "folds"),
        (("evaluate", "a.nii.gz", "b.nii.gz", "--teacher", "t"), "go with --dataset"),
        (("demo", "--reference", "r.nii.gz"), "give --ct"),
        (("card", "bundle", "--data", ".", "--text", "missing.md"), "missing.md"),
        (("card", "bundle", "--data", ".", "--text", "."), "text"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
):
    monkeypatch.chdir(tmp_path)
    assert _run(*arguments) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_card_text_that_is_no_text_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "text.md").write_bytes(b"\xff\xfe\x00")
    assert _run("card", tmp_path, "--data", tmp_path, "--text", tmp_path / "text.md") == 2
    assert "not text in UTF-8" in capsys.readouterr().err


def test_what_the_disk_refuses_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("a file where a folder is wanted")
    assert _run("dataset", "generate", tmp_path / "file", "--patients", "2") == 2
    error = capsys.readouterr().err
    assert "cannot be used" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    "command", [("pretrain", "--data", "{mine}", "--out", "{mine}", "--minutes", "1"), ("demo", "--out", "{parent}")], ids=lambda command: command[0]
)
def test_somebodys_own_folder_is_refused_before_any_work_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]):
    mine = tmp_path / "work"
    assert _run("dataset", "generate", mine, "--patients", "4", "--spacing", "8") == 0
    (mine / "thesis.tex").write_text("years of work")
    before = sorted(mine.rglob("*"))
    assert _run(*(part.format(mine=mine, parent=tmp_path) for part in command)) == 2
    assert "there already, with other things in it" in capsys.readouterr().err
    assert sorted(mine.rglob("*")) == before
