"""The pages of the local GitHub stand-in: what its links open. Pure; nothing in a text is executed or loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; --line: #d1d9e0; --soft: #f6f8fa; --quiet: #59636e; --link: #0969da; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3d444d; --soft: #151b23; --quiet: #9198a1; --link: #4493f8; }
}
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; max-width: 58rem; margin: 0 auto; padding: 1rem;
  overflow-wrap: break-word; }
a { color: var(--link); text-decoration: none; }
h1 { font-size: 1.6rem; font-weight: 500; line-height: 1.25; }
h3 { font-size: 1.15rem; margin: 1.5rem 0 .75rem; }
hr { border: 0; border-top: 1px solid var(--line); }
table { border-collapse: collapse; display: block; width: max-content; max-width: 100%; overflow-x: auto; }
th, td { border: 1px solid var(--line); padding: .4rem .8rem; text-align: left; vertical-align: top; }
tr:nth-child(2n) td { background: var(--soft); }
code { font: .85em ui-monospace, monospace; background: var(--soft); padding: .15em .35em; border-radius: .35em; }
pre { background: var(--soft); padding: 1rem; border-radius: .4rem; overflow-x: auto; }
pre code { padding: 0; background: none; }
blockquote { border-left: .25rem solid var(--line); color: var(--quiet); margin: 0; padding: 0 1rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; font-weight: 600; }
.note, .state { border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .7rem; font-size: .85em; }
"""
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FOLD = re.compile(r"(</?(?:details|summary)>)")


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
    """``markdown`` as HTML, with tables and folds; other HTML in it stays text, comments are left out."""
    from markdown_it import MarkdownIt  # only who opens a page pays for it

    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    for kind in ("html_block", "html_inline"):
        reader.add_render_rule(kind, _html)
    return str(reader.render(markdown))


def _html(_renderer: Any, tokens: Sequence[Any], index: int, _options: Any, _env: Any) -> str:
    """What stands as HTML in the Markdown: only a fold's tags are passed on, and those have no attribute."""
    parts = _FOLD.split(_COMMENT.sub("", tokens[index].content))
    return "".join(part if _FOLD.fullmatch(part) else escape(part) for part in parts)


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
