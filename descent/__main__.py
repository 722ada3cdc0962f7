"""`python -m descent` is `descent`."""

from descent.cli import app

if __name__ == "__main__":
    app(prog_name="descent")
