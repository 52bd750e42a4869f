"""What only a person may decide, read by context: what must be asked, and what must not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest

from auto_dev.config import Config, DecisionsConfig, GatesConfig
from auto_dev.config import CriticalGate as Settings
from auto_dev.gates.base import Change, GateContext, Judgement
from auto_dev.gates.critical import CriticalGate, judge_plan
from auto_dev.gates.danger.sql import narrows
from auto_dev.model import Route, Verdict
from auto_dev.stories.model import Story

pytestmark = pytest.mark.unit

Files = Mapping[str, str]
Autonomy = Literal["conservative", "moderate", "aggressive"]


def judge(
    before: Files,
    after: Files,
    *,
    rest: Files | None = None,
    goal: str = "",
    autonomy: Autonomy = "moderate",
    accepted: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Judgement:
    """The judgement of the step from ``before`` to ``after``; ``rest`` are files that do not change."""
    old, new = {**(rest or {}), **before}, {**(rest or {}), **after}
    changes = [Change(path, "M" if path in before else "A", 1, 1) for path in after if before.get(path) != after[path]]
    changes += [Change(path, "D", 0, 1, mode="000000") for path in before if path not in after]

    async def read(rev: str, path: str) -> bytes | None:
        text = (old if rev == "base" else new).get(path)
        return text.encode() if text is not None else None

    async def paths(rev: str) -> Sequence[str]:
        return list(old if rev == "base" else new)

    async def unused(*_: Any) -> Any:
        raise AssertionError("the gate needs no diff and runs no command")

    context = GateContext(
        story=Story(id="S-1", title="A story", path="S-1.md", goal=goal),
        policy=Config(
            gates=GatesConfig(critical=Settings(allow=list(allow))), decisions=DecisionsConfig(autonomy=autonomy)
        ),
        base_sha="base",
        head_sha="head",
        round=0,
        changes=tuple(changes),
        report=None,
        report_problem="",
        baseline={},
        read=read,
        diff=unused,
        run_command=unused,
        paths=paths,
        accepted=frozenset(accepted),
    )
    return asyncio.run(CriticalGate().judge(context))


def rules(found: Judgement) -> set[str]:
    return {str(item["rule"]) for item in found.evidence if not item.get("note")}


ALEMBIC = "from alembic import op\nimport sqlalchemy as sa\ndown_revision = '1'\n\ndef upgrade():\n    {up}\n\ndef downgrade():\n    {down}\n"
DJANGO = "from django.db import migrations, models\n\nclass Migration(migrations.Migration):\n    operations = [\n        {op},\n    ]\n"
LIBRARY = {"pyproject.toml": '[project]\nname = "ledger"\n', "ledger/__init__.py": ""}
PACKAGE = {"package.json": '{"name": "depot", "main": "dist/index.js"}'}
GO = {"go.mod": "module example.com/courier\n"}

# rule, path, before (None: a new file), after, files around
ASKS: list[tuple[str, str, str | None, str, Files]] = [
    # data
    ("data.drop_table", "db/migrations/002.sql", None, "DROP TABLE users;", {}),
    ("data.drop_table", "db/migrations/002.sql", None, "drop table if exists public.users cascade;", {}),
    ("data.drop_column", "db/migrations/002.sql", None, "ALTER TABLE users DROP COLUMN email;", {}),
    ("data.empty", "db/002_clean.sql", None, "TRUNCATE TABLE orders;", {}),
    ("data.empty", "db/002_clean.sql", None, "DELETE FROM orders;", {}),
    ("data.drop_database", "reset.sql", None, "DROP DATABASE app;", {}),
    ("data.not_null", "m/002.sql", None, "ALTER TABLE users ADD COLUMN age int NOT NULL;", {}),
    ("data.not_null", "m/002.sql", None, "ALTER TABLE users ALTER COLUMN age SET NOT NULL;", {}),
    ("data.narrow", "m/002.sql", None, "ALTER TABLE users ALTER COLUMN name TYPE varchar(20);",
     {"m/001.sql": "CREATE TABLE users (\n  id bigint,\n  name text\n);"}),
    ("data.narrow", "m/002.sql", None, "ALTER TABLE users MODIFY COLUMN id int;", {"m/001.sql": "CREATE TABLE users (\n id bigint\n);"}),
    ("data.drop_column", "alembic/versions/2.py", None, ALEMBIC.format(up="op.drop_column('users', 'email')", down="pass"), {}),
    ("data.drop_table", "alembic/versions/2.py", None, ALEMBIC.format(up="op.drop_table('users')", down="pass"), {}),
    ("data.empty", "alembic/versions/2.py", None, ALEMBIC.format(up='op.execute("DELETE FROM users")', down="pass"), {}),
    ("data.not_null", "alembic/versions/2.py", None,
     ALEMBIC.format(up="op.add_column('users', sa.Column('age', sa.Integer(), nullable=False))", down="pass"), {}),
    ("data.narrow", "alembic/versions/2.py", None,
     ALEMBIC.format(up="op.alter_column('u', 'n', existing_type=sa.String(length=200), type_=sa.String(length=50))", down="pass"), {}),
    ("data.drop_column", "shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.RemoveField('order', 'note')"), {}),
    ("data.drop_table", "shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.DeleteModel(name='Order')"), {}),
    ("data.empty", "shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.RunSQL('TRUNCATE shop_order')"), {}),
    ("data.drop_column", "db/migrate/2_x.rb", None, "class X < ActiveRecord::Migration[7.1]\n  def change\n    remove_column :users, :email, :string\n  end\nend\n", {}),
    ("data.drop_table", "db/migrate/2_x.rb", None, "class X < ActiveRecord::Migration[7.1]\n  def up\n    drop_table :users\n  end\nend\n", {}),
    ("data.not_null", "db/migrate/2_x.rb", None, "class X < ActiveRecord::Migration[7.1]\n  def change\n    change_column_null :users, :age, false\n  end\nend\n", {}),
    ("data.drop_column", "migrations/2.js", None, "exports.up = (knex) => knex.schema.alterTable('users', (t) => {\n  t.dropColumn('email');\n});\nexports.down = () => {};\n", {}),
    ("data.drop_table", "migrations/2.ts", None, "export async function up(knex) {\n  await knex.schema.dropTable('users');\n}\n", {}),
    ("data.drop_table", "prisma/migrations/2_x/migration.sql", None, "-- DropTable\nDROP TABLE \"User\";\n", {}),
    ("data.drop_table", "migrations/2.sql", None, "-- +goose Up\nDROP TABLE users;\n-- +goose Down\nCREATE TABLE users (id int);\n", {}),
    ("data.empty", "app/tasks.py", "import m\n", "import m\n\ndef clean():\n    m.User.objects.all().delete()\n", {}),
    ("data.empty", "src/clean.js", "", "await User.deleteMany({});\n", {}),
    ("data.empty", "app/db.py", "", "def wipe(c):\n    c.execute('DELETE FROM sessions')\n", {}),
    ("data.empty", "src/clean.js", "", "await mongoose.connection.dropDatabase();\n", {}),
    # shell, git, infrastructure
    ("shell.rm", "scripts/clean.sh", "", 'rm -rf "$TARGET"\n', {}),
    ("shell.rm", "scripts/clean.sh", "", "sudo rm -rf /var/lib/app\n", {}),
    ("shell.rm", "scripts/clean.sh", "", "rm -fr ~\n", {}),
    ("shell.rm", "tool/clean.py", "", 'import subprocess\nsubprocess.run(["rm", "-rf", target])\n', {}),
    ("shell.device", "scripts/disk.sh", "", "dd if=image of=/dev/sda\n", {}),
    ("git.force_push", "scripts/sync.sh", "", "git push --force origin main\n", {}),
    ("git.force_push", "scripts/sync.sh", "", "git push origin +main\n", {}),
    ("git.hard_reset", "scripts/sync.sh", "", "git fetch && git reset --hard origin/main\n", {}),
    ("infrastructure.delete", "scripts/down.sh", "", "terraform destroy -auto-approve\n", {}),
    ("infrastructure.delete", "scripts/down.sh", "", "kubectl delete namespace shop\n", {}),
    ("infrastructure.delete", "scripts/down.sh", "", "aws s3 rm s3://bucket --recursive\n", {}),
    ("infrastructure.volume", "scripts/down.sh", "", "docker compose down -v\n", {}),
    ("infrastructure.volume", "scripts/down.sh", "", "docker volume rm data\n", {}),
    ("data.drop_database", "scripts/reset.sh", "", "bundle exec rails db:drop db:create\n", {}),
    ("data.drop_table", "scripts/reset.sh", "", 'psql "$DB" -c "DROP TABLE users"\n', {}),
    ("data.drop_database", "package.json", '{"scripts": {\n}}', '{"scripts": {\n"reset": "prisma migrate reset --force"\n}}', {}),
    ("production.change", "scripts/ship.sh", "", "kubectl --context prod apply -f app.yaml\n", {}),
    ("production.change", "terraform/production/main.tf", "a = 1\n", "a = 2\n", {}),
    ("production.data", "app/db.py", "", "URL = 'postgresql://app@db.prod.example.net/app'\n", {}),
    # access
    ("access.guard", "app/views.py", "@login_required\ndef edit(request):\n    return 1\n", "def edit(request):\n    return 1\n", {}),
    ("access.guard", "app/api.py", "@app.get('/u')\ndef u(user=Depends(get_current_user)):\n    return user\n", "@app.get('/u')\ndef u():\n    return 1\n", {}),
    ("access.guard", "app/api.py", "def drop(user, item):\n    if not user.is_admin:\n        raise PermissionDenied\n    item.go()\n", "def drop(user, item):\n    item.go()\n", {}),
    ("access.guard", "src/routes.js", "router.get('/users', requireAuth, list);\nrouter.get('/x', list);\n", "router.get('/users', list);\nrouter.get('/x', list);\n", {}),
    ("access.guard", "server.go", 'r.GET("/users", AuthMiddleware(), list)\n', 'r.GET("/users", list)\n', {}),
    ("access.open", "app/views.py", "class A(View):\n    permission_classes = [IsAuthenticated]\n", "class A(View):\n    permission_classes = [AllowAny]\n", {}),
    ("access.cors", "app/main.py", "", 'app.add_middleware(CORSMiddleware, allow_origins=["*"])\n', {}),
    ("access.cors", "src/app.js", "", "res.setHeader('Access-Control-Allow-Origin', '*');\n", {}),
    ("access.tls", "app/client.py", "", "requests.get(url, verify=False)\n", {}),
    ("access.tls", "src/client.ts", "", "const agent = new https.Agent({ rejectUnauthorized: false });\n", {}),
    ("access.tls", "client.go", "", "tls.Config{InsecureSkipVerify: true}\n", {}),
    ("access.tls", "scripts/get.sh", "", "curl -k https://host/file\n", {}),
    ("access.jwt", "app/auth.py", "", 'jwt.decode(t, options={"verify_signature": False})\n', {}),
    ("access.csrf", "app/views.py", "", "@csrf_exempt\ndef hook(request):\n    return 1\n", {}),
    ("access.mode", "scripts/x.sh", "", "chmod -R 777 /srv/app\n", {}),
    ("access.mode", "app/x.py", "", "os.chmod(path, 0o777)\n", {}),
    ("access.rights", "iam/policy.json", "", '{"Effect": "Allow",\n"Action": "*",\n"Resource": "x"}', {}),
    ("access.rights", "k8s/role.yaml", "", 'rules:\n  - verbs: ["*"]\n', {}),
    ("access.rights", "m/003.sql", None, "GRANT ALL ON ALL TABLES IN SCHEMA public TO app;", {}),
    ("access.network", "net.tf", "", 'ingress {\n  cidr_blocks = ["0.0.0.0/0"]\n}\n', {}),
    # credentials
    ("credentials.logged", "app/auth.py", "", 'logger.info(f"login {user.password}")\n', {}),
    ("credentials.logged", "src/auth.js", "", "console.log('token', accessToken, session.access_token);\n", {}),
    ("credentials.hash", "app/auth.py", "", "stored = hashlib.md5(password.encode()).hexdigest()\n", {}),
    ("credentials.hash", "app/auth.py", "import bcrypt\ndef ok(password, h):\n    return bcrypt.checkpw(password, h)\n", "def ok(password, h):\n    return password == h\n", {}),
    # interfaces
    ("api.break", "ledger/core.py", "def add(a, b):\n    return a\n\ndef sub(a):\n    return a\n", "def sub(a):\n    return a\n", LIBRARY),
    ("api.break", "ledger/core.py", "def add(a, b=1):\n    return a\n", "def add(a):\n    return a\n", LIBRARY),
    ("api.break", "ledger/core.py", "def add(a):\n    return a\n", "def add(a, b):\n    return a\n", LIBRARY),
    ("api.break", "ledger/core.py", "class A:\n    def go(self, x):\n        pass\n", "class A:\n    def run(self, x):\n        pass\n", LIBRARY),
    ("api.break", "ledger/__init__.py", "from ledger.core import add, sub\n", "from ledger.core import add\n", {"pyproject.toml": LIBRARY["pyproject.toml"], "ledger/core.py": "def add(a): pass\ndef sub(a): pass\n"}),
    ("api.break", "src/index.ts", "export function a(x: number) {}\nexport const b = 1;\n", "export const b = 1;\n", PACKAGE),
    ("api.break", "src/parse.ts", "export function parse(t: string, o?: O) {}\n", "export function parse(o: O, t: string, z: number) {}\n", {**PACKAGE, "src/index.ts": "export * from './parse';\n"}),
    ("api.break", "lib/index.js", "module.exports = { a, b };\n", "module.exports = { a };\n", {"package.json": '{"name": "x", "main": "lib/index.js"}'}),
    ("api.break", "queue.go", "package courier\n\nfunc Push(a int) error { return nil }\n", "package courier\n\nfunc Push(a string) error { return nil }\n", GO),
    ("api.break", "queue.go", "package courier\n\ntype T struct {\n\tName string\n}\n", "package courier\n\ntype T struct {\n}\n", GO),
    ("api.option", "app/cli.py", 'p.add_argument("--out")\np.add_argument("--in")\n', 'p.add_argument("--in")\n', {}),
    ("api.option", "cmd/root.go", 'cmd.Flags().StringP("output", "o", "", "x")\n', "// none\n", {}),
    ("api.route", "app/api.py", '@app.get("/users")\ndef users(): ...\n', '@app.get("/people")\ndef users(): ...\n', {}),
    ("api.route", "src/app.js", "app.post('/orders', create);\n", "app.post('/v2/orders', create);\n", {}),
    ("api.route", "server.go", 'mux.HandleFunc("/status", status)\n', "\n", {}),
    ("api.description", "openapi.yaml", "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n  /b:\n    get: {}\n", "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n", {}),
    ("api.description", "openapi.yaml", "openapi: 3.0.0\npaths: {}\ncomponents:\n  schemas:\n    A:\n      properties:\n        x: {type: string}\n",
     "openapi: 3.0.0\npaths: {}\ncomponents:\n  schemas:\n    A:\n      required: [x]\n      properties:\n        x: {type: string}\n", {}),
    ("api.proto", "a.proto", "message A {\n  string x = 1;\n  int32 y = 2;\n}\n", "message A {\n  string x = 1;\n}\n", {}),
    ("api.proto", "a.proto", "message A {\n  string x = 1;\n}\n", "message A {\n  string x = 3;\n}\n", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "path", "before", "after", "rest"), ASKS, ids=[f"{n}-{case[0]}-{case[1]}" for n, case in enumerate(ASKS)]
)
def test_it_asks(rule: str, path: str, before: str | None, after: str, rest: Files) -> None:
    found = judge({} if before is None else {path: before}, {path: after}, rest=rest, autonomy="aggressive")
    assert rule in rules(found), found
    assert (found.verdict, found.route) == (Verdict.FAIL, Route.ASK)
    item = next(one for one in found.evidence if one["rule"] == rule)
    assert item["file"]
    assert str(item["title"]).startswith("tier 4: ")


QUIET: list[tuple[str, str | None, str, Files]] = [
    # words that only look so
    ("app/frame.py", "", "df = df.drop_duplicates().drop(columns=['a'])\nitems.remove(x)\ndel cache[key]\n", {}),
    ("src/ui.tsx", "", "export const DeleteButton = () => <button onClick={dropTable}>Delete from cart</button>;\n", {}),
    ("app/x.py", "", '# DROP TABLE users; git push --force; rm -rf /\nx = 1\n', {}),
    ("app/x.py", "", 'def f():\n    """Never call DROP TABLE users or rm -rf / here."""\n', {}),
    ("docs/ops.md", "", "Run `terraform destroy` and `git push --force`.\n", {}),
    ("tests/test_db.py", "", "def test_x(db):\n    db.execute('DROP TABLE users')\n    User.objects.all().delete()\n", {}),
    ("src/clean.test.js", "", "await User.deleteMany({});\n", {}),
    ("app/x.py", "", 'HELP = "Drop the table with care"\nLABEL = "Delete from list"\n', {}),
    ("app/x.py", "", "c.execute('DELETE FROM sessions WHERE id = %s', (i,))\n", {}),
    ("app/x.py", "", "c.execute(\n    'DELETE FROM sessions '\n    'WHERE id = %s', (i,))\n", {}),
    ("app/x.py", "", "User.objects.filter(id=1).delete()\nsession.query(User).filter_by(id=1).delete()\n", {}),
    ("src/a.js", "", "await User.deleteMany({ expired: true });\nmap.delete(key);\n", {}),
    # migrations that are safe
    ("m/002.sql", None, "CREATE TABLE a (id int NOT NULL);\nCREATE INDEX i ON a (id);\nDROP INDEX old;\n", {}),
    ("m/002.sql", None, "ALTER TABLE users ADD COLUMN age int NOT NULL DEFAULT 0;\n", {}),
    ("m/002.sql", None, "ALTER TABLE users ADD COLUMN age int;\nALTER TABLE users DROP CONSTRAINT c;\n", {}),
    ("m/002.sql", None, "ALTER TABLE u ALTER COLUMN n TYPE text;\n", {"m/001.sql": "CREATE TABLE u (\n n varchar(20)\n);"}),
    ("m/002.sql", None, "ALTER TABLE u ALTER COLUMN n TYPE bigint;\n", {"m/001.sql": "CREATE TABLE u (\n n int\n);"}),
    ("m/002.sql", None, "UPDATE users SET age = 0 WHERE age IS NULL;\nALTER TABLE users ALTER COLUMN age SET NOT NULL;\n", {}),
    ("m/002.sql", None, "CREATE TEMP TABLE t (id int);\nDROP TABLE t;\n", {}),
    ("m/002.down.sql", None, "DROP TABLE users;\n", {}),
    ("m/002.sql", None, "-- +goose Up\nCREATE TABLE a (id int);\n-- +goose Down\nDROP TABLE a;\nDROP TABLE b;\n", {}),
    ("m/002.sql", None, "-- migrate:up\nCREATE TABLE a (id int);\n\n-- migrate:down\nDROP TABLE a;\n", {}),
    ("m/002.sql", None, "CREATE TABLE new_u (id int);\nINSERT INTO new_u SELECT id FROM u;\nDROP TABLE u;\nALTER TABLE new_u RENAME TO u;\n", {}),
    ("alembic/versions/2.py", None, ALEMBIC.format(up="op.create_table('a', sa.Column('id', sa.Integer(), nullable=False))", down="op.drop_table('a')"), {}),
    ("alembic/versions/2.py", None, ALEMBIC.format(up="op.add_column('u', sa.Column('a', sa.Integer(), nullable=False, server_default='0'))", down="op.drop_column('u', 'a')"), {}),
    ("shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.AddField('order', 'note', models.TextField(default=''))"), {}),
    ("shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.SeparateDatabaseAndState(state_operations=[migrations.DeleteModel('Order')])"), {}),
    ("shop/migrations/0002_x.py", None, DJANGO.format(op="migrations.RunSQL('CREATE INDEX i ON a (b)', reverse_sql='DROP TABLE a')"), {}),
    ("db/migrate/2_x.rb", None, "class X < ActiveRecord::Migration[7.1]\n  def up\n    create_table :a\n  end\n\n  def down\n    drop_table :a\n  end\nend\n", {}),
    ("migrations/2.js", None, "exports.up = (knex) => knex.schema.createTable('a', (t) => {\n  t.string('b').notNullable();\n});\nexports.down = (knex) => knex.schema.dropTable('a');\n", {}),
    # scripts that clean after themselves
    ("scripts/b.sh", "", "rm -rf build dist node_modules\nrm -f \"$FILE\"\n", {}),
    ("scripts/b.sh", "", 'tmp=$(mktemp -d)\ntrap \'rm -rf "$tmp"\' EXIT\n', {}),
    ("scripts/b.sh", "", 'OUT=build/out\nrm -rf "$OUT"\nrm -rf "${DIR:?}/x"\n', {}),
    ("Makefile", "", "clean:\n\t@rm -rf build/ *.egg-info\n", {}),
    ("Dockerfile", "", "RUN apt-get update && rm -rf /var/lib/apt/lists/*\n", {}),
    ("scripts/b.sh", "", "git push origin HEAD\ngit reset --soft HEAD~1\ngit reset HEAD file\n", {}),
    ("scripts/b.sh", "", "chmod +x run.sh\nchmod 755 bin\nchmod 600 key\n", {}),
    ("scripts/b.sh", "", "docker compose down\ndocker rm -f web\nkubectl get pods\nterraform plan\n", {}),
    ("scripts/b.sh", "", "dd if=/dev/zero of=disk.img bs=1M count=1\ncurl -sSf https://x/y\n", {}),
    ("package.json", '{"scripts": {\n}}', '{"scripts": {\n"clean": "rm -rf dist",\n"build": "tsc"\n}}', {}),
    ("webpack.prod.js", "", "module.exports = { mode: 'production' };\n", {}),
    # access
    ("app/views.py", "@login_required\ndef a(r):\n    return 1\n", "@login_required\ndef a(r):\n    return 2\n", {}),
    ("app/views.py", "@login_required\ndef a(r):\n    return 1\n", "@auth_required\ndef a(r):\n    return 1\n", {}),
    ("app/views.py", "@login_required\ndef a(r):\n    return 1\n\n@login_required\ndef b(r):\n    return 1\n", "@login_required\ndef a(r):\n    return 1\n", {}),
    ("app/views.py", "x = 1\n", "x = 1\n\n\nclass Login(View):\n    permission_classes = [AllowAny]\n", {}),
    ("src/routes.js", "router.get('/a', requireAuth, list);\n", "router.use(requireAuth);\nrouter.get('/a', list);\n", {}),
    ("app/client.py", "", "requests.get(url, verify=True)\nrequests.get(url, verify=CA)\n", {}),
    ("app/main.py", "", 'app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"])\n', {}),
    ("iam/policy.json", "", '{"Effect": "Deny",\n"Action": "*",\n"Resource": "*"}', {}),
    ("net.tf", "", 'egress {\n  cidr_blocks = ["0.0.0.0/0"]\n}\n', {}),
    ("app/author.py", "def author(a):\n    return a.authority\n", "def author(a):\n    return 1\n", {}),
    # credentials that are handled well
    ("app/auth.py", "", 'logger.info("password changed")\nlogger.info("token for %s", user.name)\nprint("enter your password")\n', {}),
    ("app/auth.py", "", "stored = bcrypt.hashpw(password.encode(), bcrypt.gensalt())\n", {}),
    ("app/x.py", "", "digest = hashlib.sha256(data).hexdigest()\n", {}),
    # interfaces
    ("ledger/core.py", "def _add(a, b):\n    return a\n", "def _add(a):\n    return a\n", LIBRARY),
    ("ledger/core.py", "def add(a):\n    return a\n", "def add(a, b=1, *, c=2):\n    return a\n", LIBRARY),
    ("ledger/core.py", "class A:\n    def _x(self):\n        pass\n", "class A:\n    pass\n", LIBRARY),
    ("ledger/core.py", "def add(a):\n    return a\n", "from ledger.sums import add\n", {**LIBRARY, "ledger/sums.py": "def add(a):\n    return a\n"}),
    ("ledger/core.py", "def inner(a):\n    return a\n", "def other(a):\n    return a\n", {"pyproject.toml": LIBRARY["pyproject.toml"], "ledger/__init__.py": "from ledger.api import add\n", "ledger/api.py": "def add(a): pass\n"}),
    ("app/core.py", "def add(a, b):\n    return a\n", "def plus(a):\n    return a\n", {"pyproject.toml": '[project]\nname = "x"\ndependencies = ["fastapi"]\n', "app/__init__.py": ""}),
    ("scripts/x.py", "def add(a, b):\n    return a\n", "def plus(a):\n    return a\n", LIBRARY),
    ("src/inner.ts", "export function help(a: number) {}\n", "export function aid(a: number) {}\n", {**PACKAGE, "src/index.ts": "export { x } from './x';\n", "src/x.ts": "export const x = 1;\n"}),
    ("src/index.ts", "export function a(x: number) {}\n", "export function a(x: number, y?: string) {}\nexport const b = 2;\n", PACKAGE),
    ("src/index.ts", "export const a = 1;\n", "export {};\n", {"package.json": '{"name": "app", "private": true}'}),
    ("queue.go", "package courier\n\nfunc push(a int) {}\nfunc Pop(a int) {}\n", "package courier\n\nfunc Pop(b int) {}\nfunc More() {}\n", GO),
    ("internal/q/q.go", "package q\n\nfunc Push(a int) {}\n", "package q\n", GO),
    ("app/api.py", '@app.get("/users/{id}")\ndef u(id): ...\n', '@app.get("/users/{user_id}")\ndef u(user_id): ...\n', {}),
    ("src/api.js", "client.get('/users');\n", "client.get('/people');\n", {}),
    ("app/cli.py", 'p.add_argument("--out")\n', 'p.add_argument("--out", "-o")\np.add_argument("--new")\n', {}),
    ("openapi.yaml", "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n", "openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n  /b:\n    get: {}\n", {}),
    ("a.proto", "message A {\n  string x = 1;\n}\n", "message A {\n  string x = 1; // the name\n  int32 y = 2;\n}\n", {}),
    ("ci.py", "", "x = 'kubectl delete'\n", {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "before", "after", "rest"), QUIET, ids=[f"{n}-{case[0]}" for n, case in enumerate(QUIET)]
)
def test_it_does_not_ask(path: str, before: str | None, after: str, rest: Files) -> None:
    found = judge({} if before is None else {path: before}, {path: after}, rest=rest)
    assert found.route is Route.PROCEED, found


def test_what_moved_between_files_is_not_new() -> None:
    text = "def wipe():\n    m.User.objects.all().delete()\n"
    assert judge({"a.py": text, "b.py": ""}, {"a.py": "", "b.py": text}).route is Route.PROCEED
    assert judge({"old.py": text}, {"new.py": text}).route is Route.PROCEED


def test_a_table_that_another_migration_of_the_change_makes_may_be_dropped() -> None:
    after = {"m/2.sql": "CREATE TABLE draft (id int);", "m/3.sql": "DROP TABLE draft;"}
    assert judge({}, after).route is Route.PROCEED


def test_a_route_that_moved_to_another_file_is_still_there() -> None:
    old, new = '@app.get("/a")\ndef a(): ...\n', '@router.get("/a")\ndef a(): ...\n'
    assert judge({"api.py": old, "more.py": ""}, {"api.py": "", "more.py": new}).route is Route.PROCEED


def test_tier_five_asks_by_autonomy_and_not_for_what_the_story_wants() -> None:
    mail = ({"app/x.py": ""}, {"app/x.py": "smtplib.SMTP(host).send_message(m)\n"})
    pay = ({"app/x.py": ""}, {"app/x.py": "stripe.Charge.create(amount=1)\n"})
    assert judge(*mail).route is Route.ASK
    assert judge(*mail, goal="Send a notification by e-mail").route is Route.PROCEED
    assert judge(*mail, autonomy="aggressive").route is Route.PROCEED
    assert judge(*mail, autonomy="aggressive").verdict is Verdict.CONCERNS
    assert judge(*pay, autonomy="aggressive").route is Route.ASK
    assert judge(*pay, goal="Charge the card").route is Route.PROCEED


def test_what_a_person_accepted_does_not_ask_again_and_something_else_does() -> None:
    first = judge({}, {"m/2.sql": "DROP TABLE a;"})
    marks = [str(item["fingerprint"]) for item in first.evidence]
    # The same act in another line and another file.
    again = judge({}, {"m/9.sql": "\n\n-- now\nDROP TABLE IF EXISTS a;\nDROP TABLE b;"}, accepted=marks)
    assert [item["title"] for item in again.evidence] == ["tier 4: drops the table b: what it holds is lost"]


def test_the_owner_may_let_files_kinds_and_single_acts_pass() -> None:
    change: tuple[Files, Files] = ({}, {"m/2.sql": "DROP TABLE a;"})
    mark = str(judge(*change).evidence[0]["fingerprint"])
    for allow in ("m/**", "data.drop_table", mark):
        assert judge(*change, allow=[allow]).verdict is Verdict.PASS
    assert judge(*change, allow=["data.drop_column", "other/**"]).route is Route.ASK


PLANS_THAT_ASK = [
    ("data.drop_table", "First I drop the table legacy_users, then I add the new one."),
    ("data.empty", "We truncate orders before the import."),
    ("data.empty", "Step 2: delete all existing records and import again."),
    ("data.drop_database", "I will reset the database and run the migrations."),
    ("git.force_push", "Then force-push the branch."),
    ("git.hard_reset", "Run git reset --hard to get a clean state."),
    ("production.change", "Run the migration against production."),
    ("access.guard", "Remove the authentication check so that the page loads."),
    ("access.guard", "Disable TLS verification in the client."),
    ("api.break", "Rename the public function parse to read; this is a breaking change."),
    ("credentials.change", "Rotate the API keys."),
    ("infrastructure.delete", "Tear down the staging environment."),
    ("external.publish", "Finally publish the package to npm."),
]


@pytest.mark.parametrize(("rule", "text"), PLANS_THAT_ASK)
def test_a_plan_that_announces_it_asks(rule: str, text: str) -> None:
    found = judge_plan(f"I read the code.\n{text}\nThen I run the tests.", "moderate")
    assert rule in rules(found)
    assert found.route is Route.ASK


@pytest.mark.parametrize("text", [
    "Add a function sub next to add, with tests.",
    "I will not drop the table; the column stays.",
    "Avoid a breaking change: keep the old name as an alias.",
    "Without deleting all records, update those that are stale.",
    "Add a delete button that asks first, and an endpoint for users to delete their account.",
    "Refactor the table component and drop the unused import.",
    "Remove duplicate rows in the HTML table renderer.",
    "Document how to rotate the API keys.",
    "Write a test that checks that truncating orders is refused.",
    "Build for production with minified assets.",
    "Do not force-push.",
    "Clear the list and reset the counter.",
    "",
])  # fmt: skip
def test_a_plan_that_only_mentions_it_does_not_ask(text: str) -> None:
    assert judge_plan(text, "moderate").route is Route.PROCEED


@pytest.mark.parametrize(("before", "after", "lossy"), [
    ("text", "varchar(10)", True), ("varchar(20)", "varchar(10)", True), ("varchar(10)", "varchar(20)", False),
    ("varchar(10)", "text", False), ("bigint", "int", True), ("int", "bigint", False), ("timestamp", "date", True),
    ("numeric(10,2)", "numeric(8,2)", True), ("int", "text", False), ("text", "int", True), ("", "varchar(10)", True),
    ("", "text", False), ("", "bigint", False), ("float", "integer", True),
])  # fmt: skip
def test_which_types_lose(before: str, after: str, lossy: bool) -> None:
    assert narrows(before, after) is lossy


@pytest.mark.parametrize(
    "unit", ["DROP ", "(", "a.b(", "\"'", "rm -rf $", "ALTER TABLE a ", "@login_required\n", "x = '*'\n", "-- \n", "{"]
)
@pytest.mark.parametrize("path", ["a.py", "m/a.sql", "a.ts", "a.sh", "a.go", "a.proto", "openapi.yaml"])
def test_any_file_is_read_in_a_time_that_grows_with_its_length(path: str, unit: str) -> None:
    begun = time.process_time()
    judge({path: "x\n"}, {path: unit * (30_000 // len(unit))})
    judge_plan(unit * (5_000 // len(unit)), "moderate")
    assert time.process_time() - begun < 5
