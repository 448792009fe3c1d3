"""The folder of one site: its cases, its teachers, what it keeps for the federation, and its secret."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from fedliver.errors import FedLiverError

if TYPE_CHECKING:
    from fedliver.cases.store import CaseStore
    from fedliver.cases.teachers import TeacherShelf
    from fedliver.site.egress import PatientCount

VARIABLE = "FEDLIVER_HOME"
_SECRET_BYTES = 32
_COORDINATORS_FILE = "coordinator.json"
"""What a coordinator's folder is known by: ``coordinator.home``, which stands on a floor above, writes it last."""


@dataclass(frozen=True)
class SiteHome:
    """Where a site keeps what is its own. ``SiteHome.open()`` finds it, and makes it on first use; ``SiteHome.existing()`` never makes one."""

    path: Path

    @classmethod
    def locate(cls, path: Path | None = None) -> "SiteHome":
        """The home at ``path``, else at ``$FEDLIVER_HOME``, else at ``~/.fedliver``. Nothing is made: its folders may not be there."""
        named = path or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else Path.home() / ".fedliver")
        return cls(named.expanduser().absolute())

    @classmethod
    def open(cls, path: Path | None = None) -> "SiteHome":
        """The home that :meth:`locate` finds, made if it is not there; for the owner's eyes only.

        A folder with something in it keeps its mode, since it may hold other things; what we make in it is closed to others anyway.

        Raises
        ------
        FedLiverError
            ``home-not-writable``; ``home-not-readable`` or ``coordinators-folder``, and nothing is made in it.
        """
        home = cls.locate(path)
        if home.holds_coordinator:
            raise FedLiverError("coordinators-folder", f"{home.path} holds a coordinator, not a site: give the site's own folder, with --home or ${VARIABLE}.")
        try:
            home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not any(home.path.iterdir()):
                home.path.chmod(0o700)
            for folder in (home.cases, home.teachers, home.federation):
                folder.mkdir(exist_ok=True)
                folder.chmod(0o700)
        except OSError as error:
            sentence = f"The site's folder {home.path} cannot be made or written: choose another with --home or ${VARIABLE}."
            raise FedLiverError("home-not-writable", sentence) from error
        return home

    @classmethod
    def existing(cls, path: Path | None = None) -> "SiteHome":
        """The home that :meth:`open` finds, where a site has begun: a name that was mistyped makes no site, and is not taken for one.

        Raises
        ------
        FedLiverError
            ``no-site``, or what :meth:`open` raises.
        """
        home = cls.locate(path)
        if not (home.has_begun or home.holds_coordinator):  # of a coordinator, opening says so
            begin = "`fedliver case add CT`, or with an invitation and `fedliver site enrol INVITATION`"
            raise FedLiverError("no-site", f"There is no site in {home.path}: give another folder with --home or ${VARIABLE}, or begin one with {begin}.")
        return cls.open(path)

    @property
    def has_begun(self) -> bool:
        """Whether a site has ever been opened here. ``teachers`` would not tell: a coordinator that was half made has such a folder too."""
        return not self._names().isdisjoint({self.cases.name, self.federation.name, self.secret_file.name})

    @property
    def holds_coordinator(self) -> bool:
        """Whether the folder is a coordinator's, whose teachers and environment bear the same names as a site's."""
        return _COORDINATORS_FILE in self._names()

    @property
    def cases(self) -> Path:
        return self.path / "cases"

    @property
    def teachers(self) -> Path:
        return self.path / "teachers"

    @property
    def federation(self) -> Path:
        return self.path / "federation"

    @property
    def secret_file(self) -> Path:
        return self.path / "secret.key"

    @property
    def adoption_log(self) -> Path:
        """What was decided about teachers, a line each: ``site/adoption.py`` writes and reads it."""
        return self.path / "adoptions.jsonl"

    def secret(self) -> bytes:
        """The 32 random bytes that pseudonyms are made with; made once, readable by the owner only, never sent anywhere.

        Raises
        ------
        FedLiverError
            ``secret-damaged``, or ``secret-lost`` where there are cases but no secret: a new one would name the same patients anew.
        """
        if not self.secret_file.exists():
            if any(self.cases.glob("C-*")):
                sentence = f"{self.secret_file} is missing, but there are cases: restore it from a backup, or move the cases folder away to begin anew."
                raise FedLiverError("secret-lost", sentence)
            try:
                self._make_secret()
            except OSError as error:
                sentence = f"The site's secret could not be written to {self.path} ({error.strerror}): free some space, or choose another folder with --home."
                raise FedLiverError("home-not-writable", sentence) from error
        secret = self.secret_file.read_bytes()
        if len(secret) != _SECRET_BYTES:
            raise FedLiverError(
                "secret-damaged", f"{self.secret_file} is damaged: restore it from a backup, or move the cases folder and it away to begin anew."
            )
        return secret

    def store(self) -> "CaseStore":
        """The case store of this site."""
        from fedliver.cases.store import CaseStore

        return CaseStore(self.path, self.secret())

    def patients(self) -> "PatientCount":
        """Of how many patients the approved cases are, and how many more the scans that nobody approved but that may teach."""
        from fedliver.cases.case import Role, State
        from fedliver.site.egress import PatientCount

        store = self.store()
        cases = store.cases()
        approved = [case for case in cases if case.state is State.APPROVED]
        training, held_out = ({case.patient for case in approved if case.role is role} for role in (Role.TRAINING, Role.HELD_OUT))
        unlabelled = {case.patient for case in store.teaching_without_labels(cases)}
        return PatientCount(len(training), len(held_out), len(unlabelled - training))

    def shelf(self) -> "TeacherShelf":
        """The teachers of this site."""
        from fedliver.cases.teachers import TeacherShelf

        return TeacherShelf(self.teachers)

    def _names(self) -> set[str]:
        """What lies in the folder; nothing where there is none (``home-not-readable``)."""
        try:
            return set(os.listdir(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return set()
        except OSError as error:
            sentence = f"The site's folder {self.path} cannot be read ({error.strerror}): run this as the user it belongs to, or choose another with --home."
            raise FedLiverError("home-not-readable", sentence) from error

    def _make_secret(self) -> None:
        """Whole or absent, and never over another process's: a link fails where a rename would replace."""
        with NamedTemporaryFile(dir=self.path, prefix=".part-secret-") as part:  # mode 0600
            part.write(secrets.token_bytes(_SECRET_BYTES))
            part.flush()
            os.fsync(part.fileno())
            try:
                os.link(part.name, self.secret_file)
            except FileExistsError:
                return
