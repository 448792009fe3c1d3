"""What a site runs as its SuperExec: Flower's own, which here starts ClientApps only.

A SuperExec starts a program for every task of its SuperNode, and of which type a task is, the coordinator's SuperLink says. Besides ClientApps, for which ours
stands in (``federation/launch.py``), Flower has types whose programs install and import the bundle that the coordinator ships: past the gate, the filter and
the ledger. So what is no ClientApp is refused before anything is started for it; and should a task come through all the same, its program is one that refuses,
for of every program that Flower could start the path is given here.

Runs in the federation's own environment, and nothing imports it: Flower is looked up by name, so that a name that is gone ends this in words. For flwr 1.41.
"""

import os
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from fedliver.federation.of_flower import of_flower
from fedliver.site.launchers import CLIENT_APPS_ONLY, program_file, write_refusals


def client_apps_only(plugin: Any, client_app: str, failed: Callable[[str], Any]) -> type:
    """Flower's ``plugin`` class, launching tasks of the type ``client_app`` and no others.

    The others are still claimed: for a task that nobody claims the SuperNode would wait without end; one that was refused it answers with an error in a minute.
    """
    if not callable(getattr(plugin, "launch_task", None)):
        sys.exit("fedliver: this Flower's SuperExec launches its tasks in another way; flwr 1.41 is needed")

    class ClientAppsOnly(plugin):
        def launch_task(self, token: str, task: Any) -> Any:
            if task.type != client_app:
                return failed(f"the coordinator asked this site to run {task.type!r}; a site runs ClientApps only, so nothing was run.")
            return super().launch_task(token=token, task=task)

    return ClientAppsOnly


def start_from(folder: Path, commands: dict[Any, str]) -> None:
    """Have Flower start its programs from ``folder``. Ends this process where one of them is not there or may not be executed, as on a disk mounted noexec.

    ``commands``: Flower's own, by type of task; they are changed in place.
    """
    for task_type, name in commands.items():
        program = program_file(folder, name)
        if not program.is_file() or not os.access(program, os.X_OK):
            sys.exit(f"fedliver: {program} cannot be executed, and Flower's own {name} would run what the coordinator sends: nothing begins.")
        commands[task_type] = str(program)


def main() -> None:
    """``python -m fedliver.federation.super_exec FOLDER [what flower-superexec takes]``. ``FOLDER``: of our programs."""
    folder = Path(sys.argv.pop(1))
    command = of_flower("supercore.cli", "flower_superexec")
    plugin = of_flower("supercore.superexec.run_superexec", "AutoExecPlugin")
    failed = of_flower("supercore.superexec.executor", "LaunchResult").failed
    client_app = of_flower("supercore.constant", "TaskType").CLIENT_APP
    commands = of_flower("supercore.superexec.executor.subprocess_executor", "TASK_TYPE_TO_COMMAND")
    import_module("flwr.supercore.superexec.run_superexec").AutoExecPlugin = client_apps_only(plugin, client_app, failed)  # type: ignore[attr-defined]
    write_refusals(folder, commands.values())
    start_from(folder, commands)
    print(CLIENT_APPS_ONLY, flush=True)
    sys.argv[0] = "flower-superexec"
    command()


if __name__ == "__main__":
    main()
