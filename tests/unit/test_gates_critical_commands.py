"""Scripts, migrations and settings that destroy or open something up, and those that only look so."""

from __future__ import annotations

import pytest

from auto_dev.model import Route
from tests.unit.test_gates_critical import judge

pytestmark = pytest.mark.unit

# path, before (None: a new file), after, whether a person is asked
ROWS: list[tuple[str, str | None, str, bool]] = [
    ('bin/deploy', '#!/usr/bin/env bash\necho\n', '#!/usr/bin/env bash\nrm -rf "$DATA"\n', True),
    ('Makefile', 'a:\n', 'a:\n\trm -rf $(DATA)\n', True),
    ('Makefile', 'B := build\na:\n', 'B := build\na:\n\trm -rf $(B)\n', False),
    ('scripts/reset.sh', '#!/bin/sh\nset -eu\ncase "$DATABASE_URL" in *localhost*) ;; *) echo "no" >&2; exit 1 ;; esac\npsql "$DATABASE_URL" -c \'DROP SCHEMA public CASCADE;\'\n', '#!/bin/sh\nset -eu\npsql "$DATABASE_URL" -c \'DROP SCHEMA public CASCADE;\'\n', True),
    ('scripts/reset.sh', '#!/bin/sh\nset -eu\ncase "$DATABASE_URL" in *localhost*) ;; *) echo "no" >&2; exit 1 ;; esac\npsql "$DATABASE_URL" -c \'DROP SCHEMA public CASCADE;\'\n', '#!/bin/sh\nset -eu\ncase "$DATABASE_URL" in *localhost*) ;; *) echo "not local" >&2; exit 1 ;; esac\npsql "$DATABASE_URL" -c \'DROP SCHEMA public CASCADE;\'\n', False),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\npsql "$D" <<SQL\nTRUNCATE messages;\nSQL\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\necho "DROP TABLE users" | psql "$D"\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nfind "$DIR" -delete\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nfind . -name "*.pyc" -delete\n', False),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrsync -a --delete a/ host:/srv\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\naws s3 sync . s3://x --delete\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\ngit checkout .\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\ngit checkout main\ngit branch -d old\n', False),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\ndocker system prune -af\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nkubectl scale deploy/x --replicas=0\n', True),
    ('scripts/x.js', '', 'execSync("rm -rf " + target);\n', True),
    ('scripts/x.js', '', 'execSync(`rm -rf ${target}`);\n', True),
    ('.github/workflows/x.yml', 'on: push\n', 'on: push\njobs:\n  a:\n    steps:\n      - run: |\n          git push --force origin main\n', True),
    ('m/2.sql', None, 'DROP TABLE s;\nCREATE TABLE s (id int);\n', True),
    ('m/2.sql', None, 'UPDATE users SET email = NULL;\n', True),
    ('m/2.sql', None, 'UPDATE users SET email = lower(email);\n', False),
    ('m/2.sql', None, 'ALTER TABLE users ADD COLUMN a int;\nUPDATE users SET a = 1;\n', False),
    ('m/2.sql', None, 'UPDATE users SET a = 1 WHERE a IS NULL;\n', False),
    ('m/2.sql', None, 'DELETE FROM users WHERE 1=1;\n', True),
    ('m/2.sql', None, 'ALTER TABLE users RENAME COLUMN a TO b;\n', True),
    ('m/2.sql', None, 'ALTER TABLE users RENAME TO people;\n', True),
    ('m/2.sql', None, 'ALTER TABLE users CHANGE a b varchar(10);\n', True),
    ('m/2.sql', None, 'DROP TYPE mood CASCADE;\n', True),
    ('m/2.sql', None, 'CREATE TABLE n (id int, name text);\nALTER TABLE users DROP COLUMN name;\n', True),
    ('m/2.sql', None, 'CREATE TABLE new_u (id int);\nDROP TABLE u;\nALTER TABLE new_u RENAME TO u;\n', True),
    ('m/2.sql', None, 'GRANT SELECT, DELETE ON users TO analyst;\n', True),
    ('m/2.sql', None, 'CREATE INDEX a ON b (c);\nALTER TABLE x ADD CONSTRAINT y CHECK (z > 0);\nALTER INDEX a RENAME TO c;\n', False),
    ('alembic/versions/2.py', None, "from alembic import op\ndef upgrade():\n    with op.batch_alter_table('u') as b:\n        b.drop_column('x')\n", True),
    ('alembic/versions/2.py', None, "from alembic import op\ndef upgrade():\n    op.alter_column('u','a', new_column_name='b')\n", True),
    ('alembic/versions/2.py', None, "from alembic import op\nimport sqlalchemy as sa\ndef upgrade():\n    op.add_column('u', sa.Column('n', sa.Text()))\n    op.drop_column('v', 'n')\n", True),
    ('shop/migrations/0002_x.py', None, "from django.db import migrations\nclass Migration(migrations.Migration):\n    operations = [migrations.RenameField('a','b','c')]\n", True),
    ('shop/migrations/0002_x.py', None, "from django.db import migrations\ndef f(apps, s):\n    apps.get_model('a','B').objects.all().delete()\nclass Migration(migrations.Migration):\n    operations = [migrations.RunPython(f)]\n", True),
    ('migrations/2.js', None, "exports.up = (k) => k.schema.alterTable('u', (t) => {\n  t.string('a').notNullable();\n});\n", True),
    ('migrations/2.js', None, "exports.up = (k) => k.schema.alterTable('u', (t) => {\n  t.string('a').notNullable().defaultTo('');\n});\n", False),
    ('migrations/2.ts', None, "export class X { async up(q: QueryRunner) {\n await queryRunner.dropColumn('u', 'a');\n} }\n", True),
    ('src/config.js', 'a\n', "const s = process.env.SESSION_SECRET ?? 'dev';\n", True),
    ('app/settings.py', 'a=1\n', "K = env.get('SIGNING_KEY', 'insecure')\n", True),
    ('app/settings.py', 'a=1\n', "K = env.get('SIGNING_KEY')\nU = env.get('DATABASE_URL', 'sqlite://')\n", False),
    ('src/s.js', 'a\n', "res.setHeader('Access-Control-Allow-Origin', req.headers.origin);\n", True),
    ('docker-compose.yml', 'services: {}\n', 'services:\n  db:\n    environment:\n      POSTGRES_HOST_AUTH_METHOD: trust\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nbash -c "rm -rf /srv/data"\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nssh -i key root@host "rm -rf /srv/app"\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\ndocker compose exec db psql -c "DROP TABLE users;"\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\ngit -C repo push --force origin main\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrm -f data/app.sqlite3\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrm -f build/a.o\nrm -rf .cache dist\nssh host uptime\n', False),
    ('tools/x.go', 'package main\n', 'package main\nfunc f() { exec.Command("sh", "-c", "rm -rf "+dir).Run() }\n', True),
    ('app/x.py', 'a\n', 'a\nshutil.rmtree(folder)\n', True),
    ('app/x.py', 'a\n', 'a\nshutil.rmtree(tmp_path)\nshutil.rmtree("build")\n', False),
    ('src/x.js', 'a\n', 'a\nawait rm(dir, { recursive: true, force: true });\n', True),
    ('src/x.js', 'a\n', 'a\nawait rm(tempDir, { recursive: true, force: true });\n', False),
    ('x.go', 'package a\n', 'package a\nfunc f(d string) { os.RemoveAll(d) }\n', True),
    ('.github/workflows/x.yml', 'on: push\n', 'on: push\njobs:\n  a:\n    steps:\n      - run: psql "$DATABASE_URL" -c "TRUNCATE messages"\n', True),
    ('package.json', '{"scripts": {\n}}', '{"scripts": {\n"reset": "psql $D -c \\"DROP SCHEMA public CASCADE;\\""\n}}', True),
    ('docker-compose.yml', 'services: {}\n', 'services:\n  a:\n    command: ["sh", "-c", "rm -rf /data"]\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrm -rf ${DIR:-/}/*\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrm -rf $(pwd)\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nD="$HOME/.x"\nrm -rf "$D"\n', True),
    ('scripts/x.sh', '#!/bin/sh\n', '#!/bin/sh\nrm -rf "${DIR:-build}"\nX=dist\nrm -rf "$X"\n', False),
]  # fmt: skip


@pytest.mark.parametrize(("path", "before", "after", "asks"), ROWS, ids=[f"{n}-{row[0]}" for n, row in enumerate(ROWS)])
def test_what_destroys_is_told_from_what_cleans_up(path: str, before: str | None, after: str, asks: bool) -> None:
    found = judge({} if before is None else {path: before}, {path: after}, autonomy="aggressive")
    assert (found.route is Route.ASK) is asks, found


def test_a_rename_that_the_story_spells_is_no_break() -> None:
    library = {"pyproject.toml": '[project]\nname = "ledger"\n', "src/ledger/__init__.py": ""}
    old = "class Discount:\n    def off(self, price):\n        return price\n"
    change = ({"src/ledger/discounts.py": old}, {"src/ledger/rebates.py": old.replace("Discount", "Rebate")})
    assert judge(*change, rest=library, goal="The class is `Rebate`").route is Route.PROCEED
    assert judge(*change, rest=library, goal="Tidy up").route is Route.ASK
    other = (
        {"src/ledger/discounts.py": old},
        {"src/ledger/rebates.py": old.replace("Discount", "Rebate").replace("off", "cut")},
    )
    assert judge(*other, rest=library, goal="The class is `Rebate`").route is Route.ASK
