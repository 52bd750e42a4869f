"""Sentences that announce an act: what is done, to what, in the active and in the passive voice. Pure."""

from __future__ import annotations

import re
from typing import Final

_SUFFIX: Final = r"(?:e|es|ed|s|ing|ied|ies|y|n|en|(?:p|t|g|n|l|m|b)(?:ed|ing))?"
# What may stand between the verb and its object: anything but a word that begins something else.
_GAP: Final = (
    r"(?:\s+(?!(?:in|into|from|to|for|on|onto|with|by|at|and|or|but|that|which|so|if|when|then|before|after|as|unless|until)\b)"
    r"[\w`'\"./:*()-]+,?){0,5}?\s+"
)
_BE: Final = (
    r"[`\"']?(?:\s+(?!(?:and|or|but|so|if|when|that|which|not)\b)[\w`'\"./-]+){0,6}?\s+(?:be|is|are|been|being|get|gets|was|were)\s+"
    r"(?:\w+ly\s+|also\s+|then\s+|all\s+|just\s+)?"
)


_ELSE: Final = (  # what makes something else of the object: its description, a file of that name
    r"(?!['’]s\b|\.\w|\s+(?:names|documentation|docs?|comments?|tests?|handlers?|helpers?|components?|headers?\b)|"
    r"\s+(?:from|in|of)\s+(?:the\s+)?(?:readme|changelog|comments?|docs?|documentation|css|html|ui|fixtures?|tests?|markup|view|page|dialog|form)\b)"
)


def _said(verbs: str, objects: str) -> str:
    """The verb before its object, or the object and what is done to it. ``verbs``: stems."""
    stems = rf"(?:{verbs}){_SUFFIX}\b"
    return rf"\b{stems}{_GAP}[`\"']?(?:{objects})\b{_ELSE}|\b(?:{objects})\b{_BE}{stems}"


_DESTROY: Final = r"drop|delet|remov|truncat|wip|purg|eras|empt|clear|destroy|discard|overwrit|overwritt|reset|recreat|nuk|prun|get rid of|throw away|thrown away"
_KEPT: Final = (
    r"(?:tables?|columns?|databases?|schemas?|backups?|snapshots?|buckets?|volumes?|partitions?|collections?|dumps?|"
    r"(?:user|customer|order|production|historical|live|real|all|existing|old|legacy|stored|its|their|our) data|"
    r"(?:all|every|existing|old|legacy|stale|expired|inactive|orphaned|historical|the remaining|these|those)\s+(?:[\w-]+\s+){0,3}"
    r"(?:data|records?|rows?|entries|customers?|users?|accounts?|orders?|invoices?|messages?|documents?|sessions?|events?|bookings?|payments?|history|logs))"
)
_CHECKS: Final = (
    r"(?:auth(?!or)\w*|log-?ins?|permissions?|access (?:checks?|controls?)|csrf|cors|tls|ssl|certificates?|certificate (?:checks?|validation|verification)|"
    r"(?:[\w-]+[ -])?signatures?|signature (?:checks?|verification|validation)|jwts?|rate limit\w*|firewalls?|mfa|2fa|two-factor\w*|encryption|"
    r"security (?:checks?|rules?|headers?|middleware|group)|password (?:checks?|hash\w*|polic\w+|rules?)|captcha|row[- ]level security|"
    r"(?:role|key|token|password|ownership|owner|admin|permission|session|origin|expiry|scope|rights|hmac|login|webhook|tenant)s?[ -](?:checks?|checking|guards?|verification|validation|comparison|requirement|protection|restriction)s?)"
)
_UNGUARD: Final = (
    r"disabl|remov|drop|skip|bypass|relax|turn off|turned off|turning off|switch off|switched off|loosen|weaken|comment out|commented out|delet|deactivat|"
    r"ignor|lift|get rid of|suppress|circumvent|omit|stop checking|stop verifying|stop validating|no longer check|no longer verif|no longer requir|no longer validat|stop requiring"
)
_OFFERED: Final = (
    r"(?:(?:public|exported|documented)\s+(?:[\w`./-]+\s+){0,3}?(?:api|function|method|class|export|interface|endpoint|option|field|type|constant|module|name)s?|"
    r"(?:[\w`/.{}:-]+\s+)?(?:endpoint|route)s?|api (?:field|version|endpoint|method|parameter)s?|(?:response|request|payload|json) (?:field|key|parameter|format|header|shape|body)s?|"
    r"(?:command[- ]line|cli) (?:option|flag|command|argument)s?|api v\d|v\d api|the (?:rest|http|graphql|public|old|v\d) api)"
)
_SECRETS: Final = (
    r"(?:api keys?|credentials?|secrets?|(?:user |all |admin |root |the |database )passwords?|(?:access|refresh|api|auth|deploy|bearer|service) tokens?|"
    r"(?:tls |ssl )?certificates?|ssh keys?|(?:signing|private|encryption|deploy|secret|master) keys?)"
)
_RUNNING: Final = (
    r"(?:clusters?|namespaces?|stacks?|(?:staging |test |production |whole |preview )?environments?|(?:ec2 |vm |database |server )?instances?|load balancers?|"
    r"(?:database |db )servers?|deployments?|terraform (?:state|resources?)|infrastructure)"
)
_ON: Final = r"(?:to|in|on|against|at|from|into|with|towards?)\s+(?:the\s+|our\s+)?(?:live|prod(?:uction)?)\b(?!-|\s+(?:build|mode|bundle|code))"
_ACTING: Final = (
    r"(?:deploy|push|releas|rollout|roll out|rolled out|appl|run|running|execut|migrat|chang|connect|updat|switch|point|test|backfill|import|cop|restor|restart|"
    r"scal|stop|start|enabl|turn on|set|edit|modif|writ|hotfix|patch|tr|load|sync|ship|promot|query|reboot|use|using|upgrad|install|seed|reset|delet|drop|publish|merg|rais|lower|increas|reduc)"
)
_EVERYBODY: Final = r"(?:everyone|everybody|anyone|anybody|all users|any user|the public|the (?:whole )?(?:world|internet)|anonymous(?: users?| access| requests?)?|unauthenticated\s*\w*|guests?|any origin|all origins|any (?:host|ip)|0\.0\.0\.0)"

SAID: Final = tuple(
    (rule, re.compile(pattern, re.IGNORECASE), title, why)
    for rule, title, why, pattern in (
        ("data.empty", "deletes data", "what it holds is lost", _said(_DESTROY, _KEPT)),
        ("data.narrow", "changes what a database holds", "values may be lost, or what reads them breaks",
         _said(r"renam|narrow|shrink|shrunk|shorten|truncat|split|merg", r"(?:database |db )?(?:columns?|tables?|schemas?)")
         + r"|\b(?:destructive|irreversible|non-reversible)\s+(?:\w+\s+)?(?:migration|change|operation|step)s?\b"),
        ("git.force_push", "rewrites what others have", "commits of others can be lost",
         r"\bforc(?:e|ed|ing)[- ]push\w*|\bpush\w*\s+(?:[\w/-]+\s+){0,5}?(?:by force|with (?:--)?force\b|forcefully)|--force\b|--force-with-lease|\bgit push (?:\S+ )*-f\b|"
         + _said(r"rewrit|rewritt|squash|purg|clean|scrub", r"(?:the |our )?(?:git |commit |published |shared )?histor(?:y|ies)(?: of (?:main|master|the branch))?")
         + r"|\b(?:cleaned|rewritten|squashed|rebased)\s+history\b|" + _said(r"delet|remov|overwrit", r"(?:remote |main |master |release |old |stale |\w+/)\s*(?:branch(?:es)?|tags?)")),
        ("git.hard_reset", "resets a working copy by force", "what is not committed is lost", r"\breset --hard\b|\bhard[- ]reset\w*(?= (?:to|of the (?:branch|repo)|the (?:branch|repo)))"),
        ("production.change", "works on production", "users feel it at once",
         rf"\b{_ACTING}{_SUFFIX}\b(?:[^.;?]|\.(?=\w)){{0,70}}?\b{_ON}|" + _said(r"chang|updat|restart|migrat|stop|scal|edit|modif|touch|reset|us|query|connect to|cop|restor|rotat|switch|deploy to|point at",
         r"(?:the |our )?(?:live|prod(?:uction)?) (?:\w+ )?(?:database|db|data|config\w*|settings?|servers?|cluster|environment|credentials?|secrets?|keys?|systems?|instances?|limits?|traffic|bucket|queue|users?|replicas?)")
         + r"|\bgo(?:es|ing)? live\b"),
        ("access.guard", "takes a check away or opens something up", "who may do what is a person's decision",
         _said(_UNGUARD, _CHECKS) + rf"|\b(?:open|expos|mak)(?:e|es|ed|ing|s)?\s+[^.;?]{{0,60}}?\b(?:up\s+)?(?:to|for)\s+{_EVERYBODY}\b|\b(?:allow|let|permit|admit|accept)(?:s|ed|ing|ting)?\s+(?:access (?:to|for|by) )?(?:{_EVERYBODY}|any (?:password|token|certificate|signature|key|role))\b"
         r"|\b(?:reachable|accessible|available|callable|usable|readable|writable|work\w*|access\w*|call\w*|delete|edit)\b[^.;?]{0,40}\bwithout\s+(?:an?\s+|any\s+|being\s+|checking\s+|the\s+)*(?:auth\w*|log(?:ging|ged)?[- ]?in|password|token|permission|key|role|signature|session|csrf)"
         r"|\bmak(?:e|es|ing)\s+(?:[\w`/-]+\s+){1,5}(?:public|world[- ]readable|world[- ]writable)\b|\bstor(?:e|es|ing)\s+(?:the\s+)?passwords?\s+(?:in|as)\s+(?:plain|clear)|\b(?:never|not|longer) expir\w+|\bexpir\w+ never\b"),
        ("access.rights", "widens rights", "whoever gets in may do more",
         r"\b(?:grant|give|assign|add)(?:s|ed|ing|en)?\s+(?:[\w`-]+\s+){0,6}?(?:(?:admin|owner|root|superuser|full|all|write|delete|manage\w*|elevated|more|additional|wider)\s+(?:access|rights?|permissions?|privileges?|role)|the (?:admin|owner|manager|superuser) role)\b|"
         + _said(r"widen|extend|elevat|escalat|expand|broaden", r"(?:the )?(?:\w+ )?(?:permissions?|rights|roles?|privileges?|access|scopes?)") + r"|\bgrant\s+(?:all|select|insert|update|delete|\*)\b|\b(?:wildcard|public) (?:permissions?|polic\w+|access)\b|\bchmod\s+(?:-R\s+)?0?777\b"),
        ("api.break", "breaks a public interface", "whoever uses it has to change",
         _said(r"remov|renam|drop|delet|retir|replac|chang", _OFFERED) + r"|\bdrop(?:s|ped|ping)? support for\b|\bbreaking (?:\w+ )?changes?\b|\bbackwards?[- ]incompatib\w+|\bincompatible (?:\w+ )?change|\bbreak(?:s|ing)?\s+(?:[\w-]+\s+){0,3}?(?:clients?|callers?|consumers?|integrations?|compatib\w+|api)\b"
         r"|\b(?:field|parameter|header|argument|key)s?\s+(?:(?:become|becomes|will be|is|are|be|made|a)\s+){1,2}(?:required|mandatory)\b|\bmak(?:e|es|ing)\s+(?:[\w`.-]+\s+){1,5}(?:required|mandatory)\b[^.;?]{0,40}\b(?:request|body|route|api|endpoint|clients?|callers?)"),
        ("credentials.change", "changes credentials", "what uses them may stop, or let others in",
         _said(r"rotat|revok|regenerat|replac|delet|reset|invalidat|expos|publish|commit|log|print", _SECRETS) + r"|\bhard-?cod\w+\s+(?:[\w-]+\s+){0,3}(?:password|secret|credential|api key|token|key)"),
        ("infrastructure.delete", "destroys infrastructure", "what runs or is stored there is gone",
         _said(r"destroy|tear down|torn down|tearing down|delet|terminat|decommission|shut down|wip|remov", _RUNNING) + r"|\bterraform destroy\b|\bkubectl delete\b|\bdocker (?:volume|system) (?:rm|prune)\b|\bdropdb\b"),
        ("shell.rm", "deletes folders", "what they hold is lost", r"\brm\s+-(?:r|f|rf|fr)\b"),
    )
)  # fmt: skip
