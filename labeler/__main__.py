"""``python -m labeler`` is the same as ``labeler``."""

from labeler.cli import main

main()
