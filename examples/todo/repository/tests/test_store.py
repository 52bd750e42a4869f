import tempfile
import unittest
from pathlib import Path

from todo.store import Store


class StoreTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.store = Store(Path(folder.name) / "todo.json")

    def test_an_empty_store_has_no_tasks(self):
        self.assertEqual(self.store.load(), [])

    def test_tasks_are_numbered_from_one(self):
        self.assertEqual([self.store.add("a").id, self.store.add("b").id], [1, 2])

    def test_a_completed_task_stays_in_the_list(self):
        self.store.add("a")
        self.store.complete(1)
        self.assertEqual([(t.title, t.done) for t in self.store.load()], [("a", True)])

    def test_completing_an_unknown_task_fails(self):
        with self.assertRaises(KeyError):
            self.store.complete(7)
