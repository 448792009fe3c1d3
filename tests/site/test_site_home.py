import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedliver.ct_reader import Ct, SourceIdentity
from fedliver.errors import FedLiverError
from fedliver.phantom import PhantomSettings, generate
from fedliver.site.home import SiteHome


def test_the_home_is_where_it_is_asked_for_then_where_the_variable_says_then_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("FEDLIVER_HOME", raising=False)
    assert SiteHome.locate().path == tmp_path / ".fedliver"
    monkeypatch.setenv("FEDLIVER_HOME", "~/elsewhere")
    assert SiteHome.locate().path == tmp_path / "elsewhere"
    assert SiteHome.locate(tmp_path / "asked").path == tmp_path / "asked"
    assert list(tmp_path.iterdir()) == []


def test_opening_makes_the_home_for_its_owner_only(tmp_path):
    home = SiteHome.open(tmp_path / "deep" / "home")
    for folder in (home.path, home.cases, home.teachers, home.federation):
        assert folder.stat().st_mode & 0o777 == 0o700
    home.cases.chmod(0o755)
    assert SiteHome.open(home.path).cases.stat().st_mode & 0o777 == 0o700


def test_a_folder_with_other_things_in_it_keeps_its_mode_but_ours_in_it_are_closed(tmp_path):
    (tmp_path / "thesis.docx").touch()
    tmp_path.chmod(0o755)
    for _ in range(2):
        home = SiteHome.open(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert home.cases.stat().st_mode & 0o777 == 0o700


def test_the_secret_is_made_once_and_for_the_owner_only(tmp_path):
    home = SiteHome.open(tmp_path / "home")
    secret = home.secret()
    assert (len(secret), SiteHome.open(home.path).secret()) == (32, secret)
    assert home.secret_file.stat().st_mode & 0o777 == 0o600
    assert SiteHome.open(tmp_path / "other").secret() != secret
    assert {path.name for path in home.path.iterdir()} == {"cases", "teachers", "federation", "secret.key"}


def test_many_at_once_agree_on_one_secret(tmp_path):
    home = SiteHome.open(tmp_path)
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: home.secret(), range(64)))) == 1


def test_a_damaged_secret_is_told_in_words(tmp_path):
    home = SiteHome.open(tmp_path)
    home.secret_file.write_bytes(b"short")
    with pytest.raises(FedLiverError, match="damaged"):
        home.secret()


def test_a_lost_secret_is_not_replaced_while_there_are_cases(tmp_path):
    home = SiteHome.open(tmp_path)
    home.secret()
    home.secret_file.unlink()
    (home.cases / "C-AAAAAAAAAAAAAAAA").mkdir()
    with pytest.raises(FedLiverError, match="restore it from a backup"):
        home.secret()
    assert not home.secret_file.exists()


def test_a_home_that_cannot_be_made_is_told_in_words(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FedLiverError, match="cannot be made") as caught:
        SiteHome.open(tmp_path / "file" / "home")
    assert caught.value.code == "home-not-writable"
    with pytest.raises(FedLiverError, match="cannot be made"):
        SiteHome.open(tmp_path / "file")


def test_a_folder_without_a_site_is_not_taken_for_one_and_none_is_made_in_it(tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").touch()
    (tmp_path / "file").touch()
    for place in ("typo", "deep/typo", "other", "file", "file/typo"):
        with pytest.raises(FedLiverError) as caught:
            SiteHome.existing(tmp_path / place)
        assert caught.value.code == "no-site"
        assert caught.value.sentence.startswith(f"There is no site in {tmp_path / place}: ")
    assert {path.name for path in tmp_path.rglob("*")} == {"other", "thesis.docx", "file"}


def test_a_site_that_has_begun_is_found_also_after_its_cases_were_moved_away(tmp_path):
    home = SiteHome.open(tmp_path / "home")
    home.cases.rmdir()
    assert SiteHome.existing(tmp_path / "home") == home
    assert home.cases.is_dir()


def test_a_coordinators_folder_is_no_site_and_nothing_is_put_into_it(tmp_path):
    from fedliver.coordinator.home import CoordinatorHome

    CoordinatorHome(tmp_path).settings_file.touch()
    for find in (SiteHome.open, SiteHome.existing):
        with pytest.raises(FedLiverError, match="holds a coordinator, not a site") as caught:
            find(tmp_path)
        assert caught.value.code == "coordinators-folder"
    assert list(tmp_path.iterdir()) == [CoordinatorHome(tmp_path).settings_file]


def test_a_home_that_cannot_be_read_is_told_in_words_and_not_called_absent(tmp_path, monkeypatch):
    def locked(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.listdir", locked)
    with pytest.raises(FedLiverError, match=r"cannot be read \(Permission denied\)") as caught:
        SiteHome.existing(tmp_path)
    assert caught.value.code == "home-not-readable"


def test_importing_the_home_loads_nothing_heavy():
    logic = Path(__file__).parents[2] / "FedLiverSlicer" / "Logic"
    heavy = "'torch', 'monai', 'flwr', 'SimpleITK'"
    script = f"import sys; sys.path.insert(0, {str(logic)!r}); import fedliver.site.home; print([m for m in ({heavy}) if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_patients_of_scans_that_may_teach_without_approval_are_counted_once_and_held_out_ones_not(tmp_path):
    store = SiteHome.open(tmp_path).store()

    def scan(patient: str, series: int):
        ct, labels = generate(PhantomSettings(seed=series, spacing_mm=(8.0, 8.0, 8.0), lesions=1))
        return store.add(Ct(ct, SourceIdentity(patient, "study", f"series {series}"), ())), labels

    for patient, series in (("first", 1), ("second", 2)):
        case, labels = scan(patient, series)
        store.approve(store.attach(case, labels))
    for patient, series in (("first", 3), ("second", 4), ("third", 5), ("third", 6), ("fourth", 7)):
        scan(patient, series)
    store.exclude(scan("fifth", 8)[0])
    counted = SiteHome.open(tmp_path).patients()
    assert (counted.training, counted.held_out, counted.unlabelled) == (1, 1, 2)
    assert (counted.teaching(unlabelled=True), counted.teaching(unlabelled=False)) == (3, 1)
