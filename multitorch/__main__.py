"""`python -m multitorch`: see `multitorch.cli`."""

import sys

from multitorch.cli import main

if __name__ == "__main__":
    sys.exit(main())
