"""The pages of the local GitHub stand-in: what its links open. Pure; nothing in a text is executed or loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { border: 1px solid #8886; padding: .3rem .6rem; text-align: left; vertical-align: top; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { padding: .75rem; border: 1px solid #8886; overflow-x: auto; }
blockquote { border-left: .25rem solid #8888; margin-left: 0; padding-left: 1rem; }
.note, .state { border: 1px solid #8886; border-radius: 1rem; padding: .1rem .7rem; font-size: .85em; }
"""
_COMMENT = re.compile(r"^<!--.*?-->$", re.MULTILINE)


def _page(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    return f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>{body}</body></html>\n'


def state_word(stored: Mapping[str, Any]) -> str:
    """Draft, open, merged or closed."""
    if stored["merged_at"] is not None:
        return "merged"
    if stored["state"] != "open":
        return "closed"
    return "draft" if stored["draft"] else "open"


def render(markdown: str) -> str:
    """``markdown`` as HTML, with tables; HTML in it stays text, comments are left out as a forge does."""
    from markdown_it import MarkdownIt  # only who opens a page pays for it

    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(_COMMENT.sub("", markdown)))


def pull_page(name: str, repository: str, stored: Mapping[str, Any]) -> str:
    """One pull request."""
    labels = " ".join(f'<span class="note">{escape(label)}</span>' for label in stored["labels"])
    head = (
        f'<p><a href="/">{escape(repository)}</a> · {escape(name)}</p>'
        f"<h1>{escape(stored['title'])} #{stored['number']}</h1>"
        f'<p><span class="state">{state_word(stored)}</span> <code>{escape(stored["head"])}</code> onto '
        f"<code>{escape(stored['base'])}</code> {labels}</p><hr>"
    )
    return _page(f"{stored['title']} #{stored['number']}", head + render(stored["body"] or ""))


def index_page(name: str, repository: str, pulls: Sequence[Mapping[str, Any]]) -> str:
    """All pull requests."""
    rows = "".join(
        f'<li><a href="/{escape(repository)}/pull/{each["number"]}">#{each["number"]} {escape(each["title"])}</a> '
        f'<span class="state">{state_word(each)}</span></li>'
        for each in reversed(pulls)
    )
    return _page(name, f"<h1>{escape(repository)}</h1><p>{escape(name)}</p><ul>{rows or '<li>Nothing yet</li>'}</ul>")
