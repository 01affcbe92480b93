"""Run the command line as ``python -m causalign``."""

from causalign.cli import main

main()
