"""A self-contained HTML page: headings, text, tables and pictures in one file that asks nothing of the network.

All text is escaped. A content security policy forbids scripts and anything that is not in the file itself.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from fedliver.files import write_text

Cell = str | int | float | None

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_PNG = b"\x89PNG\r\n\x1a\n"
_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #4d5761; --paper: #ffffff; --panel: #f3f5f7; --line: #c9d0d6; --accent: #00558c; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ebee; --soft: #b3bcc5; --paper: #14181c; --panel: #1f252b; --line: #46505a; --accent: #7cc4f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid var(--line); }
p { margin: .6rem 0; max-width: 46rem; }
.lead { color: var(--soft); font-size: 1.1rem; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 1rem 0; padding: .6rem .9rem; list-style: none;
  background: var(--panel); border-radius: .4rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .2rem 0 .4rem; }
th, td { padding: .38rem .85rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { background: var(--panel); border-bottom: 2px solid var(--line); }
tbody th { font-weight: 600; }
.number { text-align: right; }
figure { margin: 1.2rem 0; }
figure img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: .3rem; }
figcaption { color: var(--soft); margin-top: .4rem; max-width: 60rem; }
@media print {
  :root { --ink: #000; --soft: #333; --paper: #fff; --panel: #f0f0f0; --line: #999; --accent: #000; color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav { display: none; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; }
  thead { display: table-header-group; }
  img, thead th { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


def _is_number(cell: Cell) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _shown(cell: Cell) -> str:
    if cell is None or cell != cell:  # NaN differs from itself
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        if 0 < abs(cell) <= 1:  # a score: every digit stands in its column
            return f"{cell:.3f}"
        return f"{cell:.3f}".rstrip("0").rstrip(".") if abs(cell) < 1e6 else f"{cell:.4g}"
    return escape(str(cell))


class Page:
    """Builds one HTML page from top to bottom; every method returns the page, so that calls can be chained."""

    def __init__(self, title: str, lead: str = "") -> None:
        self._title = title
        self._lead = lead
        self._headings: list[str] = []
        self._parts: list[str] = []

    def section(self, heading: str, *paragraphs: str) -> "Page":
        """Start a section, which the table of contents lists, with some paragraphs."""
        self._headings.append(heading)
        self._parts.append(f'<h2 id="section-{len(self._headings)}">{escape(heading)}</h2>')
        return self.text(*paragraphs)

    def text(self, *paragraphs: str) -> "Page":
        self._parts.extend(f"<p>{escape(paragraph)}</p>" for paragraph in paragraphs)
        return self

    def table(self, headers: Sequence[str], rows: Iterable[Sequence[Cell]], caption: str = "") -> "Page":
        """A table whose first column names its rows. Numbers go to the right; floats show three decimals, None shows a dash.

        A column is a column of numbers if all its cells are numbers or None.

        Raises
        ------
        ValueError
            If a row has not as many cells as there are headers.
        """
        kept = [list(row) for row in rows]
        for row in kept:
            if len(row) != len(headers):
                raise ValueError(f"a row of {len(row)} cells does not fit {len(headers)} headers")
        numeric = [any(_is_number(row[n]) for row in kept) and all(_is_number(row[n]) or row[n] is None for row in kept) for n in range(len(headers))]
        classes = [' class="number"' if right else "" for right in numeric]
        head = "".join(f'<th scope="col"{kind}>{escape(header)}</th>' for header, kind in zip(headers, classes, strict=True))
        body = []
        for row in kept:
            cells = [f'<th scope="row"{classes[0]}>{_shown(row[0])}</th>']
            cells += [f"<td{kind}>{_shown(cell)}</td>" for cell, kind in zip(row[1:], classes[1:], strict=True)]
            body.append(f"<tr>{''.join(cells)}</tr>")
        title = f"<caption>{escape(caption)}</caption>" if caption else ""
        name = escape(caption or "Table")
        self._parts.append(
            f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">'
            f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
        )
        return self

    def picture(self, png: bytes, caption: str, alt: str = "") -> "Page":
        """A PNG with its caption; ``alt`` says what it shows to those who do not see it (default: the caption).

        Raises
        ------
        ValueError
            If the bytes are no PNG.
        """
        if not png.startswith(_PNG):
            raise ValueError("the picture is not a PNG")
        data = base64.b64encode(png).decode()
        self._parts.append(
            f'<figure><img src="data:image/png;base64,{data}" alt="{escape(alt or caption)}"><figcaption>{escape(caption)}</figcaption></figure>'
        )
        return self

    def html(self) -> str:
        """The whole page."""
        contents = ""
        if len(self._headings) > 1:
            links = "".join(f'<li><a href="#section-{n}">{escape(heading)}</a></li>' for n, heading in enumerate(self._headings, start=1))
            contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>'
        lead = f'<p class="lead">{escape(self._lead)}</p>' if self._lead else ""
        parts = "\n".join(self._parts)
        return (
            f'<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self._title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
            f"<body>\n<header><h1>{escape(self._title)}</h1>{lead}{contents}</header>\n<main>\n{parts}\n</main>\n</body>\n</html>\n"
        )

    def write(self, path: Path) -> None:
        """Write the page, whole or not at all, as :func:`fedliver.files.write_text` does."""
        write_text(path, self.html())
