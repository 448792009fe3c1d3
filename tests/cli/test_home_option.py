"""Which site a command means: a mistyped ``--home`` is told, and neither becomes a site nor gets an answer in the name of one."""

from pathlib import Path

import click
import pytest
import typer

from fedliver.cli.main import app, main
from fedliver.coordinator.home import CoordinatorHome
from fedliver.site.home import SiteHome

NEED_A_SITE = (
    "case segment C-X",
    "case attach C-X labels.nii.gz",
    "case check C-X",
    "case approve C-X",
    "case export C-X --labels labels.nii.gz",
    "case list",
    "case show C-X",
    "case next",
    "case presegment",
    "case exclude C-X",
    "case include C-X",
    "case erase C-AAAAAAAAAAAAAAAA",
    "teacher list",
    "teacher show",
    "teacher adopt bundle --force",
    "teacher rollback",
    "teacher log",
    "teacher export starter out",
    "site join",
    "site leave",
    "site status",
    "site test",
    "site rules",
    "site rules --minimum-cases 9",
    "site ledger show",
    "site ledger verify",
)
BEGIN_A_SITE = ("case add ct.nii.gz", "case import scans", "teacher import bundle", "site enrol invitation.json")
MAKE_AN_ENVIRONMENT = ("site environment create",)
LOOK = ("case list", "case next", "teacher list", "teacher log", "site status")


def answer(capsys: pytest.CaptureFixture[str], words: str, *more: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([*words.split(), *map(str, more)])
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    return int(ended.value.code or 0), printed.out, printed.err


def commands(command: click.Command, name: str = "") -> dict[str, click.Command]:
    if isinstance(command, click.Group):
        return {path: one for word, each in command.commands.items() for path, one in commands(each, f"{name} {word}".strip()).items()}
    return {name: command}


def options_for_a_site() -> dict[str, click.Parameter]:
    """The option ``--home`` of every command that has one, but the coordinator's."""
    found = {path: [one for one in command.params if one.name == "home"] for path, command in commands(typer.main.get_command(app)).items()}
    return {path: options[0] for path, options in found.items() if options and not path.startswith("coordinator ")}


@pytest.fixture(autouse=True)
def new_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of FedLiver is there yet, and the working directory is an empty one."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.delenv("FEDLIVER_HOME", raising=False)
    return tmp_path


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_no_command_for_a_site_is_left_out_here_and_all_have_the_same_option() -> None:
    options = options_for_a_site()
    listed = {path for path in options if any(words.startswith(path) for words in (*NEED_A_SITE, *BEGIN_A_SITE, *MAKE_AN_ENVIRONMENT))}
    assert set(options) - listed == {"segment", "train", "app"}
    assert {getattr(option, "help", None) for option in options.values()} == {"The site's folder. Default: $FEDLIVER_HOME or ~/.fedliver."}


@pytest.mark.parametrize("words", NEED_A_SITE)
@pytest.mark.parametrize("place", ["typo", "empty", "thesis"])
def test_a_mistyped_folder_is_told_with_exit_code_2_and_does_not_become_a_site(
    words: str, place: str, new_computer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (new_computer / "empty").mkdir()
    (new_computer / "thesis" / "teachers").mkdir(parents=True)
    before = everything_in(new_computer)
    code, out, err = answer(capsys, words, "--home", new_computer / place)
    assert (code, out) == (2, "")
    assert err.startswith(f"fedliver: There is no site in {new_computer / place}: ")
    assert len(err.splitlines()) == 1
    assert everything_in(new_computer) == before


@pytest.mark.parametrize("words", [*NEED_A_SITE, "site enrol invitation.json", "teacher import bundle"])
def test_a_coordinators_folder_is_refused_and_stays_as_it_is(words: str, new_computer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (new_computer / "C" / "teachers").mkdir(parents=True)
    CoordinatorHome(new_computer / "C").settings_file.touch()
    before = everything_in(new_computer)
    code, out, err = answer(capsys, words, "--home", new_computer / "C")
    assert (code, out) == (2, "")
    assert f"{new_computer / 'C'} holds a coordinator, not a site" in err
    assert everything_in(new_computer) == before


@pytest.mark.parametrize("words", LOOK)
@pytest.mark.parametrize("variable", [False, True])
def test_on_a_new_computer_a_look_says_kindly_that_nothing_is_here_yet_and_where_it_looked(
    words: str, variable: bool, new_computer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("FEDLIVER_HOME", str(new_computer / "elsewhere"))
    code, out, err = answer(capsys, words)
    assert code == (1 if words == "case next" else 0), "1: no case waits, as next says it everywhere"
    assert out.startswith(f"Nothing is here yet: a site in {new_computer / ('elsewhere' if variable else 'user/.fedliver')} begins with")
    assert err == ""
    assert everything_in(new_computer) == {"work"}


@pytest.mark.parametrize("words", [words for words in NEED_A_SITE if words not in LOOK and not words.startswith("teacher adopt")])
def test_on_a_new_computer_nothing_is_vouched_for_and_nothing_is_changed(words: str, new_computer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A site elsewhere may be joined, and its ledger full."""
    code, out, err = answer(capsys, words)
    assert (code, out) == (2, "")
    assert f"There is no site in {new_computer / 'user' / '.fedliver'}" in err
    assert everything_in(new_computer) == {"work"}


def test_a_site_that_is_there_answers_as_ever(new_computer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = SiteHome.open(new_computer / "site").path
    for words, said in {
        "case list": "No case yet",
        "teacher log": "Nothing was decided yet",
        "site status": "Not enrolled",
        "site leave": "Left: no process",
        "site ledger show": "Nothing has left this site",
        "site ledger verify": "The ledger is empty",
        "site rules --minimum-cases 9": "at least 9 patients trained it",
    }.items():
        code, out, err = answer(capsys, words, "--home", home)
        assert (code, err) == (0, "")
        assert said in out


def test_a_new_computer_segments_with_the_shipped_teacher_and_a_mistyped_folder_does_not(new_computer: Path) -> None:
    from fedliver.cli.segment import _current_teacher
    from fedliver.errors import FedLiverError
    from fedliver.teacher.bundle import STARTER

    assert _current_teacher(None) == STARTER
    with pytest.raises(FedLiverError, match="There is no site in"):
        _current_teacher(new_computer / "typo")
    assert everything_in(new_computer) == {"work"}


@pytest.mark.parametrize(("coordinators", "made"), [(True, {"coordinator.json"}), (False, {"cases", "teachers", "federation"})])
def test_a_coordinators_environment_is_made_without_a_site_around_it(
    coordinators: bool, made: set[str], new_computer: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    monkeypatch.setattr("fedliver.site.environment.create_environment", lambda home, wheels, show: asked.append(home))
    folder = new_computer / "folder"
    if coordinators:
        folder.mkdir()
        CoordinatorHome(folder).settings_file.touch()
    assert answer(capsys, "site environment create", "--home", folder)[0] == 0
    assert asked == [folder]
    assert everything_in(folder) == made
