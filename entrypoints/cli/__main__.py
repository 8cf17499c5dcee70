"""`python -m litgpt.cli`: run the command line where the `litgpt` script is not on the path."""

from litgpt.cli.main import main

main()
