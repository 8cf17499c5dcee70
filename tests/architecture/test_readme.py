import subprocess
import sys

from tests.architecture.repository import ROOT


def test_the_readmes_tables_are_what_the_code_says() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], check=False)
    assert done.returncode == 0, "run: python docs/generate.py"


def test_every_folder_of_the_map_exists_and_every_folder_is_on_it() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = readme.split("```text")[1].split("```")[0]
    parents: list[str] = []
    on_map = set()
    for line in listed.strip().splitlines():
        name = line.strip().split(" ", 1)[0]
        if not name.endswith("/"):
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        parents = [*parents[:depth], name.rstrip("/")]
        on_map.add("/".join(parents))
    missing = {one for one in on_map if not (ROOT / one).is_dir()}
    assert missing == set()
    layers = {"domain", "application", "adapters", "entrypoints"}
    subfolders = {
        f"{layer}/{one.name}"
        for layer in ("adapters", "entrypoints")
        for one in (ROOT / layer).iterdir()
        if one.is_dir()
    }
    assert layers | {one for one in subfolders if not one.rsplit("/", 1)[1].startswith(("_", "."))} <= on_map
