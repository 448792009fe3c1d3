import gzip
import json
import resource
from dataclasses import replace

import numpy as np
import pytest

from fedliver.cases.case import SCHEMA_VERSION, Role, State, TeacherProvenance
from fedliver.ct_reader import SourceIdentity
from fedliver.errors import FedLiverError
from fedliver.image import Geometry, Volume

TEACHER = TeacherProvenance(name="starter", version="1", sha256="ab" * 32)


def test_a_ct_comes_back_voxel_by_voxel_on_its_exact_grid(store, patient):
    ct, _ = patient(1)
    case = store.add(ct)
    back = store.ct(store.case(case.pseudonym))
    assert back.array.dtype == np.int16
    np.testing.assert_array_equal(back.array, ct.volume.array)
    assert back.geometry == ct.volume.geometry


def test_a_ct_in_single_precision_keeps_its_fractions(store, patient):
    ct, _ = patient(1)
    fractional = replace(ct, volume=ct.volume.with_array(ct.volume.array.astype(np.float32) + 0.25))
    np.testing.assert_array_equal(store.ct(store.add(fractional)).array, fractional.volume.array)


def test_a_case_goes_from_added_to_segmented_to_approved(store, patient):
    ct, labels = patient(1)
    case = store.add(ct)
    assert (case.state, store.training_examples(), len(store.unlabelled_examples())) == (State.NEW, [], 1)
    case = store.attach(case, labels)
    assert (case.state, store.training_examples()) == (State.IN_CORRECTION, [])
    case = store.approve(case)
    assert case.state is State.APPROVED
    assert store.cases() == [case]
    [example] = store.training_examples()
    assert example.ct.is_file()
    assert example.labels is not None
    assert example.labels.is_file()
    assert store.unlabelled_examples() == []
    np.testing.assert_array_equal(store.labels(case).array, labels.array)


def test_the_same_scan_added_twice_is_one_case_and_keeps_its_segmentation(store, patient):
    ct, labels = patient(1)
    store.attach(store.add(ct), labels)
    assert store.add(ct).state is State.IN_CORRECTION
    assert len(store.cases()) == 1


def test_the_same_series_with_other_voxels_is_refused_in_words(store, patient):
    ct, _ = patient(1)
    store.add(ct)
    with pytest.raises(FedLiverError, match="with other voxels") as caught:
        store.add(replace(ct, volume=ct.volume.with_array(ct.volume.array + np.int16(1))))
    assert caught.value.code == "other-voxels"


def test_a_sheared_grid_that_nifti_cannot_hold_is_refused_and_leaves_nothing(store, patient):
    ct, _ = patient(1)
    grid = ct.volume.geometry
    sheared = Geometry(grid.size, grid.spacing, grid.origin, (1.0, 0.5, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    with pytest.raises(FedLiverError, match="right angles"):
        store.add(replace(ct, volume=Volume(ct.volume.array, sheared)))
    assert store.cases() == store.damaged() == []


@pytest.fixture
def little_room():
    """No file may grow beyond 20,000 bytes: for a writer the same as a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_while_adding_is_told_in_words_and_leaves_nothing(store, patient, tmp_path, little_room):
    with pytest.raises(FedLiverError, match="disk is full") as caught:
        store.add(patient(1)[0])
    assert caught.value.code == "disk-full"
    assert store.cases() == store.damaged() == []
    assert list((tmp_path / "cases" / ".staging").iterdir()) == []


def test_a_full_disk_while_attaching_keeps_the_segmentation_before(store, patient, request):
    ct, labels = patient(1)
    case = store.attach(store.add(ct), labels)
    request.getfixturevalue("little_room")
    noise = np.random.default_rng(0).integers(0, 250, labels.array.shape).astype(np.uint8)  # does not compress into what room there is
    with pytest.raises(FedLiverError, match="disk is full"):
        store.attach(case, labels.with_array(noise))
    np.testing.assert_array_equal(store.labels(store.case(case.pseudonym)).array, labels.array)


def test_no_byte_of_the_store_names_the_patient_or_the_source(store, patient, tmp_path, approve_patient):
    approve_patient(1)
    case = store.attach(store.add(patient(2)[0]), patient(2)[1], presegmentation=patient(2)[1], teacher=TEACHER)
    store.erase(approve_patient(3))
    store.exclude(case)
    identity = patient(1)[0].identity
    secrets = [part.encode() for part in (*identity.patient.split(), "Ottilie", "Rosenkavalier", "1.2.840.99999", identity.study, identity.series)]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    for path in files:
        raw = path.read_bytes()
        for content in [raw, gzip.decompress(raw)] if path.suffix == ".gz" else [raw]:
            assert not [s for s in secrets if s.lower() in content.lower() or s.lower() in str(path).encode().lower()]


def test_the_nifti_headers_hold_no_text(store, patient):
    path = store.ct_path(store.add(patient(1)[0]))
    header = gzip.decompress(path.read_bytes())[:348]
    description, auxiliary, intent = header[148:228], header[228:252], header[328:344]
    assert not (description + auxiliary + intent).strip(b"\0")
    assert not header[4:34].strip(b"\0r")  # data_type, db_name, regular


def test_the_record_says_which_teacher_and_what_the_clinician_changed(store, patient):
    ct, labels = patient(1)
    proposal = labels.with_array(np.where(np.arange(labels.array.shape[2]) < 20, labels.array, 0).astype(np.uint8))
    case = store.attach(store.add(ct), proposal, presegmentation=proposal, teacher=TEACHER)
    case = store.approve(store.attach(case, labels, seconds_spent=321.0))
    approval = store.case(case.pseudonym).approval
    assert approval.segmentation.teacher == TEACHER
    assert approval.segmentation.seconds_spent == 321.0
    missing = int(np.count_nonzero((labels.array > 0) & (proposal.array == 0))) * labels.geometry.voxel_ml
    assert approval.correction.liver.ml_added == pytest.approx(missing)
    assert approval.correction.liver.ml_removed == 0
    assert 0.3 < approval.correction.liver.dice < 0.9
    assert approval.approved_at.tzinfo is not None


def test_where_the_teacher_was_not_sure_stays_with_its_proposal_through_corrections(store, patient):
    ct, labels = patient(3)
    grid = Geometry((6, 5, 4), (1.5, 1.5, 1.5), (1.0, 2.0, 3.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))
    doubt = Volume(np.linspace(0, 1, 120, dtype=np.float32).reshape(grid.shape), grid)
    case = store.attach(store.add(ct), labels, presegmentation=labels, teacher=TEACHER, doubt=doubt)
    case = store.attach(case, labels.with_array(np.where(labels.array == 2, 1, labels.array)))
    kept = store.doubt(store.approve(case))
    assert kept.geometry.same_grid(grid)
    shown = doubt.array >= 0.2
    np.testing.assert_allclose(kept.array[shown], doubt.array[shown], atol=1 / 16)
    assert not kept.array[~shown].any()
    assert store.doubt(store.attach(case, labels, presegmentation=labels, teacher=TEACHER)) is None


def test_a_lost_map_of_doubt_costs_nothing_else(store, patient, tmp_path):
    ct, labels = patient(3)
    case = store.attach(store.add(ct), labels, presegmentation=labels, teacher=TEACHER, doubt=labels.with_array(np.ones(labels.array.shape, np.float32)))
    (store.ct_path(case).parent / "doubt-1.nii.gz").write_bytes(b"half a")
    assert store.doubt(case) is None
    np.testing.assert_array_equal(store.presegmentation(case).array, labels.array)


def test_approval_in_spite_of_a_soft_check_needs_a_reason_which_is_kept(store, patient):
    ct, labels = patient(1, radius_mm=30.0)
    case = store.attach(store.add(ct), labels)
    for reason in (None, "", "   "):
        with pytest.raises(FedLiverError, match="expected 200 to 6000 ml") as caught:
            store.approve(case, override_reason=reason)
        assert caught.value.code == "checks-failed"
    approval = store.approve(case, override_reason=" split liver transplant ").approval
    assert approval.override_reason == "split liver transplant"
    assert approval.overridden == ("liver-volume",)


def test_no_reason_overrides_a_hard_check(store, patient):
    ct, labels = patient(1)
    illegal = labels.array.copy()
    illegal[0, 0, 0] = 7
    case = store.attach(store.add(ct), labels.with_array(illegal))
    with pytest.raises(FedLiverError, match="mean nothing here"):
        store.approve(case, override_reason="because")
    assert store.training_examples() == []


def test_a_reason_is_not_kept_where_nothing_was_overridden(store, patient):
    ct, labels = patient(1)
    approval = store.approve(store.attach(store.add(ct), labels), override_reason="just in case").approval
    assert approval.override_reason is None


def test_a_case_without_segmentation_cannot_be_approved(store, patient):
    with pytest.raises(FedLiverError, match="no segmentation yet"):
        store.approve(store.add(patient(1)[0]))


def test_a_mask_on_another_grid_is_kept_as_draft_but_never_approved(store, patient):
    ct, labels = patient(1)
    moved = Volume(labels.array, replace(labels.geometry, origin=(0.0, 0.0, 0.0)))
    case = store.attach(store.add(ct), moved)
    assert [result.name for result in store.check(case) if not result.passed] == ["same-grid"]
    with pytest.raises(FedLiverError, match="another grid"):
        store.approve(case, override_reason="because")


def test_approving_twice_changes_nothing(store, approve_patient):
    case = store.case(approve_patient(1))
    assert store.approve(case) == case


def test_the_second_patient_and_then_every_fourth_is_held_out(store, approve_patient):
    names = [approve_patient(seed) for seed in range(10)]
    held_out = {store.case(name).pseudonym for name in names if store.case(name).role is Role.HELD_OUT}
    assert held_out == {names[1], names[5], names[9]}
    trained, judged = ({example.ct.parent.name for example in examples} for examples in (store.training_examples(), store.held_out_examples()))
    assert judged == held_out
    assert trained == set(names) - held_out


def test_a_role_survives_correction_exclusion_and_erasure(store, patient, approve_patient):
    approve_patient(1)
    name = approve_patient(2)
    for seed in (3, 4, 5):
        approve_patient(seed)
    ct, labels = patient(2)
    case = store.case(name)
    assert case.role is Role.HELD_OUT
    assert store.approve(store.attach(case, labels)).role is Role.HELD_OUT
    assert store.approve(store.exclude(case)).role is Role.HELD_OUT
    store.erase(name)
    with pytest.raises(FedLiverError, match="no case"):
        store.case(name)
    assert store.approve(store.attach(store.add(ct), labels)).role is Role.HELD_OUT


def test_another_scan_of_a_held_out_patient_never_trains_not_even_unlabelled(store, patient, approve_patient):
    approve_patient(1)
    approve_patient(2)
    (first, _), (other_scan, labels) = patient(2), patient(77)
    follow_up = replace(other_scan, identity=SourceIdentity(first.identity.patient, "1.9", "1.9.1"))
    case = store.add(follow_up)
    assert store.unlabelled_examples() == []
    assert store.approve(store.attach(case, labels)).role is Role.HELD_OUT
    assert case.pseudonym not in {example.ct.parent.name for example in store.training_examples()}


def test_a_copy_of_a_held_out_scan_under_another_identity_never_trains_unlabelled(store, patient, approve_patient):
    approve_patient(1)
    approve_patient(2)
    store.add(replace(patient(2)[0], identity=SourceIdentity("other", "other", "other")))
    assert store.unlabelled_examples() == []


def test_a_scan_cannot_count_twice(store, patient, approve_patient):
    first = approve_patient(1)
    ct, labels = patient(1)
    copy = replace(ct, identity=SourceIdentity("x", "y", "z"))
    case = store.attach(store.add(copy), labels)
    with pytest.raises(FedLiverError, match=f"already approved as {first}"):
        store.approve(case, override_reason="because")


def test_an_excluded_case_is_used_for_nothing_until_it_is_approved_again(store, approve_patient):
    approve_patient(2)
    case = store.exclude(store.cases()[0])
    assert case.state is State.EXCLUDED
    assert store.training_examples() == store.held_out_examples() == store.unlabelled_examples() == []
    store.approve(case)
    assert len(store.training_examples()) == 1


def test_erasing_leaves_no_image_behind(store, approve_patient, tmp_path):
    store.erase(approve_patient(1))
    assert list(tmp_path.rglob("*.nii.gz")) == []


def test_correcting_an_approved_case_again_keeps_the_approval_until_the_next_one(store, patient, approve_patient):
    case = store.case(approve_patient(1))
    [before] = store.training_examples()
    better = patient(1)[1]
    better.array[better.array == 2] = 1
    case = store.attach(case, better)
    assert store.training_examples() == [before]
    assert case.state is State.APPROVED
    store.approve(case)
    [after] = store.training_examples()
    assert after.labels != before.labels
    assert before.labels.is_file()  # a training run that is on its way may still read it


def test_a_case_that_changed_while_it_was_being_checked_is_not_approved(store, patient, monkeypatch):
    ct, labels = patient(1)
    case = store.attach(store.add(ct), labels)
    original = store._duplicate

    def meanwhile(*arguments):
        monkeypatch.setattr(store, "_duplicate", original)
        store.attach(case, labels)
        return original(*arguments)

    monkeypatch.setattr(store, "_duplicate", meanwhile)
    with pytest.raises(FedLiverError, match="in the meantime"):
        store.approve(case)


def test_a_case_from_a_newer_version_stops_the_store_in_words(store, approve_patient):
    record = store.ct_path(store.case(approve_patient(1))).parent / "case.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"schema_version": SCHEMA_VERSION + 1, "novelty": True}))
    with pytest.raises(FedLiverError, match="newer FedLiverSlicer") as caught:
        store.cases()
    assert caught.value.code == "newer-store"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 1}', "\0\0\0"])
def test_a_damaged_record_is_named_not_listed_and_its_labels_are_not_lost(store, patient, approve_patient, content):
    name = approve_patient(1)
    folder = store.ct_path(store.case(name)).parent
    (folder / "case.json").write_text(content)
    assert (store.cases(), store.damaged()) == ([], [name])
    with pytest.raises(FedLiverError, match="restore its folder") as caught:
        store.add(patient(1)[0])
    assert caught.value.code == "case-damaged"
    assert (folder / "labels-1.nii.gz").is_file()
    store.erase(name)
    assert store.damaged() == []


def test_a_folder_without_its_ct_is_not_listed(store, approve_patient):
    name = approve_patient(1)
    store.ct_path(store.case(name)).unlink()
    assert (store.cases(), store.damaged(), store.training_examples()) == ([], [name], [])


def test_a_record_cannot_point_outside_its_folder(store, approve_patient):
    record = store.ct_path(store.case(approve_patient(1))).parent / "case.json"
    record.write_text(record.read_text().replace("labels-1.nii.gz", "../../x.nii.gz"))
    assert store.cases() == []


def test_a_case_is_found_by_the_beginning_of_its_pseudonym(store, approve_patient):
    name = approve_patient(1)
    assert store.case(name[2:7].lower()).pseudonym == name
    for unknown in ("", "C-", "../..", "ZZZZZZZZ"):
        if unknown != "C-":
            with pytest.raises(FedLiverError, match="no case"):
                store.case(unknown)


def test_the_images_are_for_the_owner_only(store, approve_patient, tmp_path):
    approve_patient(1)
    assert (tmp_path / "cases").stat().st_mode & 0o077 == 0
