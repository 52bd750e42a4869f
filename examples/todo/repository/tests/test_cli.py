import contextlib
import io
import tempfile
import unittest
from pathlib import Path

from todo.cli import main


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = str(Path(folder.name) / "todo.json")

    def todo(self, *args):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--file", self.file, *args])
        return code, out.getvalue()

    def test_add_prints_the_task(self):
        self.assertEqual(self.todo("add", "Buy milk"), (0, "[ ] 1 Buy milk\n"))

    def test_list_shows_what_is_done(self):
        self.todo("add", "a")
        self.todo("add", "b")
        self.todo("done", "1")
        self.assertEqual(self.todo("list"), (0, "[x] 1 a\n[ ] 2 b\n"))

    def test_done_with_an_unknown_id_is_an_error(self):
        self.assertEqual(self.todo("done", "9")[0], 1)
