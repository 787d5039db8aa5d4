"""python -m promptax."""

from promptax.cli import main

main()
