"""Credentials that people set: what is found by what it is given to, and what only looks like one."""

from __future__ import annotations

import base64
import json
import random
import string
import time

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from auto_dev.gates.credentials.assigned import assigned
from auto_dev.gates.credentials.keys import private_keys
from auto_dev.gates.credentials.pieces import joined, line_of_start
from auto_dev.gates.credentials.scanner import by_length, fingerprint, hide, shown
from auto_dev.gates.credentials.values import looks_random

pytestmark = pytest.mark.unit

CHANCE = random.Random(4)
LETTERS = string.ascii_letters + string.digits


def drawn(length: int, alphabet: str = LETTERS) -> str:
    """A credential for one test: never in the repository, so that no scanner stumbles over it."""
    return "".join(CHANCE.choice(alphabet) for _ in range(length))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def token(claims: dict[str, object], alg: str = "HS256", signed: int = 32) -> str:
    """A JSON web token of a service."""
    parts = [json.dumps({"alg": alg, "typ": "JWT"}).encode(), json.dumps(claims).encode(), CHANCE.randbytes(signed)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def key(kind: str, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """A private key in DER."""
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        private = rsa.generate_private_key(65537, 2048)
    else:
        private = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()
    return private.private_bytes(Encoding.DER, form, NoEncryption())


KEY = drawn(32)
PASS = drawn(14) + "4x"
HEX = drawn(32, "0123456789abcdef")
CHOSEN = "Gart3n" + "zwerg&Co"
BOT = drawn(10, "123456789") + ":AA" + drawn(33)
SIGNED = token({"sub": "svc-billing", "role": "admin", "exp": 2_029_910_400})

REAL = [
    ("app/settings.py", f'password = "{PASS}"', PASS),
    ("app/settings.py", f'PASSWORD: Final[str] = "{CHOSEN}"', CHOSEN),
    ("app/settings.py", f"SECRET_KEY = '{drawn(50, LETTERS + '!@#^&*(-_=+)')}'", None),
    ("app/settings.py", f'os.environ.get("API_TOKEN", "{KEY}")', KEY),
    ("app/settings.py", f'client = Client(api_key="{HEX}")', HEX),
    ("web/src/api.ts", f'const apiKey: string = "{KEY}";', KEY),
    ("web/src/api.ts", f'headers: {{ Authorization: "Bearer {KEY}" }}', KEY),
    ("web/src/api.js", f"jwt.sign(user, '{CHOSEN}')", CHOSEN),
    ("cmd/main.go", f'dbPassword := "{PASS}"', PASS),
    ("cmd/main.go", f'var authToken string = "{KEY}"', KEY),
    ("cmd/main.go", f'sql.Open("mysql", "app:{PASS}@tcp(db:3306)/app")', PASS),
    ("src/Main.java", f'builder.password("{PASS}")', PASS),
    ("src/lib.rs", f'let api_token: &str = "{KEY}";', KEY),
    (".env", f"DB_PASSWORD={CHOSEN}", CHOSEN),
    (".env.production", f"export STRIPE_SECRET={KEY}", KEY),
    ("deploy/values.yaml", f"  adminPassword: {PASS}", PASS),
    ("deploy/app.yaml", f"    - name: DB_PASSWORD\n      value: {PASS}", PASS),
    ("deploy/secret.yaml", f"kind: Secret\ndata:\n  db-password: {encoded(PASS)}", encoded(PASS)),
    ("docker-compose.yml", f"      - MYSQL_ROOT_PASSWORD={PASS}", PASS),
    ("config.json", json.dumps({"clientSecret": KEY}), KEY),
    ("web.config", f'<add key="ApiToken" value="{KEY}" />', KEY),
    ("settings.xml", f"<password>{PASS}</password>", PASS),
    ("run.sh", f"deploy --token {KEY}", KEY),
    ("run.sh", f"login --password='{PASS}'", PASS),
    ("a.tf", f'  db_password = "{PASS}"', PASS),
    ("app.properties", f"spring.datasource.password={PASS}", PASS),
    ("app.conf", f"postgresql+asyncpg://app:{PASS}@db.internal:5432/app", PASS),
    ("app.py", f'URL = "amqp://svc:{PASS}@queue/"', PASS),
    ("App.cs", f'"Server=db;User Id=sa;Password={PASS};"', PASS),
    ("App.java", f'"jdbc:postgresql://db/app?user=app&password={PASS}"', PASS),
    ("a.py", f'x = "Authorization: Basic {encoded(f"admin:{PASS}")}"', encoded(f"admin:{PASS}")),
    (".npmrc", f"//npm.example.net/:_authToken={drawn(8, HEX)}-1b2c-4d3e-9f4a-{drawn(12, HEX)}", None),
    (".docker/config.json", json.dumps({"auths": {"r.io": {"auth": encoded(f"bob:{PASS}")}}}), None),
    (".netrc", f"machine x.io login bob password {PASS}", PASS),
    (".pgpass", f"db:5432:app:app:{PASS}", PASS),
    ("a.py", f"key_id = 'AKIA{drawn(16, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567')}'", None),
    ("a.txt", f"DefaultEndpointsProtocol=https;AccountKey={encoded(drawn(64))};", None),
    ("n.ipynb", json.dumps({"cells": [{"source": [f'api_key = "{KEY}"\n']}]}), KEY),
    ("n.ipynb", json.dumps({"cells": [{"outputs": [{"text": [f"token: {KEY}\n"]}]}]}), KEY),
    ("tests/test_x.py", f'TOKEN = "{drawn(40)}"', None),
    ("README.md", f"Set API_KEY={drawn(40)} and go.", None),
    ("src/bot.ts", f"export const BOT = 'https://api.telegram.org/bot{BOT}';", BOT),
    ("docs/bot.md", f"`{BOT}` is the bot", BOT),
    ("src/a.ts", f"fetch('https://api.shop.io/v1?access_token={KEY}&page=2')", KEY),
    ("src/a.ts", f"open('https://shop.io/cb#id_token={SIGNED}')", SIGNED),
    ("src/a.py", f'REMOTE = "https://{KEY}@git.shop.io/a/b.git"', KEY),
    ("src/a.py", f"# the old token: {KEY}", KEY),
    ("src/a.ts", f"await client.login('svc', '{CHOSEN}')", CHOSEN),
    ("src/a.py", f'session.auth = HTTPBasicAuth("svc", "{CHOSEN}")', CHOSEN),
    ("src/a.py", f'TOKEN_B64 = "{encoded(KEY)}"', encoded(KEY)),
    ("tests/fixtures/a.js", f"export const token = '{SIGNED}';", SIGNED),
    ("docs/a.md", f"    curl -u deploy:{drawn(22)} https://repo.shop.io", None),
    ("a.js", f"headers: {{ Cookie: 'session={KEY}' }}", KEY),
    ("docs/a.md", f"The token of staging is `{HEX}`.", HEX),
    ("src/maps.ts", f"const MAPS_KEY = '{KEY}';", KEY),
    ("src/app.py", f'SESSION_SECRET = "{KEY}"', KEY),
    ("tests/fixtures/a.js", f"export const token =\n  '{SIGNED}';", SIGNED),
    ("a.py", f'client(\n    password=(\n        "{PASS}"\n    ),\n)', PASS),
    ("a.yaml", f"api_token: >-\n  {KEY}", KEY),
    ("a.plist", f"<key>ApiKey</key>\n<string>{KEY}</string>", KEY),
    ("res/values/strings.xml", f'<string name="api_key">{KEY}</string>', KEY),
    ("a.json", json.dumps({"name": "API_TOKEN", "value": KEY}, indent=1), KEY),
    ("a.ts", f"const token = process.env.TOKEN ?? '{KEY}';", KEY),
    ("a.py", f'token = os.environ.get("X") or "{KEY}"', KEY),
    ("a.sh", f"curl -H x ${{API_TOKEN:-{KEY}}}", KEY),
    ("a.go", f'var signingKey = []byte("{KEY}")', KEY),
    ("a.go", f'mac := hmac.New(sha256.New, []byte("{PASS}"))', PASS),
    ("a.js", f"const mac = createHmac('sha256', '{PASS}');", PASS),
    ("a.js", f"const token = Buffer.from('{encoded(KEY)}', 'base64');", encoded(KEY)),
    ("db/a.sql", f"CREATE USER app WITH PASSWORD '{PASS}';", PASS),
    ("db/a.sql", f"CREATE USER 'a'@'%' IDENTIFIED BY '{CHOSEN}';", CHOSEN),
    ("a.sh", f"mysql -u app -p{PASS} app", PASS),
    ("a.sh", f"sshpass -p '{PASS}' ssh deploy@host", PASS),
    ("a.py", f'requests.get(url, auth=("deploy", "{CHOSEN}"))', CHOSEN),
    ("a.js", f"const pw = '{CHOSEN}';", CHOSEN),
    ("docs/a.md", f"The token of staging is `{KEY}`.", KEY),
    ("tests/cassettes/a.yaml", f"  Authorization:\n  - Bearer {KEY}", KEY),
]


@pytest.mark.parametrize(("path", "text", "value"), REAL, ids=[f"{n}-{case[0]}" for n, case in enumerate(REAL)])
def test_a_credential_is_found_with_its_line(path: str, text: str, value: str | None) -> None:
    found = assigned(f"# first\n\n{text}\n".encode(), path)
    assert found, text
    assert all(hit.line >= 3 for hit in found)
    assert value is None or any(hit.value == value for hit in found)
    assert all(hit.value not in repr(hit) for hit in found)


HARMLESS = [
    (".env", f"OPENAI_API_KEY=sk-auto-dev-{HEX}{HEX[:16]}"),  # a run's token of the gateway
    ("a.py", f'headers = {{"x-api-key": "sk-auto-dev-{HEX}{HEX[:16]}"}}'),
    ("a.py", 'password = "changeme"'),
    ("a.py", 'password = "<your password>"'),
    ("a.py", 'PASSWORD = os.environ["APP_PASSWORD"]'),
    ("a.py", "password = getpass.getpass()"),
    ("a.py", 'token = "YOUR_TOKEN_HERE"'),
    ("a.py", 'api_key = "xxxxxxxxxxxxxxxxxxxx"'),
    ("a.py", 'AWS_KEY = "AKIAIOSFODNN7' + 'EXAMPLE"'),
    ("a.py", 'aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY' + 'EXAMPLEKEY"'),
    ("a.py", 'secret_name = "prod/database/password"'),
    ("a.py", 'token_url = "https://login.example.net/oauth2/token"'),
    ("a.py", 'SECRET = "projects/p/secrets/db/versions/latest"'),
    ("a.py", f'commit_key = "{HEX}{HEX[:8]}"'),
    ("a.py", f'sha256 = "{HEX}{HEX}"'),
    ("a.py", 'token = "3f2a9c1e-7b44-4e0d-9c55-0a1b2c3d4e5f"'),
    ("a.py", 'password_hash = "$2b$12$' + drawn(53) + '"'),
    ("a.py", 'password = "$argon2id$v=19$m=65536$' + drawn(40) + '"'),
    ("a.py", 'public_key = "' + drawn(44) + '"'),
    ("a.py", 'next_page_token = "' + drawn(44) + '"'),
    ("a.py", 'key = "resetPasswordConfirmationToken2"'),
    ("a.py", 'RESET_TOKEN = "password-reset-token-generator"'),
    ("a.py", 'password = "Password123!"'),
    ("a.py", 'password = f"{prefix}{name}-{number}"'),
    ("a.py", "if password != confirmation: raise ValueError"),
    ("a.py", 'parser.add_argument("--password", help="the password of the database")'),
    ("a.ts", "password: string;"),
    ("a.ts", "const token = await getToken(request.headers.authorization);"),
    ("a.ts", "apiKey: process.env.API_KEY ?? ''"),
    ("a.ts", 'type Token = "identifier" | "number-literal";'),
    ("a.json", '"password": "Passwort eingeben"'),
    ("a.json", '"integrity": "sha512-' + drawn(86) + '=="'),
    ("package-lock.json", '"token": "' + drawn(40) + '"'),
    ("a.yaml", "password: ${DB_PASSWORD}"),
    ("a.yaml", "token: {{ .Values.token }}"),
    ("a.yaml", "secretKeyRef: my-secret-key-reference"),
    ("a.yaml", "    secretName: wildcard-tls-certificate"),
    ("a.yaml", "GITHUB_TOKEN: ${{ secrets.GITHUB_TOKEN }}"),
    ("a.yaml", "kind: Secret\ndata:\n  password: " + encoded("changeme")),
    (".env.example", "API_KEY=your-api-key"),
    (".env", "PASSWORD="),
    (".env", "SECRET_FILE=/run/secrets/app.key"),
    ("a.sh", "TOKEN=$(vault read -field=token secret/app)"),
    ("a.sh", 'curl -H "Authorization: Bearer $TOKEN" https://api.example.com'),
    ("docker-compose.yml", "POSTGRES_PASSWORD: postgres"),
    ("a.py", 'URL = "postgres://postgres:postgres@localhost:5432/test"'),
    ("a.py", 'URL = "postgres://user:password@host/db"'),
    ("a.py", 'URL = f"https://{user}:{password}@host/"'),
    ("a.py", '"Authorization: Basic ' + encoded("user:password") + '"'),
    ("tests/test_login.py", 'login("bob", password="S3cret-pass!")'),
    ("tests/test_login.py", f'password = "{CHOSEN}"'),
    ("tests/conftest.py", 'JWT_SECRET = "test-secret-for-the-suite-1"'),
    ("docs/setup.md", "password: Tr0ub4dor&3"),
    ("a.css", "--color-token: #1a2b3c4d;"),
    ("logo.svg", '<path d="' + drawn(300) + '" key="' + drawn(40) + '"/>'),
    ("a.go", "type Token struct { Kind string; Value string }"),
    ("a.go", 'const tokenHeader = "X-Subject-Token"'),
    ("a.rb", "before_action :authenticate_with_token!"),
    ("m.py", "tokens = tokenizer.encode(text); max_tokens = 4096"),
    ("a.pem", "-----BEGIN CERTIFICATE-----\n" + drawn(64) + "\n-----END CERTIFICATE-----"),
    ("id_rsa.pub", "ssh-rsa " + drawn(300) + " me@host"),
    ("src/a.ts", "fetch(`https://api.shop.io/v1?access_token=${token}&page=2`)"),
    ("src/a.ts", f"fetch('https://api.shop.io/v1?page_token={KEY}')"),
    ("src/a.md", "GET https://api.shop.io/v1?api_key=YOUR_API_KEY"),
    ("src/a.py", 'URL = "https://git@github.com/a/b.git"'),
    ("src/a.ts", f'dsn: "https://{HEX}@o1.ingest.errors.io/42"'),
    ("src/a.ts", "await login('ann', password); login('ann', 'secret')"),
    ("src/a.ts", "const secret = cryptoRandomBytes32Hex; const token = generateAccessTokenV2ForUser;"),
    ("tests/test_login.py", f'client.login("ann", "{CHOSEN}")'),
    ("docs/bot.md", "https://api.telegram.org/bot123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11/getMe"),
    ("db/a.sql", "CREATE USER app WITH PASSWORD 'changeme'; ALTER ROLE app PASSWORD :'pw';"),
    ("a.sh", "mysql -u root -p$MYSQL_PASSWORD app; mysqldump -p app; docker run -p 8080:8080 mysql"),
    ("a.py", 'token = request.headers.get("X-Token") or "anonymous"'),
    ("a.sh", "echo ${API_TOKEN:-unset} ${DB_PASSWORD:?must be set}"),
    ("a.ts", "const token =\n  await session.accessTokenFor(user);"),
    ("a.yaml", "password: >-\n  {{ .Values.password }}\ntoken:\n  secretName: prod-token-2024"),
    ("a.json", json.dumps({"name": "api_token", "value": "{{api_token}}"}, indent=1)),
    ("a.go", 'mac := hmac.New(sha256.New, []byte("test"))'),
    ("docs/a.md", f"The token is refreshed. The commit with the key is {HEX}{HEX[:8]}."),
    ("docs/a.md", "Authorization: Bearer YOUR-ACCESS-TOKEN-GOES-HERE"),
    ("docs/a.md", "    curl -u user:password https://repo.shop.io; curl -u $USER:$PASS https://x.io"),
    ("a.py", 'cookies = {"session": "the-session-of-a-user-by-name"}'),
    ("tests/conftest.py", f'SESSION_SECRET = "{HEX}"'),
    (".env.example", f"JWT_SECRET={HEX}"),
    ("db/users.sql", f"-- password = '{HEX}:{HEX}{HEX}'"),
    ("a.py", f'password = "sha256${drawn(8)}${HEX}{HEX}"'),
    ("a.py", 'SESSION_SECRET = "local-only-Not-A-Secret-1"'),
    ("a.ts", f"const STORAGE_KEY = 'shop/cart/v2'; const CACHE_KEY = '{HEX}'; const keys = {{ rowKey: 'aB3' }};"),
    ("e2e/login.ts", f"await page.fill('#password', '{CHOSEN}'); const password = '{CHOSEN}';"),
    ("k8s/sealed.yaml", f"kind: SealedSecret\n    password: AgB{drawn(200)}"),
    ("a.py", f'TOKEN = "{token({"sub": "1234567890", "name": "John Doe"})}"'),
    ("tests/a.py", f'TOKEN = "{token({"sub": "svc"}, "none", 0)}"'),
    ("tests/a.py", f'TOKEN = "{token({"sub": "svc"}, signed=6)}"'),
    ("tests/a.py", f'TOKEN = "{token({"sub": "svc", "exp": 1_516_239_022})}"'),
    ("tests/a.py", f'TOKEN = "{token({"sub": "svc", "iss": "https://example.com"})}"'),
]


@pytest.mark.parametrize(("path", "text"), HARMLESS, ids=[f"{n}-{case[0]}" for n, case in enumerate(HARMLESS)])
def test_what_only_looks_like_a_credential_asks_nobody(path: str, text: str) -> None:
    assert assigned(text.encode(), path) == []


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("const a = 'abc' + 'def';", "const a = 'abcdef';"),
        ('a = "abc" "def"', 'a = "abcdef"'),
        ('a = (\n    "abc"\n    "def"\n)', 'a = (\n    "abcdef"\n)'),
        ('a = "abc" +\n    "def"', 'a = "abcdef"'),
        ("a = ['abc', 'def'].join('')", 'a = "abcdef"'),
        ('["abc", "def"]', '["abc", "def"]'),
        ('f("abc", "def")', 'f("abc", "def")'),
        ('<a b="abc" c="def">', '<a b="abc" c="def">'),
        ("a = 'abc' + \"def\"", "a = 'abc' + \"def\""),
    ],
)
def test_literals_in_pieces_are_put_together(text: str, whole: str) -> None:
    assert joined(text.encode()).decode() == whole
    assert line_of_start(b"abcdef", f"\n\n{text}".encode()) >= 3


@pytest.mark.parametrize("unit", ["'a' + ", '"a"' + " " * 80, "['a'" + " " * 80 + "'b' ", "[ 'a', 'b', ", '"a"\n'])
def test_pieces_are_joined_in_a_time_that_grows_with_the_length(unit: str) -> None:
    begun = time.process_time()
    joined((unit * (200_000 // len(unit)) + "].join(1)").encode())
    assert time.process_time() - begun < 5


def test_private_keys_are_found_without_their_armour() -> None:
    keys = [key("rsa"), key("ec"), key("ed"), key("rsa", PrivateFormat.TraditionalOpenSSL)]
    keys.append(key("ec", PrivateFormat.TraditionalOpenSSL))
    for data in keys:
        assert [kind for kind, _, _ in private_keys(data, "deploy/key.der")] == ["a private key (DER)"]
        text = base64.b64encode(data).decode()
        assert list(private_keys(f"a: 1\nsigning: {text}\n".encode(), "a.yaml")) == [
            ("a private key (Base64)", text, 2)
        ]
        public = load_der_private_key(data, None).public_key()
        shared = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert list(private_keys(shared, "key.der")) == []
        assert list(private_keys(base64.b64encode(shared), "a.yaml")) == []
    web = json.dumps({"kty": "EC", "x": drawn(43), "y": drawn(43)}, indent=1)
    assert list(private_keys(web.encode(), "jwks.json")) == []
    secret = drawn(43)
    found = list(private_keys(web.replace('"x"', f'"d": "{secret}", "x"').encode(), "jwks.json"))
    assert [value for _, value, _ in found] == [secret]
    putty = (
        f"PuTTY-User-Key-File-3: ssh-rsa\nPublic-Lines: 1\n{drawn(40)}\nPrivate-Lines: 1\n{secret}\nPrivate-MAC: 1\n"
    )
    assert [value for _, value, _ in private_keys(putty.encode(), "id.ppk")] == [secret]


def test_randomness_is_told_from_words() -> None:
    """A thousand of each: a threshold that drifts shows."""
    words = ["reset", "password", "token", "client", "server", "request", "response", "user", "account", "session"]
    names = ["-".join(CHANCE.choice(words) for _ in range(4)) for _ in range(1000)]
    camel = ["".join(CHANCE.choice(words).title() for _ in range(4)) for _ in range(1000)]
    assert sum(looks_random(name) for name in names + camel) <= 10
    assert sum(looks_random(drawn(20)) for _ in range(1000)) >= 970
    assert sum(looks_random(drawn(32, "0123456789abcdef")) for _ in range(1000)) >= 990


@pytest.mark.parametrize(
    "unit", ["password", "password=", "a.password:", "://:", "key='", "token \t", 'auth\\"', "=" * 7, "secret$"]
)
@pytest.mark.parametrize("path", ["a.py", "a.yml", ".env", "a.json"])
def test_any_file_is_searched_in_a_time_that_grows_with_its_length(path: str, unit: str) -> None:
    for text in (unit * (40_000 // len(unit)), (unit * 20 + "\n") * (40_000 // (len(unit) * 20))):
        begun = time.process_time()
        assigned(text.encode(), path)
        assert time.process_time() - begun < 5


def test_what_is_shown_tells_nothing() -> None:
    value = drawn(40)
    assert shown(value) == f"{value[:3]}… (40 characters)"
    assert hide(f"a {value} b", by_length([value])) == f"a {shown(value)} b"
    assert fingerprint(value) == fingerprint(value)
    assert len(fingerprint(value)) == 16
    assert fingerprint(value) != fingerprint(value[:-1])


def test_each_row_of_a_private_key_is_hidden_by_itself() -> None:
    rows = [drawn(64) for _ in range(3)]
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *rows, "-----END PRIVATE KEY-----"])
    text = hide(f"+{rows[1]}\n+ more", by_length([key]))
    assert rows[1] not in text
    assert hide(key, by_length([key])).count(rows[0]) == 0
