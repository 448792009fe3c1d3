"""What the documents point to is there: links, pictures, headings, and every command with its options."""

import functools
import re
import shlex
from pathlib import Path

import click
import pytest
import typer

from fedliver.cli.main import app

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("benchmarks/results/*.md")]
    + [*ROOT.glob("FedLiverSlicer/Resources/**/*.md")]
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```[^\n]*\n(.*?)^ *```|`(fedliver [^`]+)`", re.MULTILINE | re.DOTALL)


def _links(text: str) -> list[str]:
    """Links and pictures that do not leave the repository."""
    return [target for target in LINK.findall(text) if not re.match(r"[a-z]+:", target)]


def _headings(text: str) -> set[str]:
    """The anchors that GitHub makes of a document's headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def _broken(document: Path, text: str) -> list[str]:
    broken = []
    for link in _links(text):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in _headings(target.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


def _commands(text: str) -> list[list[str]]:
    """Every ``fedliver ...`` of a document, in words, without comments and without what follows a pipe, ``&&`` or ``;``."""
    found = []
    for block, inline in CODE.findall(text):
        for line in (block or inline).replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|;|(?<!\w)\|(?!\w)| # |  +#", line):
                if match := re.search(r"(?:^|[\s/])fedliver(\s+[a-z].*)", part):
                    found.append(shlex.split(match[1].replace("'", "\\'").rstrip(" &")))
    return found


@functools.cache
def _command_line() -> click.Command:
    return typer.main.get_command(app)


def _wrong(words: list[str]) -> str | None:
    """What the command line does not know of these words: a verb, or an option."""
    command = _command_line()
    for word in words:
        if not isinstance(command, click.Group):
            break
        if word.startswith(("-", "[")) or not re.fullmatch(r"[a-z-]+", word):
            break
        if word not in command.commands:
            return word
        command = command.commands[word]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "--version"}
    return next((bare for word in words if (bare := word.strip("[]").split("=")[0]).startswith("-") and bare not in known), None)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_and_picture_of_a_document_is_there(document: Path) -> None:
    assert _broken(document, document.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    wrong = {" ".join(words): found for words in _commands(document.read_text(encoding="utf-8")) if (found := _wrong(words))}
    assert wrong == {}


def test_every_make_target_in_a_document_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for document in DOCUMENTS for name in re.findall(r"`make ([\w-]+)", document.read_text(encoding="utf-8"))}
    assert named - targets == set()


def test_what_is_broken_is_found() -> None:
    here = ROOT / "docs" / "privacy.md"
    assert _broken(here, "[a](attacks.md) ![b](images/none.png) [c](#no-such-heading) [d](#the-ledger) [e](https://nowhere.example)") == [
        "images/none.png",
        "#no-such-heading",
    ]
    text = (
        "```\nfedliver case lst   # all\nip netns exec a fedliver site join --folow && fedliver segment a b\n```\nand `fedliver site ledger verify --head HEAD`"
    )
    assert [_wrong(words) for words in _commands(text)] == ["lst", "--folow", None, None]
