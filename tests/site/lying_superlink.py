"""Stands in for a site's SuperNode: the real one, whose connection brings one message of a run that a lying SuperLink calls an agent's. For tests.

``python lying_superlink.py BUNDLE TASK-TYPE [what flower-supernode takes]``
"""

import contextlib
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.supercore.constant import AGENT_MESSAGE_CONTENT_RECORD_KEY, AGENT_MESSAGE_TEXT_KEY
from flwr.supercore.fab import Fab
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supernode import start_client_internal

from fedliver.federation import super_node

RUN, NODE = 77, 4242


def main() -> None:
    bundle, task_type = Path(sys.argv.pop(1)).read_bytes(), sys.argv.pop(1)
    run = Run.create_empty(RUN)
    run.fab_id, run.fab_version, run.fab_hash = "fedliver/fedliver-app", "0.1.0", hashlib.sha256(bundle).hexdigest()
    run.primary_task_type, run.series_id = task_type, 5
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = RUN, 1, 1
    message = Message(RecordDict({AGENT_MESSAGE_CONTENT_RECORD_KEY: ConfigRecord({AGENT_MESSAGE_TEXT_KEY: "hello"})}), NODE, "query")
    message.metadata.__dict__.update(_run_id=RUN, _src_node_id=1)
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        tree = get_object_tree(message)
        objects = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
    waiting = [(remove_content_from_message(message), tree)]

    @contextlib.contextmanager
    def connection(**_: Any) -> Iterator[tuple[Any, ...]]:
        yield (
            NODE,
            lambda: waiting.pop() if waiting else None,
            lambda *_: (set(), "session"),
            lambda _: run,
            lambda *_: Fab(run.fab_hash, bundle, {}),
            lambda _, name: objects[name],
            lambda *_: None,
            lambda *_: None,
        )

    start_client_internal._init_connection = connection
    super_node.main()


if __name__ == "__main__":
    main()
