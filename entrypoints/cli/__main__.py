"""`python -m litgpt.cli`: the command line where `litgpt` is not on the path."""

from litgpt.cli.main import main

main()
