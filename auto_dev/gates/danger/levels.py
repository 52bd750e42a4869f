"""Settings that say how much is let through: rights of roles, lifetimes, strengths, switches; in code and in files. Pure.

A settings file or a module's constants are read as one flat table of values before and after; what is compared is the
value under the same name, so that moving, sorting and formatting is no change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from auto_dev.gates.danger.act import Act
from auto_dev.gates.danger.flat import ENDLESS, ENDS, Flat, flat_of
from auto_dev.gates.danger.guards import is_strong, is_weak, tokens
from auto_dev.gates.danger.view import View
from auto_dev.gates.syntax.names import names

_WHY: Final = "who may do what is a person's decision"
_GROWS: Final = 2.0  # times as long, as many: no fine adjustment any more
_LIFETIME: Final = re.compile(
    r"lifetime|expir|max_?age|(?:^|_)(?:ttl|valid|validity|idle|timeout|age|duration|exp|remember|lasts?)(?:_|$)|"
    r"_(?:ms|s|seconds|minutes|hours|days|weeks)$|^(?:week|day|hour)"
)
_ABOUT_LIFE: Final = names(
    "session sessions token tokens jwt cookie cookies access refresh login auth remember csrf otp password reset sign encode"
)
_STRENGTH: Final = re.compile(
    r"(?i)^(?:iterations|rounds|salt_?rounds|cost|time_?cost|memory_?cost|work_?factor|n|min_?(?:password_?)?length|password_?min\w*|"
    r"\w*_?(?:rounds|iterations|key_?size|key_?bits|min_?length)|bcrypt_?\w*|backup_?retention\w*)$"
)
_TRIES: Final = re.compile(
    r"(?i)(?:max|allowed|login|failed)_?\w*(?:attempts|tries|failures|logins)|lockout_?(?:threshold|limit)|(?:attempts|tries)_?(?:limit|max)"
)
# Switches that protect while they are on, and those that open while they are on.
_PROTECTS: Final = re.compile(
    r"(?i)^(?:\w*_?http_?only|\w*_?secure|secure_\w+|\w*csrf\w*|\w*_?require\w*|require\w*|enforce\w*|strict\w*|\w*_?verify\w*|verify\w*|"
    r"\w*auth(?:entication|orization)?(?:_?(?:enabled|required|check))?|\w*mfa\w*|\w*2fa\w*|hsts\w*|deletion_?protection|prevent_?destroy|"
    r"\w*encrypt\w*|run_?as_?non_?root|read_?only_?root_?filesystem|block_?public\w*|restrict_?public\w*|ignore_?public\w*|"
    r"point_?in_?time_?recovery\w*|\w*backups?_?enabled|versioning|audit\w*|\w*_?ssl\w*|\w*_?tls\w*|check_?\w+|signed|rate_?limit\w*|"
    r"enable_?(?:auth|csrf|rbac|network_?policy|ssl|tls)\w*|\w*protect\w*)$"
)
_OPENS: Final = re.compile(
    r"(?i)^(?:\w*allow_?(?:all|any|anonymous|insecure|unauthenticated|public|everyone|guest)\w*|allow_?credentials|skip_?\w*(?:auth|verify|verification|check|signature|permission|csrf|login)\w*|"
    r"\w*bypass\w*|disable_?\w*(?:auth|csrf|security|verification|check|ssl|tls|rbac|protection)\w*|insecure\w*|anonymous\w*|public_?access\w*|"
    r"publicly_?accessible|skip_?final_?snapshot|force_?destroy|privileged|allow_?privilege_?escalation|host_?(?:network|pid|ipc)|"
    r"auto_?approve|accept_?any\w*|trust_?all\w*|no_?auth\w*|apply_?immediately|allow_?major\w*|super_?user|is_?(?:admin|superuser)_?default)$"
)
_RIGHTS: Final = re.compile(
    r"(?i)\b(?:roles?|rights?|permissions?|scopes?|grants?|acl|policy|policies|privileges?|capabilities|allowed_?actions)\b"
)
_TRUSTED: Final = re.compile(
    r"(?i)(?:^|_)(?:admins?|superusers?|owners?|trusted\w*|allow(?:ed)?_?(?:users?|hosts?|origins?|ips?|emails?|domains?|roles?|list|networks?)?|whitelist|"
    r"allowlist|public_?(?:routes?|paths?|endpoints?|urls?)|(?:no_?auth|open|exempt|unauthenticated|anonymous|unprotected|skip_?auth)_?(?:routes?|paths?|endpoints?|urls?|views?)?|exempt\w*|"
    r"publicpaths?|publicroutes?|allowedroles?|permitted\w*)$"
)
_REFUSED: Final = re.compile(
    r"(?i)(?:^|_)(?:den(?:y|ied)\w*|block(?:ed|list)\w*|blacklist|forbidden\w*|banned\w*|protected_?(?:routes?|paths?|endpoints?|urls?|views?|branches)?|"
    r"(?:login|auth)_?required_?\w*|required_?(?:roles?|permissions?|scopes?)|private_?(?:routes?|paths?)|middleware|permission_?classes|"
    r"authentication_?classes|password_?validators|auth_?password_?validators|protectedroutes?|requiredroles?)$"
)
_SOURCES: Final = frozenset((".py", ".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".mts", ".cts", ".go", ".rs"))
_SPAN: Final = re.compile(
    r"(?i)^(\d+(?:\.\d+)?)\s*(ms|s|sec|secs|seconds?|m|min|mins|minutes?|h|hrs?|hours?|d|days?|w|weeks?|y|yrs?|years?)$"
)
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}


def level_acts(views: Sequence[View]) -> Iterator[Act]:
    """What the changed settings let through that was not let through before."""
    for view in views:
        if view.before is None or view.after is None:
            continue
        old, new = flat_of(view.old_path or view.path, view.before), flat_of(view.path, view.after)
        if old and new is not None:
            yield from _compared(view, old, new)


def _compared(view: View, old: Flat, new: Flat) -> Iterator[Act]:
    known = {text for value in old.values() if isinstance(value, frozenset) for text in value}
    source = (view.before or "") + (view.after or "")
    near = is_strong(source) or is_strong(view.path) or view.ending not in _SOURCES
    for name, after in new.items():
        if name in old:
            if old[name] != after and (found := _judged(view.path, name, old[name], after, known, near)):
                yield _act(view, name, *found)
        elif (own := _last(name)) and _OPENS.match(own) and after is True:
            yield _act(view, name, "access.open", f"switches {name} on")
    for name, before in old.items():
        parent = name.rsplit(".", 1)[0] if "." in name else ""
        there = not parent or any(other.startswith(parent + ".") for other in new)
        if name not in new and there and (found := _removed(view.path, name, before)):
            yield _act(view, name, *found)


def _act(view: View, name: str, rule: str, title: str) -> Act:
    own = name.rsplit(".", 1)[-1]
    line = next((n for n in sorted(view.fresh) if n <= len(view.rows) and own and own in view.rows[n - 1]), 0)
    line = line or next(iter(sorted(view.fresh)), 1)
    return Act(rule, f"{name}:{title}", title[:200], _WHY, view.path, line, view.shown(line))


def _last(name: str) -> str:
    """The last step of a name as snake_case, with the one before it where it says too little."""
    steps = name.split(".")
    own = "_".join(tokens(steps[-1]))
    if own in ("enabled", "enable", "required", "active", "on", "strict", "mode") and len(steps) > 1:
        return "_".join((*tokens(steps[-2]), own))
    return own


def _about(path: str, name: str) -> bool:
    return not _ABOUT_LIFE.isdisjoint(tokens(f"{path} {name}"))


def _judged(path: str, name: str, old: Any, new: Any, known: set[str], near: bool) -> tuple[str, str] | None:
    own = _last(name)
    if isinstance(old, bool) or isinstance(new, bool):
        return _switched(name, own, old, new)
    if isinstance(old, frozenset) or isinstance(new, frozenset):
        return _listed(path, name, old, new, known)
    if _TRIES.search(own) and _more(old, new):
        return "access.lifetime", f"allows more attempts: {name} is {_said(new)}, it was {_said(old)}"
    if _LIFETIME.search(own) and _about(path, name) and near and _more(old, new):
        return "access.lifetime", f"lets logins and tokens last longer: {name} is {_said(new)}, it was {_said(old)}"
    weaker = isinstance(old, float | int) and isinstance(new, float | int) and new < old
    if _STRENGTH.match(own) and weaker and (near or is_strong(path) or "retention" in own):
        return "access.strength", f"protects less: {name} is {_said(new)}, it was {_said(old)}"
    if own.lower() in ("samesite", "same_site") and str(new).lower() == "none":
        return "access.open", f"sends the cookie to foreign pages: {name} is none"
    rights = _RIGHTS.search(_spaced(name)) or _RIGHTS.search(_spaced(path))
    roles = re.search(r"(?i)default_?role|^role$|required_?role|min_?role", own)
    if (
        rights
        and roles
        and isinstance(old, str)
        and isinstance(new, str)
        and is_strong(new)
        and not is_strong(old + "x")
    ):
        return "access.rights", f"changes a role: {name} is {new}, it was {old}"
    return None


def _spaced(text: str) -> str:
    return " ".join(tokens(text))


def _switched(name: str, own: str, old: Any, new: Any) -> tuple[str, str] | None:
    if (
        old is True
        and new is not True
        and _PROTECTS.match(own)
        and (is_strong(name) or is_weak(name) or _known_switch(own))
    ):
        return "access.open", f"switches {name} off"
    if new is True and _OPENS.match(own):
        return "access.open", f"switches {name} on"
    return None


def _known_switch(own: str) -> bool:
    return (
        re.search(
            r"(?i)http_?only|secure|protect|destroy|encrypt|root|public|recovery|backup|ssl|tls|verif|mfa|2fa|hsts|audit",
            own,
        )
        is not None
    )


def _listed(path: str, name: str, old: Any, new: Any, known: set[str]) -> tuple[str, str] | None:
    one = old if isinstance(old, frozenset) else frozenset[str]()
    other = new if isinstance(new, frozenset) else frozenset[str]()
    come, gone = sorted(other - one), sorted(one - other)
    own = _last(name)
    parts_ = _spaced(name)
    in_table = _RIGHTS.search(parts_) is not None or _RIGHTS.search(_spaced(path.rsplit("/", 1)[-1])) is not None
    if in_table and not _REFUSED.search(own):
        wide = [text for text in come if text in known or "*" in text or is_strong(text)]
        if wide and isinstance(old, frozenset):
            return "access.rights", f"widens {name} by {', '.join(wide[:4])}"
    if (
        _TRUSTED.search(own)
        and come
        and isinstance(old, frozenset)
        and (is_strong(name) or is_weak(name) or "*" in come or len(own) > 6)
    ):
        return "access.rights", f"lets more in: {name} has {', '.join(come[:4])} now"
    if _REFUSED.search(own) and gone and not come:
        return "access.guard", f"refuses less: {name} has lost {', '.join(gone[:4])}"
    return None


def _removed(path: str, name: str, before: Any) -> tuple[str, str] | None:
    own = _last(name)
    if before is True and _PROTECTS.match(own) and _known_switch(own):
        return "access.open", f"{name} is not switched on any more"
    if ENDS.fullmatch(own) and _about(path, name):
        return "access.lifetime", f"{name} is gone: what it bounded lasts for ever"
    return None


def _more(old: Any, new: Any) -> bool:
    """Whether the bound ``new`` lets pass much more than ``old`` did, or has no end."""
    before, after = _size(old), _size(new)
    return before is not None and after is not None and before > 0 and after >= _GROWS * before


def _size(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float | int):
        return math.inf if value <= 0 else float(value)
    if value is None or str(value).lower() in ENDLESS:
        return math.inf
    if match := _SPAN.match(str(value).strip()):
        unit = match[2].lower()
        unit = unit if unit in _SECONDS else unit[0]
        return float(match[1]) * _SECONDS[unit]
    return None


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
