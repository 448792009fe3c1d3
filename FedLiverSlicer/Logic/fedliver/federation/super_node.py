"""What a site runs as its SuperNode: Flower's own, which here speaks with its coordinator and with nobody whom the coordinator names.

Flower's client follows redirects. A coordinator, or whoever stands in its place, could so have a hospital's machine send requests to any address that it
reaches, those inside the hospital too, and an update travel on without TLS. Here an answer that says "go there" is an error like any other.

Runs in the federation's own environment. For flwr 1.41.
"""

import sys
from typing import Any

from fedliver.federation.of_flower import of_flower


def refuse_redirects() -> None:
    """Have every client that Flower makes in this process from now on take a redirect for an error. Ends the process where Flower makes them in another way."""
    import httpx

    client = of_flower("supercore.protobuf.client", "ProtobufClient")
    begin = client.__init__

    def begin_and_stay(self: Any, *arguments: Any, **options: Any) -> None:
        begin(self, *arguments, **options)
        inner = getattr(self, "_client", None)
        if not isinstance(inner, httpx.Client):
            sys.exit("fedliver: this Flower makes its requests in another way; flwr 1.41 is needed")
        inner.follow_redirects = False

    client.__init__ = begin_and_stay


def main() -> None:
    """``python -m fedliver.federation.super_node [what flower-supernode takes]``."""
    command = of_flower("supernode.cli", "flower_supernode")
    refuse_redirects()
    sys.argv[0] = "flower-supernode"
    command()


if __name__ == "__main__":
    main()
