"""`LLM`: a language model to generate with and to measure. A torch Module whose only child is the network."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeAlias, TypedDict, Unpack, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.application.asking import Asked, Settings, ask
from litgpt.application.benchmarking import Benchmark
from litgpt.application.chatting import Conversation
from litgpt.application.generating import GenerateText
from litgpt.application.loading import LoadedModel
from litgpt.application.prompting import WritePrompt
from litgpt.chat import Chat, read_messages
from litgpt.config import Config
from litgpt.container import container, tokenizer_folder
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import BadArgument, NotDistributed, OutOfReach
from litgpt.domain.generation import Completion, TextEvent
from litgpt.domain.placement import Placement, Wish
from litgpt.domain.ports import Generator
from litgpt.domain.prompts.style import PromptStyle
from litgpt.domain.reference import ModelReference
from litgpt.domain.reporting import Report
from litgpt.preprocessor import Preprocessor
from litgpt.reporting import default_report
from litgpt.tokenizer import Tokenizer

Turns: TypeAlias = Sequence[Message] | Sequence[dict[str, str]]
"""A conversation: `[{"role": "user", "content": "Hello"}, …]`."""
Prompt: TypeAlias = str | Turns
Prompts: TypeAlias = Sequence[str] | Sequence[Turns]


class Options(TypedDict, total=False):
    """How to generate; `LLM.generate` documents each."""

    sys_prompt: str | None
    max_new_tokens: int | None
    temperature: float
    top_k: int | None
    top_p: float
    seed: int | None
    stop: str | Sequence[str] | None


class LLM(nn.Module):
    """A language model.

        with LLM.load("smollm2") as llm:
            print(llm.generate("What is the capital of France?"))

    Made by `LLM.load`. Leaving the `with` block, or `close()`, frees the memory.

    Attributes:
        model: The network; None until `distribute`.
        config: Its sizes, under LitGPT's names.
        tokenizer: Text to a tensor of ids and back.
        preprocessor: The same, on the model's device.
        checkpoint_dir: The folder it was loaded from; None if it was loaded from none.
        devices: How many devices it is on.
        generate_strategy: How it is spread over them.
        fabric: None: this library does without. LitGPT's programs ask for it.

    """

    model: GPT | None

    def __init__(self, loaded: LoadedModel[Tensor], report: Report) -> None:
        super().__init__()
        self.model = None
        self._loaded = loaded
        self._report = report
        self._placement: Placement | None = None
        self.config = Config(Path(loaded.checkpoint.name).name, loaded.architecture)
        self.tokenizer = Tokenizer(loaded.tokenizer)
        self.preprocessor = Preprocessor(self.tokenizer, "cuda" if torch.cuda.is_available() else "cpu")
        self.checkpoint_dir = loaded.checkpoint.folder
        self.devices = 1
        self.generate_strategy: str | None = None
        self.fabric = None
        self.register_state_dict_post_hook(_hide_model_level)
        self.register_load_state_dict_pre_hook(_restore_model_level)

    @classmethod
    def load(
        cls,
        model: str,
        init: Literal["pretrained", "random"] = "pretrained",
        tokenizer_dir: str | Path | None = None,
        access_token: str | None = None,
        distribute: Literal["auto"] | None = "auto",
        *,
        revision: str | None = None,
        offline: bool | None = None,
        quiet: bool | None = None,
    ) -> Self:
        """Load a model by name: a path, a folder under `checkpoints/`, an installed package or a Hub repository.

        Args:
            model: `smollm2`, `path/to/folder`, `path/to/model.gguf`, `meta-llama/Llama-3.2-1B-Instruct`, …
            init: `pretrained` reads the weights.
            tokenizer_dir: A folder with another tokenizer than the model's own.
            access_token: What the Hub knows you by; None is what huggingface_hub finds (HF_TOKEN, a login).
            distribute: `auto` places it on one device, ready to generate; None leaves that to `distribute()`.
            revision: A branch, tag or commit of the repository.
            offline: True never asks the Hub; None does as HF_HUB_OFFLINE says.
            quiet: Whether to report nothing on stderr; None does as LITGPT_QUIET says.

        Raises:
            ModelNotFound: Nobody has it; the message says where it was looked for and what is similar.
            BadCheckpoint: Its files cannot be used; the message says what is wrong with which.
            UnsupportedModel: Its family, or a setting of it, is not implemented.
            HubUnreachable: The Hub does not answer and the cache does not have it.

        """
        if init not in ("pretrained", "random"):
            raise BadArgument("init", init, "'pretrained' or 'random'")
        if init == "random":
            raise OutOfReach("init='random'", "this version loads pretrained weights only.")
        if distribute not in ("auto", None):
            raise BadArgument("distribute", distribute, "'auto' or None")
        reference = ModelReference(str(model) if isinstance(model, Path) else model, revision, offline, access_token)
        tokenizer = None if tokenizer_dir is None else tokenizer_folder(Path(tokenizer_dir))
        llm = cls(container.load_model()(reference, tokenizer=tokenizer), default_report(quiet))
        if distribute == "auto":
            llm.distribute()
        return llm

    def distribute(
        self,
        accelerator: Literal["cpu", "cuda", "gpu", "mps", "auto"] = "auto",
        devices: int | Literal["auto"] = "auto",
        precision: str | None = None,
        quantize: str | None = None,
        generate_strategy: Literal["sequential", "tensor_parallel"] | None = None,
        fixed_kv_cache_size: int | Literal["max_model_supported"] | None = None,
    ) -> None:
        """Put the model on the hardware, ready to generate. Called again, it is placed anew.

        Args:
            accelerator: What to compute on; `auto` is the best there is.
            devices: How many of them; `auto` is one.
            precision: As Lightning writes it: `bf16-true`, `16-true` or `32-true`; None is the best supported.
            quantize: Not in this version.
            generate_strategy: Not in this version.
            fixed_kv_cache_size: The tokens that each KV cache holds from the start, a bound on prompt and answer;
                None lets each grow as it needs.

        Raises:
            BadArgument: An argument cannot be right.
            OutOfReach: The hardware does not have it.

        """
        wish = Wish(
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            quantize=quantize,
            generate_strategy=generate_strategy,
            fixed_kv_cache_size=fixed_kv_cache_size,
        )
        self.model, self._placement = container.place_model()(self._loaded, wish, self._report)
        self.preprocessor.device = self._placement.device
        self.devices = self._placement.devices

    @property
    def prompt_style(self) -> PromptStyle | None:
        """How prompts are written; None is the tokenizer's own chat template."""
        return self._loaded.style

    # One overload for each kind of answer: text or ids, whole or streamed, one or several.
    @overload
    def generate(
        self, prompt: Prompt, *, return_as_token_ids: Literal[False] = ..., stream: Literal[False] = ..., **how: Unpack[Options]
    ) -> str: ...
    @overload
    def generate(
        self, prompt: Prompts, *, return_as_token_ids: Literal[False] = ..., stream: Literal[False] = ..., **how: Unpack[Options]
    ) -> list[str]: ...
    @overload
    def generate(
        self, prompt: Prompt, *, return_as_token_ids: Literal[False] = ..., stream: Literal[True], **how: Unpack[Options]
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, return_as_token_ids: Literal[False] = ..., stream: Literal[True], **how: Unpack[Options]
    ) -> Iterator[tuple[int, str]]: ...
    @overload
    def generate(
        self, prompt: Prompt, *, return_as_token_ids: Literal[True], stream: Literal[False] = ..., **how: Unpack[Options]
    ) -> Tensor: ...
    @overload
    def generate(
        self, prompt: Prompts, *, return_as_token_ids: Literal[True], stream: Literal[False] = ..., **how: Unpack[Options]
    ) -> list[Tensor]: ...
    @overload
    def generate(
        self, prompt: Prompt, *, return_as_token_ids: Literal[True], stream: Literal[True], **how: Unpack[Options]
    ) -> Iterator[Tensor]: ...
    @overload
    def generate(
        self, prompt: Prompts, *, return_as_token_ids: Literal[True], stream: Literal[True], **how: Unpack[Options]
    ) -> Iterator[tuple[int, Tensor]]: ...
    @overload
    def generate(self, prompt: Prompt | Prompts, *args: Any, **how: Any) -> Any: ...

    def generate(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        max_new_tokens: int | None = 50,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        return_as_token_ids: bool = False,
        stream: bool = False,
        *,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: bool = False,
    ) -> Any:
        """Return the model's answer, without the prompt.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations of any lengths, each
                of which gets the answer that it would get alone.
            sys_prompt: What the system says first.
            max_new_tokens: A bound on the answer; the context's end is another. None is that one alone.
            temperature: Divides the logits; 0 takes the likeliest token.
            top_k: How many of the likeliest tokens to draw from; None is all.
            top_p: Draw from the likeliest tokens that have this much of the probability; 0 takes the likeliest.
            return_as_token_ids: Return ids, (T,), the end token included, and not text.
            stream: Return an iterator over pieces as they come: whole characters; for a list of prompts
                (index, piece). Closing or dropping it ends the generation.
            seed: Makes the draws repeatable, whatever is generated beside them.
            stop: Strings that end the answer and are not part of it.
            logprobs: Return what `complete` returns, which has room for the log-probabilities.

        Raises:
            NotDistributed: The model has no device yet.
            BadArgument: An argument cannot be right, or the prompt is empty.
            PromptTooLong: The prompt leaves no room for an answer.
            BadPrompt: The prompt style cannot express it.

        """
        settings = _settings(max_new_tokens, temperature, top_k, top_p, seed, stop, logprobs)
        asked = self._ask(prompt, sys_prompt, settings)
        if logprobs:
            return self._complete(asked, stream=stream)
        events = self._events(asked)
        if stream:
            return _stream(events, several=asked.several, ids=return_as_token_ids)
        answers = _whole(events, len(asked.requests))
        found = [torch.tensor(one.token_ids) if return_as_token_ids else one.text for one in answers]
        return found if asked.several else found[0]

    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        max_new_tokens: int | None = 50,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        *,
        stream: bool = False,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: bool = False,
    ) -> Any:
        """Return the answer as a `Completion`: text, ids, log-probabilities if asked, finish reason and counts.

        The arguments are those of `generate`. A list of prompts gives a list; `stream=True` gives an iterator of
        `TextEvent`, the last of which, for each prompt, carries its completion.
        """
        settings = _settings(max_new_tokens, temperature, top_k, top_p, seed, stop, logprobs)
        return self._complete(self._ask(prompt, sys_prompt, settings), stream=stream)

    def chat(
        self,
        sys_prompt: str | None = None,
        *,
        resume: str | Path | Sequence[Message] | Sequence[dict[str, str]] | None = None,
        max_new_tokens: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Chat:
        """Return a conversation that remembers what was said and does not compute it again.

        Args:
            sys_prompt: What the system says first.
            resume: A file that `Chat.save` wrote, or messages, to go on from.
            max_new_tokens: A bound on each answer; None is the context's end. The rest is as for `generate`.
            temperature: Divides the logits.
            top_k: How many of the likeliest tokens to draw from.
            top_p: How much of the probability to draw from.
            seed: Makes the draws repeatable.
            stop: Strings that end an answer.

        """
        settings = _settings(max_new_tokens, temperature, top_k, top_p, seed, stop, logprobs=False)
        if isinstance(resume, (str, Path)):
            said = read_messages(resume)
        else:
            said = list(messages(resume)) if resume else []
        if sys_prompt and said:
            raise BadArgument("sys_prompt", sys_prompt, "None when a conversation is resumed: it has its own")
        if sys_prompt:
            said = [Message("system", sys_prompt)]
        generator = self._generator()
        talk = Conversation(
            WritePrompt(self._loaded.tokenizer, self._loaded.style),
            GenerateText(self._loaded.tokenizer, generator),
            generator.prefix_cache(),
            said,
        )
        ends = self._loaded.end_ids
        return Chat(
            talk,
            lambda ids: settings.request(ids, ends, context=generator.context),
            (*settings.stop_strings, *self._loaded.stop),
        )

    def benchmark(self, num_iterations: int = 1, **generate_arguments: Any) -> tuple[str, dict[str, list[float]]]:
        """Return the last answer's text and, by name, a list of what was measured at each iteration.

        The first iterations are slower, because the machine warms up. Tokens are counted as they leave the model.

        Args:
            num_iterations: How often to generate.
            generate_arguments: What `generate` takes. Whether the caller would stream makes no difference.

        """
        if isinstance(num_iterations, bool) or not isinstance(num_iterations, int) or num_iterations < 1:
            raise BadArgument("num_iterations", num_iterations, "a whole number from 1")
        for name in ("stream", "return_as_token_ids"):
            generate_arguments.pop(name, None)
        prompt, sys_prompt = generate_arguments.pop("prompt", None), generate_arguments.pop("sys_prompt", None)
        asked = self._ask(prompt, sys_prompt, Settings(**generate_arguments))
        profiler = container.profiler(self.preprocessor.device)
        run = Benchmark(self._loaded.tokenizer, self._generator(), profiler)
        figures: dict[str, list[float]] = {}
        text = ""
        for _ in range(num_iterations):
            answers, measured = run(asked.requests, stop=asked.stop)
            text = answers[-1].text
            for name, value in measured.as_dict().items():
                figures.setdefault(name, []).append(value)
        return text, figures

    def forward(
        self,
        input_ids: Tensor,
        target_ids: Tensor | None = None,
        loss_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits, and the loss if there are targets.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted: the loss compares each token's logits with the next target. -100 is
                ignored.
            loss_fn: Takes logits (B, T - 1, V) and targets (B, T - 1); None is the cross-entropy.

        Returns:
            (B, T, V), or that and the loss.

        """
        if self.model is None:
            raise NotDistributed
        logits: Tensor = self.model(input_ids)
        if target_ids is None:
            return logits
        ahead, targets = logits[:, :-1], target_ids[:, 1:]
        if loss_fn is not None:
            return logits, loss_fn(ahead, targets)
        return logits, functional.cross_entropy(ahead.flatten(0, 1).float(), targets.flatten(), ignore_index=-100)

    def close(self) -> None:
        """Free the memory. The model can be placed again with `distribute()`."""
        self.model = self._placement = None
        self._loaded.checkpoint.close()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _generator(self) -> Generator:
        # Made for each call and never stored: the model is ours, and wrappers may replace it.
        if self.model is None or self._placement is None:
            raise NotDistributed
        generator: Generator = container.strategy().generator(self.model, self._placement)
        return generator

    def _ask(self, prompt: object, sys_prompt: str | None, settings: Settings) -> Asked:
        return ask(self._loaded, prompt, sys_prompt, settings, context=self._generator().context)

    def _events(self, asked: Asked) -> Iterator[TextEvent]:
        return GenerateText(self._loaded.tokenizer, self._generator()).stream(asked.requests, stop=asked.stop)

    def _complete(self, asked: Asked, *, stream: bool) -> Any:
        events = self._events(asked)
        if stream:
            return events
        answers = _whole(events, len(asked.requests))
        return answers if asked.several else answers[0]


def _settings(
    max_new_tokens: int | None,
    temperature: float,
    top_k: int | None,
    top_p: float,
    seed: int | None,
    stop: str | Sequence[str] | None,
    logprobs: bool,
) -> Settings:
    return Settings(
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        stop=stop,
        logprobs=logprobs,
    )


def _whole(events: Iterator[TextEvent], count: int) -> list[Completion]:
    done = {event.index: event.completion for event in events if event.completion is not None}
    return [done[index] for index in range(count)]


def _stream(events: Iterator[TextEvent], *, several: bool, ids: bool) -> Iterator[Any]:
    for event in events:
        piece = torch.tensor([event.token]) if ids else event.text
        if (event.token is not None) if ids else event.text:
            yield (event.index, piece) if several else piece


def _hide_model_level(_: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
    """Write `llm.lm_head.weight` for `llm.model.lm_head.weight`, as LitGPT does."""
    for name in [one for one in state if one.startswith(f"{prefix}{_LEVEL}")]:
        state[prefix + name.removeprefix(f"{prefix}{_LEVEL}")] = state.pop(name)


def _restore_model_level(module: nn.Module, state: dict[str, Any], prefix: str, *_: object) -> None:
    """Read `llm.lm_head.weight` as `llm.model.lm_head.weight`."""
    if getattr(module, "model", None) is None:
        return
    for name in [one for one in state if one.startswith(prefix)]:
        if not name.startswith(f"{prefix}{_LEVEL}"):
            state[f"{prefix}{_LEVEL}{name.removeprefix(prefix)}"] = state.pop(name)


_LEVEL = "model."
