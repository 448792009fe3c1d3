"""The few pages that the door shows itself: why not, and not yet. No script; readable without style."""

from html import escape

_STYLE = (
    "body{font:1.1rem/1.6 system-ui,sans-serif;max-width:40rem;margin:12vh auto;padding:0 1.5rem;color:#1a1a1a;background:#fff}"
    "h1{font-size:1.5rem}button{font:inherit;padding:.5rem 1.2rem}"
    "progress{width:100%;height:1rem}"
    "@media(prefers-color-scheme:dark){body{color:#eee;background:#16181c}}"
)
REFRESH_SECONDS = 1


def sentence_page(heading: str, sentence: str) -> str:
    """One sentence."""
    return _page(heading, f"<p>{escape(sentence)}</p>")


def starting_page() -> str:
    """Shown while the workbench starts; asks again by itself."""
    return _page(
        "Starting your workbench",
        '<p role="status">This takes a few seconds. The page goes on by itself.</p><progress aria-label="Starting"></progress>',
        f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">',
    )


def ended_page(sentence: str) -> str:
    """Shown when the workbench has ended, with a way to start it again."""
    return _page("Your workbench has ended", f'<p>{escape(sentence)}</p><form method="post" action="/restart"><button autofocus>Start again</button></form>')


def _page(heading: str, body: str, head: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{head}<link rel="icon" href="data:,"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(heading)} – FedLiverSlicer</title><style>{_STYLE}</style></head><body><main><h1>{escape(heading)}</h1>{body}</main></body></html>"
    )
