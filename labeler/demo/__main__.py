"""A drawing process of :func:`labeler.demo.write_dataset`: a job a line in, a line out for each file written."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from labeler.demo.dataset import Job, draw_to_file


def main(folder: Path) -> int:
    """Draw what standard input asks for into ``folder``; 1 and a reason on standard error when the disk refuses."""
    for line in sys.stdin:
        try:
            draw_to_file(Job(**json.loads(line)), folder)
        except OSError as error:
            print(error.strerror or error, file=sys.stderr)
            return 1
        print("drawn", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
