"""Who may come in: a token for the address that a person opens, and a cookie for every browser that came in with it."""

import hashlib
import hmac
import secrets

_BYTES = 32


def new_secret() -> str:
    """32 random bytes as text that fits an address or a cookie."""
    return secrets.token_urlsafe(_BYTES)


def digest_of(secret: str) -> bytes:
    """What is kept of a cookie instead of the cookie: looking it up in a table tells nothing by the time it takes."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Keys:
    """The token of this door, good until the door ends, and tokens that are good once.

    A token that is good once is for the browser that the door opens itself: whoever else can list this machine's processes sees that
    browser's command line, but finds the token spent.
    """

    def __init__(self) -> None:
        self.token = new_secret()
        self._once: set[bytes] = set()

    def once(self) -> str:
        token = new_secret()
        self._once.add(digest_of(token))
        return token

    def admits(self, given: str) -> bool:
        """Whether ``given`` is a token of this door, in constant time."""
        found = digest_of(given)
        if found in self._once:
            self._once.discard(found)
            return True
        return hmac.compare_digest(found, digest_of(self.token))
