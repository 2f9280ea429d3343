"""Where in a program Ctrl-C and SIGTERM are met."""

from __future__ import annotations

import subprocess
import sys

import pytest

TIMES = 20
# The signal comes from a child as soon as the loop has begun.
PROGRAM = """
import itertools, os, signal, time
from provender.cli.signals import Terminated, handle_signals
handle_signals()
left = 0

class Block:
    def __enter__(self): pass
    def __exit__(self, *_):
        global left
        left += 1

def wait(numbers):
    with Block():
        {loop}

for _ in range({times}):
    ready, begun = os.pipe()
    if os.fork() == 0:
        os.read(ready, 1)
        time.sleep(0.005)
        os.kill(os.getppid(), signal.{name})
        os._exit(0)
    numbers = itertools.chain(map(lambda _: os.write(begun, b"1"), [1]), itertools.repeat(1))
    try:
        wait(numbers)
    except KeyboardInterrupt as error:
        assert isinstance(error, Terminated) == (signal.{name} == signal.SIGTERM)
    os.wait()
    os.close(ready)
    os.close(begun)
print(left)
"""
# Some of the time goes into jumps back that depend on a condition, which CPython 3.13 has no handler for.
LOOPS = {
    "for": "for number in numbers:\n            if number == next(numbers) + 1:\n                break",
    "comprehension": "return {number for number in numbers if number == next(numbers) + 1}",
    "while": "while next(numbers) == 1:\n            pass",
}


def run(loop: str, name: str, times: int = TIMES) -> tuple[str, str]:
    program = PROGRAM.format(loop=loop, name=name, times=times)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    return done.stdout, done.stderr


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor these signals")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
def test_an_interrupted_loop_leaves_the_block_around_it_by_its_end(loop: str, name: str) -> None:
    assert run(loop, name) == (f"{TIMES}\n", "")


def test_a_loop_that_calls_nothing_is_interrupted_all_the_same() -> None:
    out, err = run("for number in numbers:\n            if number == 0:\n                break", "SIGINT", 2)
    assert (out.strip().isdecimal(), err) == (True, "")
