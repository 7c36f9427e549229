"""Write the stubs that tell type checkers and editors what the tables hold.

python -m tests.stubs          # write them
python -m tests.stubs --check  # say which are out of date
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.stubs.modules import files

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Write, or compare, every stub."""
    texts = files()
    kept = {path: (ROOT / path).read_text() for path in texts if (ROOT / path).exists()}
    old = [path for path in texts if kept.get(path) != texts[path]]
    if "--check" in sys.argv[1:]:
        for path in old:
            print(f"{path} is out of date: run `python -m tests.stubs`")
        return bool(old)
    for path in old:
        (ROOT / path).write_text(texts[path])
        print("wrote", path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
