import pytest

from fedliver.cases.pseudonym import case_pseudonym, is_case_pseudonym, patient_pseudonym
from fedliver.ct_reader import SourceIdentity

HERE, ELSEWHERE = b"a" * 32, b"b" * 32
SCAN = SourceIdentity("ID-17", "1.2.3", "1.2.3.4")


def test_the_same_scan_gets_the_same_pseudonym_at_one_site_and_another_at_another():
    assert case_pseudonym(HERE, SCAN) == case_pseudonym(HERE, SourceIdentity("ID-17", "1.2.3", "1.2.3.4"))
    assert case_pseudonym(HERE, SCAN) != case_pseudonym(ELSEWHERE, SCAN)


def test_a_pseudonym_has_the_form_that_may_become_a_folder():
    assert is_case_pseudonym(case_pseudonym(HERE, SCAN))
    assert not is_case_pseudonym(patient_pseudonym(HERE, SCAN))


@pytest.mark.parametrize("name", ["C-../../../../etc", "C-" + "A" * 15, "C-" + "A" * 16 + "\n", "c-" + "A" * 16, ""])
def test_other_names_are_no_pseudonyms(name):
    assert not is_case_pseudonym(name)


def test_two_series_of_one_patient_share_the_patient_but_not_the_case():
    other = SourceIdentity("ID-17", "1.2.9", "1.2.9.1")
    assert patient_pseudonym(HERE, SCAN) == patient_pseudonym(HERE, other)
    assert case_pseudonym(HERE, SCAN) != case_pseudonym(HERE, other)


def test_where_the_parts_of_an_identity_are_cut_makes_a_difference():
    assert case_pseudonym(HERE, SourceIdentity("a|b", "c", "d")) != case_pseudonym(HERE, SourceIdentity("a", "b|c", "d"))


def test_scans_without_a_patient_id_do_not_all_become_one_patient():
    assert patient_pseudonym(HERE, SourceIdentity(" ", "1.2", "x")) != patient_pseudonym(HERE, SourceIdentity(" ", "1.3", "x"))


def test_a_short_secret_is_refused():
    with pytest.raises(ValueError, match="too short"):
        case_pseudonym(b"", SCAN)
