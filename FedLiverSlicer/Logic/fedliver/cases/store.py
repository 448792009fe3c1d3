"""The case store of one site: scans, segmentations and approvals. It never leaves this machine and names no patient.

A case is new (the CT is here), pre-segmented (a teacher's labels are attached), in correction (a person changed them), and approved (a
clinician stands for them); or it is excluded, and used for nothing. Only approved cases train; of those, some are held out to judge
new teachers.

The held-out rule
-----------------
Roles are given per *patient*, at the first approval of any of the patient's scans: the first patient trains, the second is held
out, and from there every fourth (2, 6, 10, ...). A role is never changed: not by a later correction, not by excluding and
approving again, not by erasing the scans and adding them anew. Scans of a held-out patient are never handed out for training, not
even as unlabelled ones. A scan that had been used unlabelled before its approval may still become held out: nobody drew on it then.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import TypeAdapter

from fedliver.cases import checks, fingerprint, pseudonym
from fedliver.cases.appearance import appearance
from fedliver.cases.case import Approval, Attached, Case, Fingerprint, Grid, LookAt, Role, State, TeacherProvenance
from fedliver.cases.case_files import CT_FILE, CaseFiles, holds_grid, read_volume
from fedliver.cases.checks import CheckResult
from fedliver.cases.correction import correction
from fedliver.cases.doubt_levels import from_levels, in_levels
from fedliver.errors import FedLiverError
from fedliver.files import write_text
from fedliver.image import Volume

if TYPE_CHECKING:
    from fedliver.cases.examples import Example
    from fedliver.ct_reader import Ct

_ERASED_ROLES = TypeAdapter(dict[str, Role])


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


class CaseStore:
    """Parameters
    ----------
    home:
        The site's folder; the store keeps to ``home/cases``.
    secret:
        The site's secret, which the pseudonyms are made with. Only adding needs it: what merely reads cases can go without.
    clock:
        Tells the time, with a time zone.
    wait_seconds:
        How long a write waits for another process that is writing, before FedLiverError ``store-busy``.
    """

    def __init__(self, home: Path, secret: bytes | None = None, clock: Callable[[], datetime] = now, wait_seconds: float = 5.0) -> None:
        self._secret = secret
        self._clock = clock
        self._files = CaseFiles(home / "cases", wait_seconds)
        self._files.sweep()

    # ---- what is here

    def cases(self) -> list[Case]:
        """Every whole case, in the order of their adding. Raises FedLiverError ``newer-store``."""
        return self.look()[0]

    def look(self) -> tuple[list[Case], list[str]]:
        """:meth:`cases` and :meth:`damaged` in one reading."""
        cases, damaged = self._files.read_all()
        return sorted(cases, key=lambda case: (case.added_at.timestamp(), case.pseudonym)), damaged

    def damaged(self) -> list[str]:
        """Pseudonyms of cases whose record cannot be read; nothing uses them."""
        return self.look()[1]

    def case(self, name: str) -> Case:
        """The case with this pseudonym, or with a pseudonym that begins so. Raises FedLiverError ``no-such-case``."""
        wanted = name.strip().upper()
        if pseudonym.is_case_pseudonym(wanted):
            return self._files.read(wanted)
        found = [case for case in self.cases() if case.pseudonym.removeprefix("C-").startswith(wanted.removeprefix("C-"))] if wanted else []
        if len(found) == 1:
            return found[0]
        if found:
            raise FedLiverError("no-such-case", f"{len(found)} cases begin with {wanted[:20]}: give more characters.")
        raise FedLiverError("no-such-case", f"There is no case {wanted[:20]!r} here: `fedliver case list` shows them.")

    def ct(self, case: Case) -> Volume:
        """The CT of a case, in Hounsfield units, on its exact grid."""
        volume = read_volume(self.ct_path(case), case.pseudonym)
        if not volume.geometry.same_grid(case.grid.geometry, tolerance_mm=0.01):
            raise FedLiverError("case-damaged", f"The CT of case {case.pseudonym} is not the one that was added: erase the case and add the scan again.")
        return Volume(volume.array, case.grid.geometry)

    def ct_path(self, case: Case) -> Path:
        return self._files.folder(case.pseudonym) / CT_FILE

    def labels(self, case: Case) -> Volume:
        """The newest labels of a case: the draft, or else the approved ones. Raises FedLiverError ``no-segmentation``."""
        return self._volume(case, _newest(case).labels_file)

    def approved_labels(self, case: Case) -> Volume:
        """The labels that a clinician stands for, also while newer ones wait. Raises FedLiverError ``no-segmentation``."""
        if case.approval is None:
            raise FedLiverError("no-segmentation", f"Case {case.pseudonym} is not approved: approve it first.")
        return self._volume(case, case.approval.segmentation.labels_file)

    def is_scan_of(self, case: Case, identity: pseudonym.Identity) -> bool:
        """Whether this is the scan that the case was made from. False also where the store was opened without the site's secret."""
        return self._secret is not None and pseudonym.case_pseudonym(self._secret, identity) == case.pseudonym

    def presegmentation(self, case: Case) -> Volume | None:
        """What the teacher proposed for the newest labels."""
        name = _newest(case).presegmentation_file
        return self._volume(case, name) if name else None

    def doubt(self, case: Case) -> Volume | None:
        """Where the teacher was not sure of that, 0 to 1 in eight levels, on a grid of its own. None where nothing was kept, or what was cannot be read:
        outlines are worth opening without it."""
        name = _newest(case).doubt_file
        try:
            levels = read_volume(self._files.folder(case.pseudonym) / name, case.pseudonym) if name else None
        except FedLiverError:
            return None
        return levels.with_array(from_levels(levels.array)) if levels is not None else None

    # ---- the life of a case

    def add(self, ct: "Ct") -> Case:
        """Keep a CT. The same scan added again is the same case.

        Raises
        ------
        FedLiverError
            ``other-voxels``: the scan is here with other voxels; ``grid-not-storable``; ``case-damaged``. Also what :func:`fedliver.files.write_folder` raises.
        """
        if self._secret is None:
            raise ValueError("a store that was opened without the site's secret cannot add cases")
        case = Case(
            pseudonym=pseudonym.case_pseudonym(self._secret, ct.identity),
            patient=pseudonym.patient_pseudonym(self._secret, ct.identity),
            added_at=self._clock(),
            ct_sha256=fingerprint.ct_sha256(ct.volume),
            grid=Grid.of(ct.volume.geometry),
            appearance=appearance(ct.volume),
        )
        if existing := self._already_here(case):
            return existing
        with self._files.staging() as staging:
            self._files.write_new(case, _storable(ct.volume), staging)
            _reads_back(staging / case.pseudonym / CT_FILE, case)
            with self._files.locked():
                if existing := self._already_here(case):
                    return existing
                self._files.publish_new(case, staging)
        return case

    def attach(
        self,
        case: Case,
        labels: Volume,
        presegmentation: Volume | None = None,
        teacher: TeacherProvenance | None = None,
        seconds_spent: float | None = None,
        expected_dice: float | None = None,
        places: tuple[LookAt, ...] = (),
        doubt: Volume | None = None,
    ) -> Case:
        """Keep ``labels`` as the case's draft, with the teacher's proposal that they were made from.

        Without ``presegmentation``, that of the draft (or approval) before stays, and its teacher, ``expected_dice``, ``places`` and ``doubt`` with it: so
        attach the teacher's proposal first and the corrected labels after. An approval that is there stays in force until the draft is approved.
        ``expected_dice``: 0 to 1, what the teacher expects of its own proposal; the worklist's strategy ``uncertainty`` orders by it.
        ``places``: where it was least sure; ``doubt``: how sure it was, 0 (sure) to 1 (undecided), on a grid of its own.
        """
        edited = presegmentation is None or not np.array_equal(labels.array, presegmentation.array)
        with self._files.staging() as staging:
            self._files.write_labels(labels, staging, "labels.nii.gz")
            names = ["labels"]
            if presegmentation is not None:
                self._files.write_labels(presegmentation, staging, "presegmentation.nii.gz")
                names.append("presegmentation")
            if presegmentation is not None and doubt is not None:
                self._files.write_volume(doubt.with_array(in_levels(doubt.array)), staging, "doubt.nii.gz")
                names.append("doubt")
            with self._files.locked():
                current = self._files.read(case.pseudonym)
                number = current.revisions + 1
                before = current.draft or (current.approval.segmentation if current.approval else None)
                files = {name: f"{name}-{number}.nii.gz" for name in names}
                for name, file in files.items():
                    (staging / f"{name}.nii.gz").replace(staging / file)
                kept = before if presegmentation is None else None
                draft = Attached(
                    labels_file=files["labels"],
                    presegmentation_file=kept.presegmentation_file if kept else files.get("presegmentation"),
                    doubt_file=kept.doubt_file if kept else files.get("doubt"),
                    teacher=teacher or (kept.teacher if kept else None),
                    expected_dice=kept.expected_dice if kept else expected_dice,
                    places=kept.places if kept else places,
                    edited=edited,
                    seconds_spent=seconds_spent,
                    attached_at=self._clock(),
                )
                changed = current.model_copy(update={"draft": draft})
                self._files.publish(changed, staging, tuple(files.values()))
        return changed

    def check(self, case: Case) -> list[CheckResult]:
        """The checklist of the newest labels. Raises FedLiverError ``no-segmentation``."""
        checked = checks.check(self.ct(case), self.labels(case))
        return [*checked.results, self._duplicate(case, checked.fingerprint, self.cases())]

    def approve(self, case: Case, override_reason: str | None = None) -> Case:
        """Make the draft count: from now on the case trains, or judges teachers. Approving twice changes nothing.

        Raises
        ------
        FedLiverError
            ``no-segmentation``, ``checks-failed`` (a failed check that has no override, or has one and no reason was given),
            ``case-changed`` (another process changed it while it was being checked).
        """
        case = self._files.read(case.pseudonym)
        if case.draft is None and case.approval is not None:
            return case
        draft = _newest(case)
        ct, labels = self.ct(case), self.labels(case)
        checked = checks.check(ct, labels)
        proposal = self.presegmentation(case)
        with self._files.locked(), self._files.staging() as staging:
            everyone = self.cases()
            results = [*checked.results, self._duplicate(case, checked.fingerprint, everyone)]
            overridden = _overridden(results, override_reason)
            assert checked.fingerprint is not None  # noqa: S101 every check that has no override passed, so there is a liver
            approval = Approval(
                segmentation=draft,
                correction=correction(proposal, labels) if proposal is not None and proposal.geometry.same_grid(labels.geometry) else None,
                fingerprint=checked.fingerprint,
                approved_at=self._clock(),
                overridden=overridden,
                override_reason=override_reason.strip() if overridden and override_reason else None,
            )
            current = self._files.read(case.pseudonym)
            if current.draft != draft:
                raise FedLiverError("case-changed", "The case was changed in another window in the meantime: look at it again, then approve.")
            earlier = (*current.earlier, current.approval) if current.approval else current.earlier
            role = current.role or self._role_of(current, everyone)
            update = {"draft": None, "approval": approval, "earlier": earlier, "role": role, "withdrawn_at": None, "exclusion_reason": None}
            approved = current.model_copy(update=update)
            self._files.publish(approved, staging)
        return approved

    def exclude(self, case: Case, reason: str | None = None) -> Case:
        """Take the case out: it neither trains nor judges, also not unlabelled, and does not wait to be annotated. Approved labels become the draft."""
        with self._files.locked(), self._files.staging() as staging:
            current = self._files.read(case.pseudonym)
            approval = current.approval
            update: dict[str, object] = {"approval": None, "withdrawn_at": self._clock(), "exclusion_reason": (reason or "").strip()[:1000] or None}
            if approval is not None:
                update |= {"draft": current.draft or approval.segmentation, "earlier": (*current.earlier, approval)}
            excluded = current.model_copy(update=update)
            self._files.publish(excluded, staging)
        return excluded

    def include(self, case: Case) -> Case:
        """Take an excluded case in again; it waits to be annotated and approved. Changes nothing where the case is not excluded."""
        with self._files.locked(), self._files.staging() as staging:
            current = self._files.read(case.pseudonym)
            if current.withdrawn_at is None:
                return current
            included = current.model_copy(update={"withdrawn_at": None, "exclusion_reason": None})
            self._files.publish(included, staging)
        return included

    def erase(self, name: str) -> None:
        """Remove the case with this pseudonym, damaged or whole, and all its images. Only the patient pseudonym's role is remembered."""
        with self._files.locked(), self._files.staging() as staging:
            try:
                case = self._files.read(name)
            except FedLiverError as error:
                if error.code != "case-damaged":
                    raise
            else:
                self._remember_role(case, staging)
            self._files.erase(name, staging)

    # ---- what training and judging get

    def training_examples(self) -> list["Example"]:
        """Approved cases that train."""
        return [self._example(case) for case in self.cases() if case.state is State.APPROVED and case.role is Role.TRAINING]

    def held_out_examples(self) -> list["Example"]:
        """Approved cases that judge teachers and never train."""
        return [self._example(case) for case in self.cases() if case.state is State.APPROVED and case.role is Role.HELD_OUT]

    def unlabelled_examples(self) -> list["Example"]:
        """Cases without an approval, less excluded ones and every scan of a held-out patient."""
        from fedliver.cases.examples import Example

        return [Example(self.ct_path(case), None) for case in self.teaching_without_labels(self.cases())]

    def teaching_without_labels(self, cases: list[Case]) -> list[Case]:
        """Those of ``cases`` that :meth:`unlabelled_examples` are made of."""
        held_out_patients = {patient for patient, role in self._roles(cases).items() if role is Role.HELD_OUT}
        held_out_scans = {case.ct_sha256 for case in cases if case.role is Role.HELD_OUT}
        return [
            case
            for case in cases
            if case.approval is None and case.withdrawn_at is None and case.patient not in held_out_patients and case.ct_sha256 not in held_out_scans
        ]

    # ---- inside

    def _example(self, case: Case) -> "Example":
        from fedliver.cases.examples import Example

        assert case.approval is not None  # noqa: S101 the callers ask for approved cases
        return Example(self.ct_path(case), self._files.folder(case.pseudonym) / case.approval.segmentation.labels_file)

    def _already_here(self, case: Case) -> Case | None:
        try:
            existing = self._files.read(case.pseudonym)
        except FedLiverError as error:
            if error.code == "no-such-case":
                return None
            raise
        if existing.ct_sha256 != case.ct_sha256:
            sentence = (
                f"This series is in the store as {case.pseudonym}, with other voxels: open the original scan, not a cropped or resampled one, "
                f"or remove the old one with `fedliver case erase {case.pseudonym}`."
            )
            raise FedLiverError("other-voxels", sentence)
        return existing

    def _volume(self, case: Case, file: str) -> Volume:
        volume = read_volume(self._files.folder(case.pseudonym) / file, case.pseudonym)
        return Volume(volume.array, case.grid.geometry) if volume.geometry.same_grid(case.grid.geometry) else volume

    def _duplicate(self, case: Case, measured: Fingerprint | None, cases: list[Case]) -> CheckResult:
        known = [
            checks.KnownScan(other.pseudonym, other.ct_sha256, other.approval.fingerprint)
            for other in cases
            if other.approval is not None and other.pseudonym != case.pseudonym
        ]
        return checks.check_duplicate(case.ct_sha256, measured, known)

    def _erased_roles(self) -> dict[str, Role]:
        file = self._files.root / "erased.json"
        return _ERASED_ROLES.validate_json(file.read_bytes()) if file.is_file() else {}

    def _remember_role(self, case: Case, staging: Path) -> None:
        if case.role is None:
            return
        write_text(staging / "erased.json", _ERASED_ROLES.dump_json(self._erased_roles() | {case.patient: case.role}).decode())
        (staging / "erased.json").replace(self._files.root / "erased.json")

    def _roles(self, cases: list[Case]) -> dict[str, Role]:
        return self._erased_roles() | {case.patient: case.role for case in cases if case.role is not None}

    def _role_of(self, case: Case, cases: list[Case]) -> Role:
        roles = self._roles(cases)
        return roles.get(case.patient) or (Role.HELD_OUT if (len(roles) + 1) % 4 == 2 else Role.TRAINING)


def _newest(case: Case) -> Attached:
    attached = case.draft or (case.approval.segmentation if case.approval else None)
    if attached is None:
        raise FedLiverError("no-segmentation", f"Case {case.pseudonym} has no segmentation yet: segment it first.")
    return attached


def _overridden(results: list[CheckResult], reason: str | None) -> tuple[str, ...]:
    failed = [result for result in results if not result.passed]
    has_reason = bool(reason and reason.strip())
    standing = [result for result in failed if not (result.overridable and has_reason)]
    if standing:
        raise FedLiverError("checks-failed", "Not approved. " + " ".join(result.sentence for result in standing))
    return tuple(result.name for result in failed)


def _storable(volume: Volume) -> Volume:
    """int16 and float32 as they are; other types as float32, or int16 where they are whole numbers that fit."""
    array = volume.array
    if array.dtype in (np.int16, np.float32):
        return volume
    if np.issubdtype(array.dtype, np.integer) and array.min() >= -32768 and array.max() <= 32767:
        return volume.with_array(array.astype(np.int16))
    return volume.with_array(array.astype(np.float32))


def _reads_back(path: Path, case: Case) -> None:
    """NIfTI cannot hold every grid (its axes must be at right angles): find that out before the case is there."""
    if not holds_grid(path, case.grid.geometry):
        raise FedLiverError("grid-not-storable", "The CT's axes are not at right angles, so it cannot be kept: resample the scan first, then add it.")
