"""``python -m budget_middleware`` is the console script."""

import sys

from budget_middleware.cli import main

if __name__ == "__main__":
    sys.exit(main())
