"""`python -m native_build FOLDER` builds the library in a folder."""

import argparse
import sys
from pathlib import Path

from native_build.compiler import find_compiler, missing_requirements
from native_build.install import NO_COMPILER, OBJECTS
from native_build.shared_library import BuildFailed, build


def main() -> int:
    """Return 0 if the library was built or there is no compiler, 1 if its sources do not compile."""
    parser = argparse.ArgumentParser(prog="native_build", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("adapters/native"))
    parser.add_argument(
        "--requirements", action="store_true", help="list the missing packages and build nothing"
    )
    parser.add_argument("--objects", type=Path, default=OBJECTS, help="folder for object files")
    parser.add_argument(
        "--flag", action="append", default=[], help="an additional flag, such as --flag=-Werror"
    )
    options = parser.parse_args()
    if options.requirements:
        sys.stdout.write("".join(f"{name}\n" for name in missing_requirements()))
        return 0
    compiler = find_compiler()
    if compiler is None:
        sys.stderr.write(f"{NO_COMPILER}\n")
        return 0
    try:
        build(options.folder, compiler, options.objects, options.flag)
    except BuildFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
