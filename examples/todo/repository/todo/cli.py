"""The command line."""

from __future__ import annotations

import argparse
import sys

from todo.store import Store, Task


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="todo")
    made.add_argument("--file", default="todo.json")
    commands = made.add_subparsers(dest="command", required=True)
    add = commands.add_parser("add")
    add.add_argument("title")
    commands.add_parser("list")
    done = commands.add_parser("done")
    done.add_argument("id", type=int)
    return made


def line(task: Task) -> str:
    return f"[{'x' if task.done else ' '}] {task.id} {task.title}"


def main(argv: list[str] | None = None) -> int:
    args = parser().parse_args(argv)
    store = Store(args.file)
    if args.command == "add":
        print(line(store.add(args.title)))
    elif args.command == "list":
        for task in store.load():
            print(line(task))
    elif args.command == "done":
        try:
            print(line(store.complete(args.id)))
        except KeyError:
            print(f"there is no task {args.id}", file=sys.stderr)
            return 1
    return 0
