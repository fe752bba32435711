"""``python -m elector``."""

from elector.cli.main import main

main()
