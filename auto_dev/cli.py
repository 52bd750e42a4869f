"""The command line: one verb a command, each in ``commands/``. Imported when called: ``--help`` is quick."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from auto_dev import __version__
from auto_dev.errors import AutoDevError, ExitCode, UsageError
from auto_dev.tasks import alone
from auto_dev.text import line

TRACEBACK = "AUTO_DEV_TRACEBACK"  # set: an unexpected error shows its traceback

app = typer.Typer(
    name="auto-dev",
    help="Works through a backlog of development stories while you are away.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
stories_app = typer.Typer(help="Read a story folder.", no_args_is_help=True)
budget_app = typer.Typer(help="Show and change the limits.", invoke_without_command=True)
app.add_typer(stories_app, name="stories")
app.add_typer(budget_app, name="budget")

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Story = Annotated[str, typer.Argument(help="The story's id.")]
Dir = Annotated[Optional[Path], typer.Argument(help="The folder of stories.", show_default=False)]  # noqa: UP045


def _run(command: Coroutine[Any, Any, ExitCode]) -> None:
    raise typer.Exit(int(asyncio.run(alone(command))))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"auto-dev {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    pass


@app.command()
def start(
    folder: Dir = None,
    daily_budget: Annotated[Optional[float], typer.Option(help="US dollars a day.")] = None,  # noqa: UP045
    weekly_budget: Annotated[Optional[float], typer.Option(help="US dollars a week.")] = None,  # noqa: UP045
    max_parallel: Annotated[Optional[int], typer.Option(help="Stories at the same time.")] = None,  # noqa: UP045
    schedule: Annotated[Optional[str], typer.Option(help="Work only then, such as 08:00-18:00.")] = None,  # noqa: UP045
    notify: Annotated[Optional[str], typer.Option(help="slack,email")] = None,  # noqa: UP045
    agent: Annotated[Optional[str], typer.Option(help="The kind of agent.")] = None,  # noqa: UP045
    database_url: Annotated[Optional[str], typer.Option(help="A PostgreSQL server of your own.")] = None,  # noqa: UP045
    port: Annotated[Optional[int], typer.Option(help="The dashboard's port (not in this version).")] = None,  # noqa: UP045
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay in this terminal.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Work until nothing can start, then exit.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Start at once, without the countdown.")] = False,
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Let agents run with your own rights.")] = False,
    as_json: Json = False,
) -> None:
    """Work through the stories of a folder."""
    from auto_dev.commands import output
    from auto_dev.commands.start import Flags, start

    if port is not None:
        output.warn("warning: this version has no dashboard yet; --port has no effect")
    flags = Flags(
        folder, daily_budget, weekly_budget, max_parallel, schedule, notify, agent, database_url,
        foreground=foreground, once=once, yes=yes, sandbox=not no_sandbox, as_json=as_json,
    )  # fmt: skip
    _run(start(flags))


@app.command()
def status(
    as_json: Json = False, watch: Annotated[bool, typer.Option("--watch", help="Refresh every second.")] = False
) -> None:
    """What every story is doing, what waits for you, and the bill."""
    from auto_dev.commands.status import status

    _run(status(as_json=as_json, watch=watch))


@app.command()
def decide(
    decision: Annotated[Optional[str], typer.Argument(help="The decision's id.")] = None,  # noqa: UP045
    answer: Annotated[Optional[str], typer.Option(help="One of its answers.")] = None,  # noqa: UP045
    text: Annotated[str, typer.Option(help="Words for the answer, where it takes some.")] = "",
    history: Annotated[bool, typer.Option("--history", help="What was decided before, by whom.")] = False,
    as_json: Json = False,
) -> None:
    """List the open decisions, or answer one."""
    from auto_dev.commands import control, decisions
    from auto_dev.commands.status import decisions_list

    if history:
        if decision or answer or text:
            raise UsageError("--history stands alone", mend="Leave the decision and its answer out.")
        _run(decisions.history(as_json=as_json))
    elif answer is None:
        if text:
            raise UsageError("--text goes with an answer", mend="Give --answer too; `auto-dev decide` lists them.")
        _run(decisions_list(as_json=as_json, only=decision.strip().lower() if decision else None))
    elif decision is None:
        raise UsageError("which decision?", mend="`auto-dev decide` lists the open ones with their ids.")
    else:
        _run(control.decide(decision.strip().lower(), answer.strip(), text, as_json=as_json))


@app.command()
def pause(as_json: Json = False) -> None:
    """Start nothing more; what runs completes its step."""
    from auto_dev.commands import control

    _run(control.pause(as_json=as_json))


@app.command()
def resume(as_json: Json = False) -> None:
    """Go on after a pause."""
    from auto_dev.commands import control

    _run(control.resume(as_json=as_json))


@app.command()
def panic(
    reason: Annotated[str, typer.Option(help="Why, for everybody who looks.")] = "", as_json: Json = False
) -> None:
    """End every agent at once, and start nothing until release."""
    from auto_dev.commands import panic as command

    _run(command.panic(reason, as_json=as_json))


@app.command()
def release(as_json: Json = False) -> None:
    """Go on after a panic."""
    from auto_dev.commands import panic as command

    _run(command.release(as_json=as_json))


@app.command()
def retry(
    story: Story, hint: Annotated[str, typer.Option(help="Words for the agent's brief.")] = "", as_json: Json = False
) -> None:
    """Start a story again, from its base."""
    from auto_dev.commands import control

    _run(control.retry(story, hint, as_json=as_json))


@app.command()
def skip(
    story: Story, reason: Annotated[str, typer.Option(help="Why, for the history.")] = "", as_json: Json = False
) -> None:
    """Leave a story out."""
    from auto_dev.commands import control

    _run(control.skip(story, reason, as_json=as_json))


@app.command()
def abort(
    story: Story,
    discard: Annotated[bool, typer.Option("--discard/--keep", help="Remove its worktree and branch.")] = False,
    as_json: Json = False,
) -> None:
    """End a story's run."""
    from auto_dev.commands import control

    _run(control.abort(story, discard=discard, as_json=as_json))


@app.command()
def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for steps under way.")] = False, as_json: Json = False
) -> None:
    """End the daemon."""
    from auto_dev.commands import control

    _run(control.stop(now=now, as_json=as_json))


@app.command()
def logs(
    story: Annotated[Optional[str], typer.Argument(help="Only this story, with its agent's output.")] = None,  # noqa: UP045
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as things happen.")] = False,
    as_json: Json = False,
) -> None:
    """What happened."""
    from auto_dev.commands.status import logs

    _run(logs(story, as_json=as_json, follow=follow))


@app.command()
def prs(as_json: Json = False) -> None:
    """The pull requests."""
    from auto_dev.commands.pulls import prs

    _run(prs(as_json=as_json))


@app.command()
def summary(
    send: Annotated[bool, typer.Option("--send", help="Send it to the configured channels.")] = False,
    as_json: Json = False,
) -> None:
    """The day in one page."""
    from auto_dev.commands.summary import summary

    _run(summary(send=send, as_json=as_json))


@app.command()
def worktrees(
    cleanup: Annotated[bool, typer.Option("--cleanup", help="Remove what nobody needs any more.")] = False,
    as_json: Json = False,
) -> None:
    """The worktrees, and what is unsaved in them."""
    from auto_dev.commands.worktrees import worktrees

    _run(worktrees(cleanup=cleanup, as_json=as_json))


@app.command()
def run(
    story: Story,
    folder: Annotated[Optional[Path], typer.Option("--dir", help="The folder of stories.")] = None,  # noqa: UP045
    no_sandbox: Annotated[bool, typer.Option("--no-sandbox", help="Let the agent run with your own rights.")] = False,
    as_json: Json = False,
) -> None:
    """Work on one story, here and now."""
    from auto_dev.commands.start import run_one

    _run(run_one(story, folder, sandbox=not no_sandbox, as_json=as_json))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Look for what would go wrong."""
    from auto_dev.commands.doctor import doctor

    _run(doctor(as_json=as_json))


@app.command()
def init(
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    as_json: Json = False,
) -> None:
    """Write an auto-dev.toml with what was found in this repository."""
    from auto_dev.commands.init import init

    _run(init(force=force, as_json=as_json))


@app.command()
def demo(
    folder: Annotated[Optional[Path], typer.Option("--dir", help="Where to play it.")] = None,  # noqa: UP045
    go_on: Annotated[bool, typer.Option("--continue", help="Go on with the demo that lies there.")] = False,
) -> None:
    """Play the whole thing on a shipped repository, with recorded conversations."""
    from auto_dev.commands.demo import demo

    _run(demo(folder, go_on=go_on))


@stories_app.command("check")
def stories_check(folder: Dir = None, as_json: Json = False) -> None:
    """What was understood of a folder, and what is wrong with it."""
    from auto_dev.commands.stories import check

    _run(check(folder, as_json=as_json))


@stories_app.command("list")
def stories_list(folder: Dir = None, as_json: Json = False) -> None:
    """The stories in the order in which they would be worked on."""
    from auto_dev.commands.stories import list_stories

    _run(list_stories(folder, as_json=as_json))


@stories_app.command("explain")
def stories_explain(story: Story, folder: Dir = None, as_json: Json = False) -> None:
    """Why a story is ready to start, or is not."""
    from auto_dev.commands.stories import explain

    _run(explain(story, folder, as_json=as_json))


@budget_app.callback()
def budget(context: typer.Context, as_json: Json = False) -> None:
    """Spent, set aside and left, today and this week."""
    if context.invoked_subcommand is None:
        from auto_dev.commands.budget import show

        _run(show(as_json=as_json))


@budget_app.command("show")
def budget_show(as_json: Json = False) -> None:
    """Spent, set aside and left, today and this week."""
    from auto_dev.commands.budget import show

    _run(show(as_json=as_json))


@budget_app.command("raise")
def budget_raise(
    to: Annotated[float, typer.Option("--to", help="The new limit in US dollars.")],
    which: Annotated[Optional[str], typer.Argument(help="day, week, or a story's id.")] = None,  # noqa: UP045
    scope: Annotated[Optional[str], typer.Option(help="day, week or story, where that is not clear.")] = None,  # noqa: UP045
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """Change a limit, for this day, week or story."""
    from auto_dev.commands.budget import raise_limit

    _run(raise_limit(which, to, reason, scope=scope, yes=yes, as_json=as_json))


@budget_app.command("history")
def budget_history(
    days: Annotated[int, typer.Option(help="How many days back.", min=1, max=3660)] = 14,
    changes: Annotated[bool, typer.Option("--changes", help="Who changed which limit, instead.")] = False,
    as_json: Json = False,
) -> None:
    """What was spent, day by day, or who changed which limit."""
    from auto_dev.commands.budget import history

    _run(history(days, changes=changes, as_json=as_json))


@budget_app.command("estimates")
def budget_estimates(as_json: Json = False) -> None:
    """What stories were estimated at, and what they cost."""
    from auto_dev.commands.budget import estimates

    _run(estimates(as_json=as_json))


def main() -> None:
    """The entry point: every error is one line on stderr and its exit code, never a traceback."""
    sys.exit(_called())


def _called() -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal or a file name that is not UTF-8
    try:
        return int(app(prog_name="auto-dev", standalone_mode=False) or ExitCode.DONE)
    except typer.TyperException as error:
        return _wrongly_called(error)
    except AutoDevError as error:
        return _refused(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.stderr.write("auto-dev: interrupted\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone, as `| head` does
        return ExitCode.DONE
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refused(f"{where}{error.strerror or error}", ExitCode.ERROR)
    except Exception as error:  # the last place before a traceback, which helps nobody who only uses the program
        if os.environ.get(TRACEBACK):
            raise
        kind = type(error).__name__
        return _refused(f"unexpected {kind}: {error}. {TRACEBACK}=1 shows where it comes from.", ExitCode.ERROR)


def _refused(text: str, code: ExitCode) -> int:
    sys.stderr.write(f"auto-dev: error: {line(text, 2000)}\n")
    return code


def _wrongly_called(error: typer.TyperException) -> int:
    if text := error.format_message():  # without one the help was printed
        context: typer.Context | None = getattr(error, "ctx", None)
        command = context.command_path if context else "auto-dev"
        _refused(str(UsageError(text, mend=f"`{command} --help` shows what it takes.")), ExitCode.USAGE)
    return error.exit_code
