"""`python -m tacit` is the command `tacit`."""

from __future__ import annotations

from tacit.cli.main import main

if __name__ == "__main__":
    main(prog_name="tacit")
