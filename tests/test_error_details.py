"""Details of an error help whoever helps, and say nothing of a patient: no message of a library, no folder."""

from pathlib import Path

import SimpleITK as sitk

from fedliver.error_details import details_of
from fedliver.errors import FedLiverError

PATIENT = "Mustermann_Erika_1950"


def read(path: Path) -> None:
    try:
        sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise FedLiverError("unreadable-image", f"{path} cannot be read.") from error


def failure(path: Path) -> BaseException:
    try:
        read(path)
    except FedLiverError as error:
        return error
    raise AssertionError("it was read")


def test_kinds_codes_and_places_are_told_along_the_chain(tmp_path: Path) -> None:
    details = details_of(failure(tmp_path / "ct.nii.gz"))
    assert "FedLiverError (unreadable-image)" in details
    assert "RuntimeError" in details
    assert "test_error_details.py" in details
    assert "SimpleITK/" in details
    assert "Python" in details.splitlines()[-1]


def test_no_message_no_folder_and_no_file_of_the_users_is_in_it(tmp_path: Path) -> None:
    error = failure(tmp_path / PATIENT / "ct.nii.gz")
    assert PATIENT in str(error), "there is something to hide"
    details = details_of(error)
    assert PATIENT not in details
    assert str(tmp_path) not in details
    assert str(Path.home()) not in details


def test_errors_that_are_each_others_cause_come_to_an_end() -> None:
    first, second = ValueError("one"), KeyError("two")
    first.__cause__, second.__cause__ = second, first
    assert details_of(first).count("builtins.") == 2
