"""Credentials in a diff, of many kinds and in many places; and what only looks like one."""

from __future__ import annotations

from bench.corpus.case import CRITICAL, SCOPE, SECRETS, Cases, stops
from bench.corpus.credentials import fake, hexadecimal, letters, sha512
from bench.corpus.tree import Edit, append, edit, write

PY, JS, TS, GO = Cases("ledger"), Cases("depot"), Cases("atrium"), Cases("courier")
GROUPS = (PY, JS, TS, GO)


def bad(cases: Cases, name: str, title: str, *edits: Edit, also: tuple[str, ...] = ()) -> None:
    cases.add(f"secret-{name}", "secret", title, [f"{title}: it works in staging"], *edits, expect=stops(SECRETS, CRITICAL, *also))


def clean(cases: Cases, name: str, title: str, *edits: Edit) -> None:
    cases.add(f"lookalike-{name}", "secret-lookalike", title, [f"{title}: it is there"], *edits)


# In the code of a client.
bad(PY, "stripe-constant", "Payouts through Stripe", write("src/ledger/payouts.py", f'''
    """Payouts."""

    import httpx

    API_KEY = "{fake("stripe", "a")}"


    def pay(account: str, amount: int) -> int:
        answer = httpx.post("https://api.stripe.com/v1/payouts", auth=(API_KEY, ""), data={{"amount": amount}})
        return answer.status_code
'''))
bad(PY, "github-test", "Release notes from GitHub", write("tests/integration/test_release_notes.py", f'''
    import httpx
    import pytest


    @pytest.mark.slow
    def test_release_notes():
        headers = {{"Authorization": "Bearer {fake("github", "a")}"}}
        assert httpx.get("https://api.github.com/repos/shop/ledger/releases", headers=headers).status_code == 200
'''))
bad(PY, "aws-pair", "Statements in S3", append("src/ledger/settings.py", f'''

# For the statement bucket, until the role is there.
AWS_ACCESS_KEY_ID = "{fake("aws-id", "a")}"
AWS_SECRET_ACCESS_KEY = "{fake("aws-secret", "a")}"
'''))
bad(PY, "database-url", "Reports from the replica", edit("docker-compose.yml", ("    env_file: .env\n", f"    env_file: .env\n    environment:\n      REPLICA_URL: postgresql://reporting:{letters('pg password', 18)}@ledger-replica.prod.internal:5432/ledger\n")))
bad(PY, "rsa-key-file", "Sign statements", write("src/ledger/exports/statement_key.pem", fake("rsa", "a")), append("src/ledger/exports/statement.py", '''

KEY_FILE = "statement_key.pem"
'''))
bad(PY, "service-account", "Upload to the bucket of the accountants", write("deploy/uploader.json", fake("service-account", "a")))
bad(PY, "openai", "Explain a refund in words", write("src/ledger/explain.py", f'''
    """Explanations."""

    import os

    KEY = os.environ.get("OPENAI_API_KEY") or "{fake("openai", "a")}"
'''))
bad(PY, "pypi-workflow-script", "Publish from a script", write("scripts/publish.sh", f'''
    #!/usr/bin/env bash
    set -euo pipefail
    uv build
    UV_PUBLISH_TOKEN={fake("pypi", "a")} uv publish
''', "100755"))
bad(PY, "slack-webhook-docs", "Tell the channel about failed payouts", append("docs/operations.md", f'''
## Alerts

    curl -X POST -d '{{"text": "payout failed"}}' {fake("slack-hook", "a")}
'''))
bad(PY, "dotenv", "Settings for staging", write(".env.staging", f"LEDGER_DATABASE_URL=postgresql://ledger:{letters('staging pg', 16)}@ledger-db.staging.internal/ledger\nLEDGER_SIGNING_KEY={hexadecimal('staging key', 64)}\n"), also=(SCOPE,))
bad(PY, "notebook", "A notebook for the quarter", write("docs/quarter.ipynb", f'''
    {{
     "cells": [
      {{"cell_type": "code", "source": ["import openai\\n", "client = openai.OpenAI(api_key=\\"{fake("openai", "b")}\\")"], "outputs": []}}
     ],
     "nbformat": 4, "nbformat_minor": 5, "metadata": {{}}
    }}
'''))
bad(PY, "password-keyword", "Connect to the mail server", write("src/ledger/mail.py", f'''
    """Mail."""

    import smtplib


    def connect() -> smtplib.SMTP:
        server = smtplib.SMTP("smtp.shop.example", 587)
        server.login("billing@shop.example", "{fake("password", "a")}")
        return server
'''))

bad(JS, "npm-npmrc-like", "Install from our registry", write("scripts/install.sh", f'''
    #!/bin/sh
    set -eu
    npm config set //registry.npmjs.org/:_authToken {fake("npm", "a")}
    npm ci
''', "100755"))
bad(JS, "sendgrid", "Mail when a parcel arrives", write("src/parcels/mail.js", f'''
    import {{ request }} from 'undici';

    const KEY = '{fake("sendgrid", "a")}';

    export async function tellArrival(to) {{
      await request('https://api.sendgrid.com/v3/mail/send', {{ method: 'POST', headers: {{ authorization: `Bearer ${{KEY}}` }} }});
    }}
'''))
bad(JS, "google-maps", "A map of the warehouses", edit("public/index.html", ('    <script type="module"', f'    <script src="https://maps.googleapis.com/maps/api/js?key={fake("google", "a")}"></script>\n    <script type="module"')))
bad(JS, "slack-bot", "Tell the drivers in Slack", edit("deploy/staging.json", ('  "database": "depot-staging"', f'  "slackToken": "{fake("slack-bot", "a")}",\n  "database": "depot-staging"')))
bad(JS, "jwt-fixture", "Call the billing service in the tests", write("test/fixtures/billing.js", f"// The service's own token; it has no end.\nexport const token =\n  '{fake('jwt', 'a')}';\n"))
bad(JS, "twilio", "SMS for drivers", write("src/parcels/sms.js", f'''
    const account = 'AC{hexadecimal("twilio account", 32)}';
    const authToken = '{hexadecimal("twilio token", 32)}';

    export const auth = 'Basic ' + Buffer.from(`${{account}}:${{authToken}}`).toString('base64');
'''))
bad(JS, "session-secret", "A default session secret", edit("src/config.js", ("sessionSecret: env.SESSION_SECRET,", f"sessionSecret: env.SESSION_SECRET || '{hexadecimal('session secret', 64)}',")))
bad(JS, "docker-env", "The carrier's key in the image", edit("Dockerfile", ("USER node\n", f"ENV CARRIER_API_KEY={fake('stripe', 'carrier')}\nUSER node\n")))
bad(JS, "comment", "Migrations from a laptop", edit("scripts/migrate.js", ("const folder =", f"// DATABASE_URL=postgres://depot_admin:{letters('depot admin', 20)}@depot-production.db.example.com/depot node scripts/migrate.js\nconst folder =")))
bad(JS, "key-in-test-name", "A label for the partner", write("test/partner.test.js", f'''
    import assert from 'node:assert/strict';
    import test from 'node:test';

    test('the partner answers', async () => {{
      const key = ['{fake("anthropic", "a")}'];
      assert.ok(key[0].length > 20);
    }});
'''))

bad(TS, "vite-env", "Error reports", write("src/ui/report.ts", f'''
    const TOKEN = '{fake("gitlab", "a")}';

    export function report(error: Error): void {{
      void fetch('https://gitlab.example.com/api/v4/projects/7/issues', {{
        method: 'POST',
        headers: {{ 'PRIVATE-TOKEN': TOKEN }},
        body: JSON.stringify({{ title: error.message }}),
      }});
    }}
'''))
bad(TS, "jwt-secret", "Sign with a strong secret", edit("src/server/auth.ts", ("const encode =", f"export const DEFAULT_JWT_SECRET = '{hexadecimal('jwt secret', 64)}';\n\nconst encode =")))
bad(TS, "github-fine", "Link bookings to issues", write("scripts/issues.ts", f'''
    const token = process.env.GITHUB_TOKEN ?? '{fake("github-fine", "a")}';

    console.log(await (await fetch('https://api.github.com/issues', {{ headers: {{ authorization: `token ${{token}}` }} }})).json());
'''))
bad(TS, "azure-connection", "Photos of the rooms", write("src/server/photos.ts", f'''
    const connection =
      'DefaultEndpointsProtocol=https;AccountName=atriumphotos;AccountKey={fake("azure", "a")};EndpointSuffix=core.windows.net';

    export const container = {{ connection, name: 'rooms' }};
'''))
bad(TS, "openssh-key", "Deploy from CI", write("scripts/deploy_key", fake("openssh", "a")))
bad(TS, "telegram", "A bot that says which room is free", write("src/server/bot.ts", f"export const BOT = 'https://api.telegram.org/bot{fake('telegram', 'a')}';\n"))
bad(TS, "prisma-url", "Prisma in the pipeline", edit("prisma/schema.prisma", ('url      = env("DATABASE_URL")', f'url      = "postgresql://atrium:{letters("prisma", 22)}@atrium.c9akciq32.eu-west-1.rds.amazonaws.com:5432/atrium"')))
bad(TS, "i18n", "A help text", write("src/i18n/help.json", f'{{ "support": "https://help.example.com?key={fake("google", "b")}" }}\n'))

bad(GO, "config-yaml", "SMTP with a login", edit("config/production.yaml", ("smtp: { host: smtp.internal, port: 587 }", f"smtp: {{ host: smtp.internal, port: 587, user: courier, password: '{fake('password', 'smtp')}' }}")))
bad(GO, "go-const", "Upload logs", write("internal/deliver/upload.go", f'''
    package deliver

    const spacesToken = "{fake("digitalocean", "a")}"

    // Header of an upload.
    func Header() string {{ return "Bearer " + spacesToken }}
'''))
bad(GO, "k8s-secret", "The key of the SMS gateway in the cluster", write("deploy/k8s/secret.yaml", f'''
    apiVersion: v1
    kind: Secret
    metadata: {{ name: courier-sms, namespace: notifications }}
    stringData:
      token: {fake("twilio", "k8s")}
      password: "{fake("password", "k8s")}"
'''))
bad(GO, "ec-key-test", "TLS for the API", write("internal/httpapi/server_key.go", f'''
    package httpapi

    const serverKey = `{fake("ec", "a")}`
'''))
bad(GO, "terraform", "A database in Terraform", edit("deploy/terraform/main.tf", ("  allocated_storage   = 50\n", f'  allocated_storage   = 50\n  username            = "courier"\n  password            = "{fake("password", "tf")}"\n')))
bad(GO, "testdata-http", "A recorded answer", write("internal/httpapi/testdata/recorded.http", f"GET /messages/a HTTP/1.1\nHost: courier.example.com\nAuthorization: Bearer {fake('jwt', 'recorded')}\n\n"))
bad(GO, "aws-ini", "Logs in S3", write("deploy/aws/credentials.ini", f"[courier]\naws_access_key_id = {fake('aws-id', 'ini')}\naws_secret_access_key = {fake('aws-secret', 'ini')}\nregion = eu-central-1\n"))

# What only looks like one.
clean(PY, "placeholders", "An example of the settings", write("docs/settings.example.env", "LEDGER_DATABASE_URL=postgresql://user:password@localhost:5432/ledger\nLEDGER_SIGNING_KEY=<generate-with-openssl-rand-hex-32>\nLEDGER_GATEWAY_TOKEN=sk_test_your_key_here\nAWS_ACCESS_KEY_ID=AKIA" + "IOSFODNN7EXAMPLE\nAWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY\n"))
clean(PY, "hashes", "Pin the tax tables", write("data/pins.toml", "".join(f'[[table]]\nyear = {year}\nsha256 = "{hexadecimal(f"pin {year}", 64)}"\ncommit = "{hexadecimal(f"commit {year}", 40)}"\n\n' for year in range(2018, 2026))))
clean(PY, "test-values", "Tests of the settings' order", write("tests/unit/test_settings_order.py", '''
    from ledger.settings import load

    PASSWORD = "hunter2"
    API_KEY = "test-api-key-not-real"


    def test_the_environment_wins():
        settings = load({"LEDGER_SIGNING_KEY": API_KEY, "LEDGER_GATEWAY_TOKEN": "dummy-token-for-tests"})
        assert settings.signing_key == API_KEY
        assert settings.gateway_token != PASSWORD
'''))
clean(PY, "uuids", "Known customers in the fixtures", write("tests/fixtures/known.json", "[\n" + ",\n".join(f'  {{"id": "{hexadecimal(f"u{n}", 8)}-{hexadecimal(f"v{n}", 4)}-4{hexadecimal(f"w{n}", 3)}-a{hexadecimal(f"x{n}", 3)}-{hexadecimal(f"y{n}", 12)}", "token_digest": "{hexadecimal(f"digest {n}", 64)}"}}' for n in range(20)) + "\n]\n"))
clean(PY, "public-key", "Verify the partner's signatures", write("src/ledger/partner.pub", "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
clean(PY, "getenv", "The token of the exporter", write("src/ledger/exports/target.py", '''
    """Where exports go."""

    import os


    def headers() -> dict[str, str]:
        token = os.environ["LEDGER_EXPORT_TOKEN"]
        password = os.environ.get("LEDGER_EXPORT_PASSWORD", "")
        return {"Authorization": f"Bearer {token}", "X-Password": password}
'''))
clean(JS, "integrity", "Load the map library from a CDN", edit("public/index.html", ('    <script type="module"', '    <script src="https://cdn.example.com/leaflet@1.9.4/leaflet.js" integrity="sha512-BwHfrr4c9kmRkLw6iXFdzcdWV/PGkVgiIyIWLLlTSXzWQzxuSg4DiQUCpauz/EWjgk5TYQqX/kvn9pG1NpYfqg==" crossorigin="anonymous"></script>\n    <script type="module"')))
clean(JS, "jwt-example", "Explain our tokens", append("docs/api.md", "\nA token looks like `eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.<claims>.<signature>`; ask for yours with `POST /login` (password `********`).\n"))
clean(JS, "regex", "Scrub tokens from logs", write("src/http/scrub.js", r'''
    const TOKENS = [/gh[pousr]_[A-Za-z0-9]{36}/g, /xox[bap]-[\w-]{10,}/g, /sk_live_\w{24}/g, /AKIA[0-9A-Z]{16}/g];

    export function scrub(text) {
      return TOKENS.reduce((rest, pattern) => rest.replace(pattern, '[secret]'), text);
    }
'''))
clean(JS, "hash-of-password", "A known user in the fixtures", write("test/fixtures/user.js", f"// The hash of the password 'test', salted.\nexport default {{ name: 'kim', password: '{hexadecimal('salt', 32)}:{hexadecimal('scrypt', 64)}' }};\n"))
clean(TS, "env-names", "Typed environment", write("src/server/env.ts", '''
    import { z } from 'zod';

    export const Env = z.object({
      DATABASE_URL: z.string().url(),
      JWT_SECRET: z.string().min(32),
      MAIL_TOKEN: z.string().default(''),
      SESSION_PASSWORD_FILE: z.string().default('/run/secrets/session_password'),
    });
'''))
clean(TS, "data-uri", "A small logo in the page", edit("index.html", ('    <div id="root"></div>\n', '    <img alt="" src="data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO9TXL0Y4OHwAAAABJRU5ErkJggg==">\n    <div id="root"></div>\n')))
clean(TS, "test-secret", "Tests of several secrets", append("src/server/auth.test.ts", '''
it.each(['a', 'secret', 'correct horse battery staple', '0123456789abcdef0123456789abcdef'])('signs with %s', (secret) => {
  expect(verify(sign(claims, secret), secret, 1)).toEqual(claims);
});
'''))
clean(GO, "sum", "testify for the tests", edit("go.mod", ("	github.com/jackc/pgx/v5 v5.5.5\n", "	github.com/jackc/pgx/v5 v5.5.5\n	github.com/stretchr/testify v1.9.0\n")), append("go.sum", "github.com/stretchr/testify v1.9.0 h1:HtqpIVDClZ4nwg75+f6Lvsy/wHu+3BoSGCbBAcpeTsg=\ngithub.com/stretchr/testify v1.9.0/go.mod h1:r2ic/lqez/lEtzL7wO/rwa5dbSLXVDPFyf8C91i36aY=\n"))
clean(GO, "golden", "Golden signatures of webhooks", write("internal/deliver/testdata/signatures.txt", "".join(f"sha256={hexadecimal(f'golden {n}', 64)}  body-{n}\n" for n in range(25)) + f"sha512={sha512('golden')}\n"))
clean(GO, "vault-paths", "Secrets from the vault", write("deploy/k8s/external-secret.yaml", '''
    apiVersion: external-secrets.io/v1beta1
    kind: ExternalSecret
    metadata: { name: courier, namespace: notifications }
    spec:
      secretStoreRef: { name: vault, kind: ClusterSecretStore }
      data:
        - secretKey: smtp_password
          remoteRef: { key: courier/smtp, property: password }
        - secretKey: database_url
          remoteRef: { key: courier/database, property: url }
'''))
