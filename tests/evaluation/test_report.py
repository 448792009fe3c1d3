"""The HTML page: self-contained, escaped, readable by people and by screen readers."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from fedliver.evaluation.report import Page

PNG = b"\x89PNG\r\n\x1a\n" + b"rest of the picture"


class _Reader(HTMLParser):
    """Keeps the tags, the addresses and the text, and whether every element is closed in order."""

    VOID = ("meta", "img", "br", "!doctype")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _page() -> Page:
    page = Page("Demo", "Three sites")
    page.section("Results", "First.").table(["Site", "Dice", "HD95 (mm)"], [["A", 0.91234, None], ["B", 0.5, 12.0]], caption="Scores per site")
    return page.section("Pictures").picture(PNG, "The liver before and after")


def test_every_element_is_closed_and_the_page_has_its_landmarks():
    read = _Reader(_page().html())
    assert read.open == []
    assert [len(read.all(tag)) for tag in ("h1", "main", "nav", "title")] == [1, 1, 1, 1]
    assert read.all("html")[0]["lang"] == "en-GB"


def test_nothing_is_asked_of_the_network_and_no_script_may_run():
    html = _page().html()
    read = _Reader(html)
    addresses = [value for _, attributes in read.tags for key, value in attributes.items() if key in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(value and value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert not read.all("script")
    assert not read.all("link")
    assert "url(" not in html
    assert "@import" not in html
    assert any("default-src 'none'" in (meta.get("content") or "") for meta in read.all("meta"))


def test_all_text_is_escaped():
    bad = '<script>alert("x")</script>&'
    page = Page(bad, bad).section(bad, bad).text(bad).table([bad, bad], [[bad, bad]], caption=bad).picture(PNG, bad, alt=bad)
    read = _Reader(page.section("two").html())
    assert not read.all("script")
    assert read.all("img")[0]["alt"] == bad
    # title, h1, lead, contents, h2, two paragraphs, caption, two headers, two cells, figure caption
    assert "".join(read.words).count(bad) == 13


def test_the_links_of_the_contents_lead_to_the_sections():
    read = _Reader(_page().html())
    assert [link["href"] for link in read.all("a")] == ["#" + (heading["id"] or "") for heading in read.all("h2")]


def test_a_table_names_its_columns_and_rows_and_sets_numbers_to_the_right():
    read = _Reader(_page().html())
    assert [th.get("scope") for th in read.all("th")] == ["col", "col", "col", "row", "row"]
    assert [td.get("class") for td in read.all("td")] == ["number"] * 4
    words = "|".join(word.strip() for word in read.words)
    assert "0.912" in words
    assert "–" in words
    assert "Scores per site" in words


def test_a_row_that_does_not_fit_its_headers_is_refused():
    with pytest.raises(ValueError, match="does not fit"):
        Page("x").table(["one", "two"], [["only"]])


def test_a_picture_without_alternative_text_is_told_by_its_caption():
    read = _Reader(_page().html())
    assert read.all("img")[0]["alt"] == "The liver before and after"


def test_bytes_that_are_no_png_are_refused():
    with pytest.raises(ValueError, match="PNG"):
        Page("x").picture(b"GIF89a", "caption")


def test_the_page_is_written_as_utf_8(tmp_path: Path):
    target = tmp_path / "new" / "report.html"
    Page("Größe × 3").write(target)
    assert "Größe × 3" in target.read_text(encoding="utf-8")
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
