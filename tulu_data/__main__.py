"""`python -m tulu_data` is the same program as `tulu-data`."""

from __future__ import annotations

from tulu_data.cli import main

if __name__ == "__main__":
    main()
