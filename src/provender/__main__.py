"""`python -m provender`: the same as the command `provender`."""

from provender.cli.main import run

if __name__ == "__main__":
    run()
