"""`python -m native_build` builds the library for an editable installation, as pip does."""

import argparse
import sys
from pathlib import Path

from native_build.compiler import find_compiler, is_wanted, missing_requirements
from native_build.install import OBJECTS, build_if_possible
from native_build.shared_library import BuildFailed, build
from native_build.units import LIBRARY_FOLDER


def main() -> int:
    """Return 1 if there is a compiler and the sources do not compile, else 0."""
    parser = argparse.ArgumentParser(prog="native_build", description=__doc__)
    parser.add_argument(
        "--requirements", action="store_true", help="only list the packages that the build needs"
    )
    parser.add_argument("--into", type=Path, help="build in another folder")
    options = parser.parse_args()
    compiler = find_compiler() if is_wanted() else None
    if options.requirements:
        sys.stdout.write("".join(f"{name}\n" for name in missing_requirements()))
    elif compiler is None:
        build_if_possible(options.into or LIBRARY_FOLDER)
    else:
        try:
            build(options.into or LIBRARY_FOLDER, compiler, OBJECTS)
        except BuildFailed as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
