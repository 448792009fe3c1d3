"""The shelf of teachers: every version this site has had, and which one is current.

``teachers/T-<hash>/bundle`` is a copy of the bundle, ``teachers/T-<hash>/record.json`` says where it came from, and
``teachers/current.json`` is the trail of adoptions, replaced in one rename. An empty trail means the starter teacher.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Protocol

from filelock import FileLock, Timeout
from pydantic import AwareDatetime, BaseModel, ConfigDict, StringConstraints, ValidationError

from fedliver.cases.case import Sha256
from fedliver.errors import FedLiverError
from fedliver.files import PART_PREFIX, sha256_of, write_folder, write_text

STARTER_VERSION = "starter"
_VERSION_PATTERN = r"^(starter|T-[0-9a-f]{16})$"
_MOST_BYTES = 2 << 30
_MOST_FILES = 1000

Version = Annotated[str, StringConstraints(pattern=_VERSION_PATTERN)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(_Model):
    """Where a teacher came from. ``cases``: how many cases it was trained on, all sites together, as far as is known."""

    source: Literal["starter", "federation", "training", "import"]
    parent: str | None = None
    round: int | None = None
    cases: int | None = None


class LocalScore(_Model):
    """Mean liver Dice on this site's held-out cases: of the teacher that was current then, and of this one."""

    current: float
    candidate: float
    cases: int


class TeacherRecord(_Model):
    """``record.json``. ``name`` and ``label`` are what the bundle calls itself."""

    schema_version: Literal[1] = 1
    version: Version
    sha256: Sha256
    name: str
    label: str
    origin: Origin
    added_at: AwareDatetime
    local_score: LocalScore | None = None


class _Adoption(_Model):
    version: Version
    adopted_at: AwareDatetime


class _Trail(_Model):
    schema_version: Literal[1] = 1
    trail: tuple[_Adoption, ...] = ()


@dataclass(frozen=True)
class TeacherVersion:
    """A teacher on the shelf. ``bundle`` is a folder that :func:`fedliver.teacher.bundle.load_bundle` reads; do not write in it."""

    version: str
    bundle: Path
    sha256: str
    record: TeacherRecord | None
    adopted_at: datetime | None
    is_current: bool


class Named(Protocol):
    """What the shelf wants to know of a loaded bundle: :class:`fedliver.teacher.bundle.Teacher`."""

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...


def _load_bundle(path: Path) -> Named:
    from fedliver.teacher.bundle import load_bundle

    return load_bundle(path)


def _starter() -> Path:
    from fedliver.teacher.bundle import STARTER

    return STARTER


class TeacherShelf:
    """Parameters
    ----------
    folder:
        The site's ``teachers`` folder.
    starter:
        The bundle that is current while nothing was adopted; the shipped one by default.
    load:
        Opens a bundle, or raises FedLiverError if it is unusable.
    clock:
        Tells the time, with a time zone.
    """

    def __init__(
        self,
        folder: Path,
        *,
        starter: Path | None = None,
        load: Callable[[Path], Named] = _load_bundle,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        wait_seconds: float = 5.0,
    ) -> None:
        self.folder = folder
        self._given_starter = starter
        self._load = load
        self._clock = clock
        self._wait_seconds = wait_seconds
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = FileLock(folder / ".lock")
        self._sweep()

    def current(self) -> TeacherVersion:
        """The teacher to segment with, whole: its hash is checked. Raises FedLiverError ``bundle-damaged`` or ``no-teacher``."""
        return self.whole(self._current_version())

    def current_bundle(self) -> Path:
        """Where the current teacher lies, or lay: nothing is read, so a window may ask. Whoever segments with it asks for :meth:`current`."""
        version = self._current_version()
        return self._starter if version == STARTER_VERSION else self.folder / version / "bundle"

    def list(self) -> list[TeacherVersion]:
        """The starter, then every version in the order of arrival. Hashes are not checked here."""
        records = [self._record(path.name) for path in self.folder.glob("T-*") if (path / "record.json").is_file()]
        versions = [STARTER_VERSION] if self._starter.is_dir() else []
        versions += [record.version for record in sorted(records, key=lambda record: record.added_at)]
        return [self.get(version) for version in versions]

    def get(self, version: str) -> TeacherVersion:
        """A version by its name or the beginning of it. Raises FedLiverError ``no-such-teacher``."""
        name = self._full_name(version)
        trail = self._trail().trail
        adopted_at = next((adoption.adopted_at for adoption in reversed(trail) if adoption.version == name), None)
        is_current = name == self._current_version()
        if name == STARTER_VERSION:
            if not self._starter.is_dir():
                raise FedLiverError(
                    "no-teacher",
                    "The starter teacher is missing from this installation: install FedLiver again, or run `fedliver teacher adopt BUNDLE --force`.",
                )
            return TeacherVersion(name, self._starter, sha256_of(self._starter), None, adopted_at, is_current)
        record = self._record(name)
        return TeacherVersion(name, self.folder / name / "bundle", record.sha256, record, adopted_at, is_current)

    def add(self, bundle: Path, origin: Origin) -> TeacherVersion:
        """Copy a bundle onto the shelf; it is not current yet. A bundle that is there already is returned as it is.

        Raises
        ------
        FedLiverError
            ``not-a-bundle``, ``bundle-too-large``, whatever :func:`~fedliver.teacher.bundle.load_bundle` raises, ``bundle-damaged``.
        """
        _check_outside_bundle(bundle)
        sha256 = sha256_of(bundle)
        version = f"T-{sha256[:16]}"
        with self._locked():
            if (self.folder / version).is_dir():
                return self.whole(version)

            def fill(part: Path) -> None:
                _copy(bundle, part / "bundle")
                if sha256_of(part / "bundle") != sha256:
                    raise FedLiverError("bundle-damaged", f"{bundle.name} changed while it was copied: wait until it is complete, then add it again.")
                teacher = self._load(part / "bundle")
                record = TeacherRecord(version=version, sha256=sha256, name=teacher.name, label=teacher.version, origin=origin, added_at=self._clock())
                (part / "record.json").write_text(record.model_dump_json(exclude_none=True), encoding="utf-8")

            write_folder(self.folder / version, fill)
        return self.get(version)

    def import_(self, path: Path) -> TeacherVersion:
        """Add a bundle that someone brought. It is not current until it is adopted."""
        return self.add(path, Origin(source="import"))

    def export(self, version: str, target: Path) -> Path:
        """Copy a version's bundle to ``target``, which must not exist. Raises FedLiverError ``exists``, ``bundle-damaged``."""
        teacher = self.whole(version)
        if target.exists():
            raise FedLiverError("exists", f"{target} is there already: choose a new folder name.")
        write_folder(target, lambda part: _copy(teacher.bundle, part))
        return target

    def score(self, version: str, score: LocalScore) -> None:
        """Keep what the version reached on this site's held-out cases."""
        with self._locked():
            record = self._record(self._full_name(version)).model_copy(update={"local_score": score})
            write_text(self.folder / record.version / "record.json", record.model_dump_json(exclude_none=True))

    def adopt(self, version: str) -> TeacherVersion:
        """Make a version current. Raises FedLiverError ``no-such-teacher`` or ``bundle-damaged``; the current one stays then."""
        name = self._full_name(version)
        with self._locked():
            self.whole(name)
            if name != self._current_version():
                trail = self._trail().trail
                self._write_trail((*trail, _Adoption(version=name, adopted_at=self._clock())))
        return self.get(name)

    def roll_back(self) -> TeacherVersion:
        """Go back to the teacher before the current one. Raises FedLiverError ``nothing-to-roll-back`` or ``bundle-damaged``."""
        with self._locked():
            trail = self._trail().trail
            if not trail:
                raise FedLiverError("nothing-to-roll-back", "The starter teacher is the current one: there is nothing before it.")
            before = trail[-2].version if len(trail) > 1 else STARTER_VERSION
            self.whole(before)
            self._write_trail(trail[:-1])
        return self.get(before)

    @property
    def _starter(self) -> Path:
        return self._given_starter or _starter()

    def _current_version(self) -> str:
        trail = self._trail().trail
        return trail[-1].version if trail else STARTER_VERSION

    def whole(self, version: str) -> TeacherVersion:
        """A version whose bundle has the hash it had when it came. Raises FedLiverError ``bundle-damaged`` or ``no-such-teacher``."""
        try:
            teacher = self.get(version)
            if version == STARTER_VERSION or sha256_of(teacher.bundle) == teacher.sha256:
                return teacher  # the starter has no record to differ from: its hash was taken this moment
        except FedLiverError:
            if version == STARTER_VERSION or version != self._current_version():
                raise
        sentence = f"The bundle of teacher {version} is damaged or missing: go back with `fedliver teacher rollback`, or adopt another with --force."
        raise FedLiverError("bundle-damaged", sentence)

    def _full_name(self, version: str) -> str:
        names = [STARTER_VERSION, *(path.parent.name for path in self.folder.glob("T-*/record.json"))]
        found = [name for name in names if name == version] or [
            name for name in names if version and name.removeprefix("T-").startswith(version.removeprefix("T-"))
        ]
        if len(found) != 1:
            raise FedLiverError(
                "no-such-teacher", f"{'No' if not found else 'More than one'} teacher matches {version[:40]!r}: `fedliver teacher list` shows them."
            )
        return found[0]

    def _record(self, version: str) -> TeacherRecord:
        try:
            return TeacherRecord.model_validate_json((self.folder / version / "record.json").read_bytes())
        except (ValidationError, OSError) as error:
            sentence = f"The record of teacher {version} is damaged or from a newer FedLiverSlicer: update this one, or remove that version's folder."
            raise FedLiverError("teacher-record", sentence) from error

    def _trail(self) -> _Trail:
        file = self.folder / "current.json"
        try:
            return _Trail.model_validate_json(file.read_bytes())
        except FileNotFoundError:
            return _Trail()
        except ValidationError as error:
            sentence = "The note of the current teacher is damaged or from a newer FedLiverSlicer: update this one, or remove teachers/current.json."
            raise FedLiverError("teacher-record", sentence) from error

    def _write_trail(self, trail: tuple[_Adoption, ...]) -> None:
        write_text(self.folder / "current.json", _Trail(trail=trail).model_dump_json())

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._lock.acquire(timeout=self._wait_seconds)
        except Timeout as error:
            raise FedLiverError("shelf-busy", "Another FedLiver process is writing teachers: wait for it to finish, then try again.") from error
        try:
            yield
        finally:
            self._lock.release()

    def _sweep(self) -> None:
        """Remove half-written versions of a crashed process: with the lock in hand, nobody else is writing."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return
        try:
            for part in [*self.folder.glob(f"{PART_PREFIX}*"), *self.folder.glob(f"T-*/{PART_PREFIX}*")]:
                shutil.rmtree(part) if part.is_dir() else part.unlink()
        finally:
            self._lock.release()


def _copy(bundle: Path, target: Path) -> None:
    shutil.copytree(bundle, target, dirs_exist_ok=True, copy_function=shutil.copyfile)


def _check_outside_bundle(bundle: Path) -> None:
    """A bundle from outside is files and folders only, of a size that a bundle can have."""
    if not bundle.is_dir():
        raise FedLiverError("not-a-bundle", f"{bundle} is no teacher bundle: it must be a folder with configs/ and models/.")
    total = 0
    for count, path in enumerate(bundle.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise FedLiverError("not-a-bundle", f"{bundle.name} holds a link or a device ({path.name}): a teacher bundle has only files and folders.")
        total += path.stat().st_size
        if count >= _MOST_FILES or total > _MOST_BYTES:
            raise FedLiverError("bundle-too-large", f"{bundle.name} is larger than any teacher bundle: check that it is the right folder.")
