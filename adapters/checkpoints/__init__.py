"""Models on this machine: folders, single files and installed packages, each behind the port ModelStore."""
