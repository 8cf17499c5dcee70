"""`LLM`: load, distribute, save and generate with a language model."""

from collections.abc import Sequence
from os.path import realpath
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

import attrs

from litgpt.application.load_model import LoadedModel
from litgpt.config import Config
from litgpt.container import container
from litgpt.domain.chat.styles import resolve_style
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.distribution.cpu_matmul import describe_placed_matmul
from litgpt.domain.distribution.placement import DistributeOptions
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.garbage_collection import rare_garbage_collection
from litgpt.llm_parts.async_generation import AsyncGenerationMixin
from litgpt.llm_parts.base import has_torch
from litgpt.llm_parts.beam_search import BeamSearchMixin
from litgpt.llm_parts.benchmark import BenchmarkMixin
from litgpt.llm_parts.conversation import ConversationMixin
from litgpt.llm_parts.scoring import ScoringMixin
from litgpt.llm_parts.serving import ServingMixin
from litgpt.preprocessor import Preprocessor
from litgpt.progress_report import default_reporter
from litgpt.services import Services
from litgpt.tokenizer import Tokenizer, find_tokenizer_source

if TYPE_CHECKING:
    from torch import Tensor


class LLM(
    AsyncGenerationMixin,
    BeamSearchMixin,
    ConversationMixin,
    BenchmarkMixin,
    ScoringMixin,
    ServingMixin,
):
    """A language model.

        with LLM.load("smollm2") as llm:
            print(llm.generate("What is the capital of France?"))

    Created by `LLM.load`. Leaving the `with` block, or calling `close()`, frees the memory.

    Attributes:
        model: The network; None until `distribute` or `trainer_setup`.
        config: The architecture, under LitGPT's attribute names.
        tokenizer: Encodes and decodes text.
        preprocessor: Encodes text as tensors on the model's device.
        checkpoint_dir: The folder of the checkpoint, if any.
        devices: The number of devices.
        generate_strategy: The strategy that distributes the model over several devices.
        fabric: Always None; exists because programs written for LitGPT read it.
    """

    @public_function(instead="Models are loaded with LLM.load('smollm2').")
    def __init__(self, loaded: "LoadedModel[Tensor]", report: Reporter, services: Services) -> None:
        super().__init__(loaded, report, services)
        self._saved_to: set[Path] = set()
        self.config = Config(Path(loaded.checkpoint.name).name, loaded.architecture)
        self.tokenizer = Tokenizer(loaded.tokenizer)
        self.tokenizer.prompt_style = None if loaded.prompt_style is PLAIN else loaded.prompt_style
        has_cuda = services.strategy.hardware().accelerator == "cuda"
        self.preprocessor = Preprocessor(self.tokenizer, "cuda" if has_cuda else "cpu")
        self.checkpoint_dir = loaded.checkpoint.folder
        self.devices = 1
        self.generate_strategy: str | None = None
        self.fabric = None

    @classmethod
    @public_function()
    @rare_garbage_collection
    def load(  # noqa: PLR0913 - LitGPT's arguments and further ones
        cls,
        model: str | Path,
        init: Literal["pretrained", "random"] = "pretrained",
        tokenizer_dir: str | Path | None = None,
        access_token: str | None = None,
        distribute: Literal["auto"] | None = "auto",
        *,
        draft: str | Path | None = None,
        revision: str | None = None,
        offline: bool | None = None,
        quiet: bool | None = None,
    ) -> Self:
        """Load a model: a path, a folder under `checkpoints/`, an installed package or a Hub repository.

        Args:
            model: `smollm2`, `path/to/folder`, `path/to/model.gguf`, `meta-llama/Llama-3.2-1B-Instruct`, …
            init: `pretrained` reads the weights; `random` initializes them from the config alone.
            tokenizer_dir: Another tokenizer: any value of `model`, or a folder of tokenizer files. None: the
                tokenizer of the model.
            access_token: Hugging Face token; None: the token that huggingface_hub finds.
            distribute: `auto` places the model on one device; None: call `distribute()` or `trainer_setup()`.
            draft: A smaller model with the same vocabulary, any value of `model`. It proposes tokens, which
                the model verifies: the texts are the same, and take less time (docs/engine.md). With
                the native engine.
            revision: A branch, tag or commit of the repository.
            offline: Whether to use local files only; None: the value of HF_HUB_OFFLINE.
            quiet: Whether to write nothing to stderr; None: the value of LITGPT_QUIET.

        Raises:
            ModelNotFound: The model was not found; the message lists similar names.
            InvalidCheckpoint: The files cannot be used, or the vocabulary of the draft model differs.
            UnsupportedModel: The model family, or one of its settings, is not implemented.
            UnsupportedOperation: The draft model cannot be used with this model and engine.
            HubUnreachable: The Hub does not answer and the cache does not have it.
        """
        if init not in ("pretrained", "random"):
            raise InvalidArgument("init", init, "'pretrained' or 'random'")
        if distribute not in ("auto", None):
            raise InvalidArgument("distribute", distribute, "'auto' or None")
        if draft is not None and init == "random":
            raise InvalidArgument("draft", draft, "None with init='random'")
        name = str(model) if isinstance(model, Path) else model
        reference = ModelReference(name, revision, offline, access_token)
        drafting = None if draft is None else reference.draft(draft)
        tokenizer = None
        if tokenizer_dir is not None:
            tokenizer = find_tokenizer_source(tokenizer_dir, offline=offline, token=access_token)
        elif init == "random":
            tokenizer = container.find_tokenizer()(reference)
        load = container.load_random() if init == "random" else container.load_model()
        loaded = load(reference, tokenizer=tokenizer, draft=drafting)
        llm = cls(loaded, default_reporter(quiet), container.services())
        if distribute == "auto":
            llm.distribute()
        return llm

    @public_function()
    def distribute(
        self,
        accelerator: Literal["cpu", "cuda", "gpu", "mps", "auto"] = "auto",
        devices: int | Sequence[int] | Literal["auto"] = "auto",
        precision: str | None = None,
        quantize: str | None = None,
        generate_strategy: Literal["sequential", "tensor_parallel"] | None = None,
        fixed_kv_cache_size: int | Literal["max_model_supported"] | None = None,
        *,
        engine: Literal["native", "torch", "transformers"] | None = None,
        kv_cache: Literal["int8"] | None = None,
    ) -> None:
        """Place the model on its devices; may be called again.

        Args:
            accelerator: The device type; `auto` selects the fastest available type.
            devices: The number of devices, or a list of device indices; `auto`: one device, or all devices
                with a strategy.
            precision: `bf16-true`, `16-true` or `32-true`. None: `bf16-true` if the GPU supports it, else
                `16-true`; on a CPU `bf16-true`, or `32-true` for weights that bfloat16 would round.
            quantize: Quantization of the projections: `int8` or `int4`; with bitsandbytes `bnb.nf4`,
                `bnb.nf4-dq`, `bnb.fp4`, `bnb.fp4-dq` or `bnb.int8`.
            generate_strategy: `sequential` places consecutive layers on consecutive devices;
                `tensor_parallel` splits every layer over all devices, which are processes on a CPU. None:
                one device.
            fixed_kv_cache_size: The size of each KV cache in tokens; None: it grows as needed.
            engine: `native` computes on the CPU with this library's C++ kernels, in the checkpoint's own
                quantization unless `precision` or `quantize` is set; `torch` computes with PyTorch;
                `transformers` with the network of transformers (docs/models.md). None: `native` on one CPU
                if it has all parts of the model, else `torch`; `transformers` if that has not.
            kv_cache: `int8` caches keys and values in 8 bits, in about half of the memory; with the native
                engine. None: in the precision of the model.

        Raises:
            InvalidArgument: An argument is not valid.
            UnsupportedOperation: The hardware is not available, or the model cannot be split over it.
            NotInstalled: The quantization needs bitsandbytes.
            WorkerLost: A worker process did not start.
            ModelBusy: This thread has an unfinished stream. (Generation in other threads is awaited.)
        """
        options = DistributeOptions(
            accelerator=accelerator,
            devices=devices,
            precision=precision,
            quantize=quantize,
            generate_strategy=generate_strategy,
            fixed_kv_cache_size=fixed_kv_cache_size,
            engine=engine,
            kv_cache=kv_cache,
        )
        with self._lock.changing("distribute()"):
            self._check_unchanged()
            place = self._services.place_model
            place.check(self._loaded, options, replaced=self._placed)  # before the model is released
            self._release()  # two models at once might not fit
            loaded, placed = place(self._loaded, options, self._report)
            self._place(loaded, placed)
            placement = placed.placement
            self.config = attrs.evolve(self.config, architecture=loaded.architecture)
            self.preprocessor.device = placement.device
            self.devices, self.generate_strategy = len(placement.devices), placement.strategy

    @property
    def arithmetic(self) -> str:
        """Description of the weight format and matrix products; empty before `distribute`."""
        if self._placed is None:
            return ""
        return describe_placed_matmul(self._placed.placement, self._services.strategy.hardware())

    @property
    def prompt_style(self) -> PromptStyle | None:
        """The prompt style; None: the tokenizer's chat template.

        It can be set to a style, the name of a style (`"default"` sends prompts unchanged), or None.
        """
        return self._loaded.prompt_style

    @prompt_style.setter
    def prompt_style(self, style: str | PromptStyle | None) -> None:
        self._loaded = self._loaded.with_prompt_style(resolve_style(style))
        self.tokenizer.prompt_style = self._loaded.prompt_style

    @public_function()
    def save(
        self,
        out_dir: str | Path,
        prompt_style: str | PromptStyle | None = None,
        *,
        overwrite: bool = False,
    ) -> Path:
        """Save the model in a folder that this library and transformers can load; return the folder.

        The folder contains safetensors, `config.json`, the tokenizer's files and the prompt style. It is
        replaced atomically. A sharded model is gathered tensor by tensor; under torchrun all ranks call this.

        Args:
            out_dir: The folder.
            prompt_style: A style, or its name, that replaces the model's prompt style.
            overwrite: Whether to replace another model in the folder. Without it, a model replaces the one
                that it was loaded from, and a trained model any of the same structure, but quantized weights
                never replace full precision.

        Raises:
            InvalidArgument: The path is not valid.
            WouldOverwrite: The folder contains another model or an adapter, and `overwrite` is False.
            NotDistributed: The model is not on a device yet.
            UnsupportedOperation: There is not enough disk space, the folder is not writable, or ranks have
                quantized their parts.
            WorkerLost: A worker process has ended.
            UnsupportedModel: The prompt style does not exist.
        """
        style, folder = resolve_style(prompt_style), local_path("out_dir", out_dir)
        with self._lock.using():
            placed, loaded = self._require_full_model("Saving"), self._loaded
            placed.network = self.model  # a native model builds it, with the adapters
            if self._has_untied:
                loaded = attrs.evolve(
                    loaded, architecture=attrs.evolve(loaded.architecture, tie_word_embeddings=False)
                )
            target = Path(realpath(folder))
            is_copy = not (self._is_trainable or self._current or target in self._saved_to)
            self._services.save_model(
                loaded, placed, folder, self._report, prompt_style=style, overwrite=overwrite, is_copy=is_copy
            )
            self._saved_to.add(target)
        return folder

    def close(self) -> None:
        """Free the memory; `distribute()` can place the model again.

        It ends servers, and waits for generation in other threads. Unfinished streams of this thread, and
        streams that have not been read for 30 seconds, raise ModelClosed.
        """
        for server in self._servers:
            server.drain()
        while self._servers:
            self._servers.pop().close()
        with self._lock.changing("close()", ends_answers=True):
            self._release()
            self._is_closed = True
            self._loaded.close()
            if has_torch():
                import torch  # waits for a thread that is importing it

                torch.cuda.empty_cache()  # does nothing without CUDA

    def __enter__(self) -> Self:
        """Return the model, which is closed at the end of the `with` block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        facts = {"placement": self._placed and self._placed.placement, "adapters": self.adapters}
        return summary_repr("LLM", config=self.config, **{name: one for name, one in facts.items() if one})
