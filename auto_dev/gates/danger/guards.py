"""The words and the forms of checks of who may do what, in code of every language. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from auto_dev.gates.danger.lattice import opposite, shape
from auto_dev.gates.syntax.code import (
    Await,
    Binary,
    Call,
    Do,
    Expr,
    Group,
    If,
    Lambda,
    Leave,
    Literal,
    Member,
    Name,
    Other,
    Pair,
    Stmt,
    Unary,
    leaf,
    walk,
)
from auto_dev.gates.syntax.names import names

# Words of who may do what, as they stand alone or in a name such as requireAdmin or api_key.
_STRONG: Final = names(
    "auth authn authz oauth sso saml authenticate authenticated authentication authorize authorized authorization authorise"
    " authorised unauthorized unauthenticated permission permissions permitted role roles admin admins superuser password"
    " passwords passwd passphrase forbidden signature signatures signed csrf xsrf jwt login credential credentials privilege"
    " privileges privileged hmac mfa totp otp denied apikey secret impersonate 401 403"
)
# Words that say it only beside another of them: parsers have tokens, databases have sessions and keys.
_WEAK: Final = names(
    "session sessions token tokens key keys acl access policy policies scope scopes guard guards rights right security"
    " owner owners tenant digest verify webhook webhooks bearer cookie cookies grant grants trusted allowed nonce captcha"
    " attempts lockout expired user users account member principal identity claims"
)
_PAIRS: Final = re.compile(
    r"compare_?digest|timing_?safe|constant_?time|is_?(?:owner|staff|superuser|root)|has_?perm|(?:not|no)_?allowed|api_?key|"
    r"access_?(?:token|denied|control)|rate_?limit|row_?level|same_?origin|bcrypt|argon2|scrypt|logged_?in|log in|not allowed|sign_?in",
    re.IGNORECASE,
)
GUARD: Final = re.compile(
    r"^(?:require|ensure|check|assert|verify|validate|authori[sz]e|authenticate|enforce|guard|must|protect|demand|permit|deny|"
    r"restrict|login_required|permission_required|can|may|has_?perm|is_?admin|is_?auth|current_?user|get_current|"
    r"compare_?digest|timing_?safe|constant_?time|compare$|compareSync|checkpw)",
    re.IGNORECASE,
)
MIDDLEWARE: Final = re.compile(
    r"^(?:is|has|can|may|with|use)?_?(?:require|ensure|check|verify|authori[sz]e|authenticate|auth|protect|restrict|guard|admin|login|"
    r"logged|csrf|jwt|session|permission|role|scope|acl|passport|owner|rate|limit)",
    re.IGNORECASE,
)
_REFUSED: Final = re.compile(r"^(?:4(?:01|03)|Status(?:Unauthorized|Forbidden)|UNAUTHORIZED|FORBIDDEN|HTTP_40[13]\w*)$")
_ERRORS: Final = re.compile(
    r"^(?:Err[A-Z_]?\w*|err|errors?|Errorf|fail\w*|abort\w*|reject\w*|deny\w*|forbid\w*|unauthori[sz]ed\w*|panic|redirect\w*|"
    r"HttpResponse(?:Forbidden|Redirect)|\w*(?:Forbidden|Unauthorized|Denied|Error|Exception))$"
)
HASHES: Final = re.compile(
    r"scrypt\w*|pbkdf2\w*|bcrypt|argon2\w*|hashpw|(?:make|generate)_password_hash|make_password|sha\d+|createhmac|hmac|blake2\w|md5|createhash",
    re.IGNORECASE,
)
DRAWS: Final = re.compile(
    r"token_(?:urlsafe|hex|bytes)|randomBytes|randomUUID|uuid4|getRandomValues|crypto\.rand|rand\.Read|urandom|SystemRandom|OsRng",
    re.IGNORECASE,
)
VERDICT: Final = re.compile(
    r"^(?:_*(?:is|has|can|may|check|verify|valid\w*|allow\w*|authori[sz]\w*|permit\w*|authenticat\w*|compare|match\w*|ok|"
    r"should|ensure|require\w*|test_func|dispatch|trust\w*))|(?:allowed|valid|authorized|ok|matches|permission|permitted|access)$",
    re.IGNORECASE,
)


def tokens(text: str) -> list[str]:
    """The words of names and texts, in lower case: ``requireAdmin`` gives require, admin."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", text)
    return [word.lower() for word in re.findall(r"[A-Za-z]+|\d+", spaced)]


def is_strong(text: str) -> bool:
    """Whether ``text`` speaks of who may do what."""
    return not _STRONG.isdisjoint(tokens(text)) or _PAIRS.search(text) is not None


def is_weak(text: str) -> bool:
    return not _WEAK.isdisjoint(tokens(text))


def given_in(given: Iterable[Expr]) -> Iterator[Expr]:
    """The arguments of a route, also those in a list and in ``{ preHandler: [a, b] }``."""
    for one in given:
        if isinstance(one, Group):
            yield from given_in(one.items)
        elif isinstance(one, Pair):
            yield from given_in((one.value,))
        else:
            yield one


def called_by(node: Expr, one: Lambda) -> str:
    for part in walk(node):
        if isinstance(part, Call) and any(given is one for given in part.arguments):
            texts = [given.text for given in part.arguments if isinstance(given, Literal) and given.kind == "string"]
            return " ".join((leaf(part), *texts[:2]))
        if isinstance(part, Pair) and part.value is one:
            return shape(part.key).strip('"')
    return ""


def unwaited(node: Expr) -> Expr:
    return node.value if isinstance(node, Await) else node


def is_test(node: Expr) -> bool:
    """Whether the value of ``node`` is yes or no, as it is written."""
    node = unwaited(node)
    if isinstance(node, Binary):
        return node.operator in ("==", "!=", "<", ">", "<=", ">=", "in", "not in", "and", "or")
    if isinstance(node, Unary):
        return node.operator == "not"
    if isinstance(node, Other) and node.kind == "choice":
        return True
    if isinstance(node, Other) and node.kind == "conditional_expression":
        return True
    if isinstance(node, Call):
        return (
            re.match(r"(?i)is|has|can|may|includes|contains|equal|test|match|some|every|any|all|check|verify|compare|timing|constant|valid|allow", leaf(node))
            is not None
        )  # fmt: skip
    return False


def truth(node: Expr) -> bool:
    return isinstance(node, Literal) and node.kind == "bool"


def answer(node: Expr) -> Expr:
    """``node`` as a test: ``x ? claims : null`` is ``x``."""
    node = unwaited(node)
    if isinstance(node, Other) and node.kind == "choice" and len(node.parts) == 3:
        test, one, other = node.parts
        nothing = [isinstance(part, Literal) and part.text in ("null", "undefined", "false") for part in (one, other)]
        if nothing == [False, True]:
            return test
        if nothing == [True, False]:
            return opposite(test)
    return node


def leaves(node: Stmt) -> bool:
    if isinstance(node, Leave):
        return True
    if isinstance(node, Do):
        return raises(node.value)
    return isinstance(node, If) and bool(node.otherwise) and all(
        any(leaves(one) for one in body) for body in (node.then, node.otherwise)
    )  # fmt: skip


def raises(node: Expr) -> bool:
    """Whether a call ends the request with a refusal: ``abort(403)``, ``http.Error(w, "…", 401)``, ``res.sendStatus(401)``."""
    node = unwaited(node)
    if not isinstance(node, Call):
        return False
    return any(
        (isinstance(part, Literal) and _REFUSED.match(part.text)) or (isinstance(part, Member | Name) and _REFUSED.match(part.name))
        for part in walk(node)
    )  # fmt: skip


def refused(node: Leave, *, plain: bool) -> bool:
    """Whether leaving so is a no. ``plain``: in a place of checks, null and false are."""
    if node.kind == "raise":
        return True
    value = node.value
    if value is None or node.kind != "return":
        return False
    if isinstance(value, Literal):
        return plain and value.kind in ("bool", "null") and value.text != "true"
    if isinstance(value, Group) and value.kind == "tuple" and value.items:
        return any(_named_error(item) for item in value.items)
    return raises(value) or _named_error(value)


def _named_error(node: Expr) -> bool:
    name = leaf(node)
    return bool(name) and _ERRORS.match(name) is not None


def owns(words: str) -> bool:
    """A comparison of owners: ``item.owner_id != user.id``."""
    return (
        re.search(r"\.(?:owner|user|author|tenant|account|org\w*|team|creator|created_?by)(?:_?[iI]d)?\b", words)
        is not None
    )
