"""The panel's lists as the rich text that Qt's labels and a web page show. Standard library only."""

import html
from collections.abc import Sequence

from fedliver.slicer.panel_view import ChecklistLine, PanelView
from fedliver.slicer.translation import Translate, unchanged

_MOST_LESIONS = 10
_MARKS = {"passed": ("✓", "#3c9d5d"), "failed": ("✗", "#cc4433"), "overridden": ("!", "#d08a1d")}


def checklist(lines: Sequence[ChecklistLine]) -> str:
    """The checklist, a line per check; empty for none."""
    rows = []
    for line in lines:
        mark, colour = _MARKS[line.mark]
        rows.append(f'<tr><td><b style="color:{colour}">{mark}</b>&nbsp;</td><td>{html.escape(line.text)}</td></tr>')
    return f"<table>{''.join(rows)}</table>" if rows else ""


def lesions(view: PanelView) -> str:
    """The lesions as links ``lesion:0``, ``lesion:1``, ...: whoever clicks one goes there. The first ten; empty for none."""
    rows = [f'<a href="lesion:{number}">{html.escape(line)}</a>' for number, line in enumerate(view.lesions[:_MOST_LESIONS])]
    return "<br>".join(rows)


def ledger(view: PanelView) -> str:
    """What has left and come in, in one line and the last entries; empty where nothing has."""
    return f"{html.escape(view.account)}{_bullets(view.ledger)}" if view.account else ""


def consent(view: PanelView, _: Translate = unchanged) -> str:
    """What leaves this computer on joining a federation, and what never does."""
    lists = ((_("What leaves this computer when you join"), view.leaves), (_("By which rules"), view.rules), (_("What never leaves it"), view.stays))
    return "".join(f"<b>{html.escape(title)}</b>{_bullets(sentences)}" for title, sentences in lists)


def _bullets(sentences: Sequence[str]) -> str:
    items = "".join(f"<tr><td>•&nbsp;</td><td>{html.escape(sentence)}</td></tr>" for sentence in sentences)
    return f'<table style="margin-bottom:6px">{items}</table>'
