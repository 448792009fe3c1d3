"""The folder of one run of the door, in the site's home: settings, logs and uploads of its users. What a door that was killed left is cleared away."""

import os
import secrets
import shutil
from pathlib import Path

from fedliver.files import write_folder, write_text
from fedliver.site.processes import ProcessRecord, end_processes, is_alive, read_record
from fedliver.web.door_process import RECORD

_DOOR = "door.json"


def new_door_folder(home: Path) -> Path:
    """A folder for this process's door, for its owner's eyes only. Call :func:`clear` on it in the end."""
    import psutil

    parent = home / "browser"
    parent.mkdir(exist_ok=True, mode=0o700)
    parent.chmod(0o700)
    record = ProcessRecord(role="door", pid=os.getpid(), started=psutil.Process().create_time())
    folder = parent / f"door-{secrets.token_hex(6)}"
    write_folder(folder, lambda part: write_text(part / _DOOR, record.model_dump_json()))
    folder.chmod(0o700)
    return folder


def clear_what_was_left(home: Path) -> int:
    """End the workbenches of doors that were killed, and remove what was uploaded to them; how many doors."""
    left = [folder for folder in (home / "browser").glob("door-*") if not is_alive(read_record(folder / _DOOR))]
    for folder in left:
        clear(folder)
    return len(left)


def clear(folder: Path) -> None:
    """End every workbench of the door whose folder it is, and remove the folder."""
    end_processes(folder.glob(f"*/{RECORD}"))
    shutil.rmtree(folder, ignore_errors=True)
