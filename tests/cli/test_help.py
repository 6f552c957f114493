"""What a person meets first: help that comes at once, with something to copy."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from isthmus.cli import COMMANDS
from tests.cli.conftest import RunIsthmus

#: Processor time, which busy neighbours do not lengthen much; with nobody else, the wall clock says the same.
#: A quick machine takes 0.2 s; one of half its speed is no reason to fail.
HELP_SECONDS_MAX = 0.8
COMMAND_HELP_SECONDS_MAX = 3.0


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _best_of(times: int, isthmus: RunIsthmus, *arguments: str) -> tuple[float, str]:
    """The shortest of a few runs: what the command needs, without what the neighbours took."""
    best, told = float("inf"), ""
    for _ in range(times):
        began = _children_seconds()
        done = isthmus(*arguments)
        best = min(best, _children_seconds() - began)
        assert done.returncode == 0, done.stderr
        told = done.stdout
    return best, told


def test_help_lists_every_command_and_comes_at_once(cold_isthmus: RunIsthmus) -> None:
    seconds, told = _best_of(5, cold_isthmus, "--help")

    assert seconds < HELP_SECONDS_MAX
    for name, command in COMMANDS.items():
        assert f"  {name} " in told
        assert command.summary in told


def test_help_imports_no_command() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['isthmus', '--help']\n"
        "from isthmus.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'pydantic', 'strawberry', 'asyncpg', 'sqlalchemy', 'structlog', 'asyncio', 'rich'} & set(sys.modules)\n"
        "own = {name for name in sys.modules if name.startswith('isthmus.') and not name.startswith('isthmus.cli')}\n"
        "sys.exit(', '.join(sorted(heavy | own)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.stderr.strip() == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example(cold_isthmus: RunIsthmus, name: str) -> None:
    seconds, told = _best_of(1, cold_isthmus, name, "--help")

    assert seconds < COMMAND_HELP_SECONDS_MAX
    assert told.startswith(f"Usage: isthmus {name}")
    example = told[told.index("Example") :]
    assert f"isthmus {name}" in example


def test_version(cold_isthmus: RunIsthmus) -> None:
    assert cold_isthmus("--version").stdout.startswith("isthmus 0.")


def test_a_misspelt_command_is_answered_with_the_right_one(isthmus: RunIsthmus) -> None:
    done = isthmus("migrat")

    assert done.returncode == 2
    assert "Did you mean 'migrate'?" in done.stderr


def test_an_unknown_option_is_a_usage_error(isthmus: RunIsthmus) -> None:
    assert isthmus("settings", "--nonsense").returncode == 2


_BROKEN_ELSEWHERE = """
import isthmus.cli
def app(**_):
    raise BrokenPipeError(32, "Broken pipe")
isthmus.cli.app = app
isthmus.cli.main()
"""
_NOBODY_READS = "from isthmus.cli import main; import sys; sys.argv = ['isthmus', 'settings']; main()"


def test_a_pipe_that_breaks_elsewhere_is_told_of() -> None:
    """As to a server that was killed: the end of a command without a word would be a riddle."""
    done = subprocess.run([sys.executable, "-c", _BROKEN_ELSEWHERE], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert done.stderr.startswith("isthmus: BrokenPipeError: [Errno 32] Broken pipe")


def test_where_nobody_reads_nothing_is_said() -> None:
    command = f'"{sys.executable}" -c "{_NOBODY_READS}" | head -1 > /dev/null; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)

    assert done.stderr == ""
    assert done.stdout.strip() in ("0", "1"), "0 where all of it fitted into the pipe"
