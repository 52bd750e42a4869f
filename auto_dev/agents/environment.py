"""The environment of everything that runs code which auto-dev did not write: by allowlist, never by leaving out.

In a box HOME is a folder of the run's. Without a sandbox it is the user's own: cargo, npm, uv, maven and git keep
caches and settings there and fail or start from nothing without it. So a file in the home folder can be read by an
agent that looks for it; that is what ``--no-sandbox`` says. A variable cannot: a name that is not listed here does not
reach a child.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_ALLOWED: Final = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TERM", "COLORTERM", "TZ", "TMPDIR"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "LD_LIBRARY_PATH"),
        *("JAVA_HOME", "GOPATH", "GOROOT", "GOMODCACHE", "CARGO_HOME", "RUSTUP_HOME", "ANDROID_HOME", "DOTNET_ROOT"),
        *("NVM_DIR", "PYENV_ROOT", "RBENV_ROOT", "VOLTA_HOME", "PNPM_HOME", "BUN_INSTALL", "DENO_DIR"),
        *("UV_CACHE_DIR", "UV_PYTHON_INSTALL_DIR", "PIP_CACHE_DIR", "NPM_CONFIG_CACHE"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"),  # a company's certificates
    )
)
_USERS_OWN: Final = frozenset(
    (
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "TMPDIR"),
        *("CARGO_HOME", "GOPATH", "GOMODCACHE", "UV_CACHE_DIR", "PIP_CACHE_DIR", "NPM_CONFIG_CACHE"),
    )
)
# Shims look for their toolchains below HOME unless they are told.
_TOOLCHAINS: Final = {
    "RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv", "RBENV_ROOT": ".rbenv", "VOLTA_HOME": ".volta", "NVM_DIR": ".nvm",
}  # fmt: skip
_LOCALE: Final = re.compile(r"LC_[A-Z]+\Z")
_PROXY: Final = re.compile(r"(?:https?|all|no)_proxy\Z", re.IGNORECASE)


def agent_env(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The complete environment of a child: what is allowed of ``base`` (the daemon's own), and all of ``extra``."""
    allowed = {name: value for name, value in base.items() if _may_pass(name, value)}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", **allowed, **{name: str(value) for name, value in extra.items()}}


def boxed_env(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """The environment inside a box whose home folder is ``home``.

    What names a toolchain keeps its place (boxes show toolchains, read-only); what names a cache or a setting of the
    user's is left out, so that it falls below ``home``; proxies of the host's network mean nothing inside.
    """
    env = {
        name: value for name, value in agent_env(base, {}).items() if name not in _USERS_OWN and not _PROXY.match(name)
    }
    users_home = Path(base.get("HOME") or Path.home())
    for name, folder in _TOOLCHAINS.items():
        if name not in env and (users_home / folder).is_dir():
            env[name] = str(users_home / folder)
    return env | {"HOME": str(home), "TMPDIR": "/tmp"}  # noqa: S108 (a box has its own)


def _may_pass(name: str, value: str) -> bool:
    if _PROXY.match(name):
        return "@" not in value  # a proxy's address may carry a password
    return name in _ALLOWED or _LOCALE.match(name) is not None
