"""The scheduler: which tokens of which sequences the next step computes."""

from collections import deque
from collections.abc import Iterable, Sequence

import attrs

from litgpt.domain.generation.batching import MAX_SEQUENCES
from litgpt.domain.scheduling.drafts.drafter import Drafter
from litgpt.domain.scheduling.page_table import PageTable
from litgpt.domain.scheduling.prefill_pacing import PrefillPacing
from litgpt.domain.scheduling.prefix_store import PrefixStore
from litgpt.domain.scheduling.sequence import ScheduledSequence, WaitingQueue


@attrs.frozen(kw_only=True)
class StepLimits:
    """The size of a step.

    Attributes:
        max_sequences: The largest number of sequences (vLLM's `max_num_seqs`).
        prefill_tokens: The tokens of prompts in one step: enough to be compute-bound, few enough to keep the
            activations small.
        shared_step_tokens: The same for each prompt while other sequences are decoding, which wait for the
            step. With few prompts, decoding remains fluent; with many, prompts get most of the time.
        max_draft_tokens: The tokens of all drafts in one step; a few take little more time than one.
        max_drafting_sequences: With more sequences, a step is compute-bound, and drafts do not pay.
    """

    max_sequences: int = MAX_SEQUENCES
    prefill_tokens: int = 512
    shared_step_tokens: int = 12
    max_draft_tokens: int = 8
    max_drafting_sequences: int = 4

    def prompt_tokens(self, num_decoding: int, num_prompts: int) -> int:
        """Return the number of tokens of prompts in a step that decodes `num_decoding` sequences."""
        if num_decoding == 0:
            return self.prefill_tokens
        shared = max(self.shared_step_tokens * num_prompts, 2 * num_decoding)
        return min(shared, self.prefill_tokens)


@attrs.define(eq=False)
class Scheduler:
    """Admits waiting sequences, divides prompts over steps, and preempts sequences if pages run out.

    Without torch, threads and clocks: it decides, the engine computes. Answers do not depend on the division
    of prompts, so it may depend on measured times.

    Attributes:
        running: The admitted sequences, in order of admission.
        prefixes: What sequences can share, and finished sequences that are kept for that.
        pacing: Lets prompts wait while they would hold up running answers for too long.
        drafters: Propose tokens for a sequence until one has a proposal.
    """

    limits: StepLimits
    pages: PageTable
    prefixes: PrefixStore
    pacing: PrefillPacing
    drafters: Sequence[Drafter] = ()
    running: list[ScheduledSequence] = attrs.field(factory=list, init=False)
    waiting: WaitingQueue = attrs.field(factory=WaitingQueue, init=False)

    @property
    def has_unfinished(self) -> bool:
        return bool(self.running) or len(self.waiting) > 0

    def add(self, sequence: ScheduledSequence) -> None:
        self.waiting.push(sequence)

    def admit(self) -> list[ScheduledSequence]:
        """Move waiting sequences to the running ones, as many as the next step can begin to compute.

        A sequence waits while a running one computes a prefix that it will share. `parent` and `fork_length`
        of an admitted sequence say what it shares.
        """
        room = self.limits.prompt_tokens(*self._count())
        room -= sum(it.num_pending for it in self.running if not it.is_decoding)
        admitted: list[ScheduledSequence] = []
        deferred: list[ScheduledSequence] = []
        while room > 0 and len(self.running) < self.limits.max_sequences:
            sequence = self.waiting.pop()
            if sequence is None:
                break
            if not sequence.is_prefix_pending:
                self.prefixes.match(sequence)
            if sequence.is_prefix_pending:
                deferred.append(sequence)
            elif self._can_admit(sequence):
                sequence.is_running = True
                self.running.append(sequence)
                self.prefixes.insert(sequence)
                admitted.append(sequence)
                room -= len(sequence.tokens) - sequence.fork_length
            else:
                deferred.append(sequence)
                break
        for sequence in deferred:
            self.waiting.push(sequence)
        return admitted

    def propose(self) -> None:
        """Propose drafts for the sequences of the next step, if it is a small one without prompts."""
        if len(self.running) > self.limits.max_drafting_sequences or not self.prefixes.can_truncate:
            return
        if len(self.waiting) or not all(it.is_decoding for it in self.running):
            return
        limits = []
        for sequence in self.running:
            room = sequence.max_length - len(sequence.tokens) - 1
            limits.append((sequence, min(self.limits.max_draft_tokens // len(self.running), room)))
        for drafter in self.drafters:
            batch = [(sequence, limit) for sequence, limit in limits if limit > 0 and not sequence.draft]
            for (sequence, _), draft in zip(batch, drafter.propose(batch) if batch else (), strict=True):
                sequence.draft, sequence.drafter = draft, drafter

    def schedule(self) -> tuple[list[tuple[ScheduledSequence, int]], list[ScheduledSequence]]:
        """Return the sequences of the next step with their numbers of tokens, and those that were preempted.

        Decoding sequences come first, then prompts, each in order of admission.
        """
        num_decoding, num_prompts = self._count()
        allows_prompts = self.pacing.allows_prompts(num_decoding, num_prompts)
        budget = self.limits.prompt_tokens(num_decoding, num_prompts) if allows_prompts else 0
        step: list[tuple[ScheduledSequence, int]] = []
        preempted: list[ScheduledSequence] = []
        queue = deque(sorted(self.running, key=lambda it: not it.is_decoding))
        while queue:
            sequence = queue[0]
            if not sequence.is_decoding and budget == 0:
                break
            limit = sequence.num_pending if sequence.is_decoding else budget
            count = sequence.step_size(limit) + len(sequence.draft)
            is_only_one = not step and len(queue) == 1
            if self._make_room(sequence, count) or is_only_one:
                queue.popleft()
                self.pages.grow(sequence.pages, sequence.num_computed + count)
                step.append((sequence, count))
                budget -= 0 if sequence.is_decoding else count
            else:
                preempted.append(queue.pop())
                self.preempt(preempted[-1])
        return step, preempted

    def preempt(self, sequence: ScheduledSequence) -> None:
        """Return a running sequence to the waiting ones; its tokens will be computed again."""
        self.running.remove(sequence)
        self._release(sequence)
        self.waiting.push(sequence)

    def restart(self, sequences: Iterable[ScheduledSequence]) -> None:
        """Let all unfinished sequences wait, after an error at any point."""
        self.running.clear()
        self.waiting = WaitingQueue()
        for sequence in sequences:
            self._release(sequence)
            self.waiting.push(sequence)

    def finish(self, sequence: ScheduledSequence) -> None:
        """Remove a sequence, which may be waiting or running, and free its pages."""
        if sequence in self.running:
            self.running.remove(sequence)
        self._release(sequence)
        sequence.is_finished = True

    def _release(self, sequence: ScheduledSequence) -> None:
        self.prefixes.remove(sequence)
        self.pages.free(sequence.pages)
        sequence.is_running, sequence.num_computed = False, 0
        sequence.parent, sequence.fork_length, sequence.snapshot_length = None, 0, 0
        sequence.checkpoints.clear()
        sequence.draft = []
        for drafter in self.drafters:
            drafter.release(sequence)

    def _count(self) -> tuple[int, int]:
        """Return the numbers of decoding sequences and of prompts."""
        num_decoding = sum(it.is_decoding for it in self.running)
        return num_decoding, len(self.running) - num_decoding + len(self.waiting)

    def _can_admit(self, sequence: ScheduledSequence) -> bool:
        """Take the shared pages, and return whether there are enough for all tokens of the running ones."""
        if sequence.parent is not None:
            sequence.pages = self.pages.fork(sequence.parent.pages, sequence.fork_length)
        needed = sum(self.pages.num_new(it.pages, len(it.tokens) + 1) for it in (*self.running, sequence))
        if self._evict_for(needed) or not self.running:
            return True
        self.pages.free(sequence.pages)
        return False

    def _make_room(self, sequence: ScheduledSequence, count: int) -> bool:
        return self._evict_for(self.pages.num_new(sequence.pages, sequence.num_computed + count))

    def _evict_for(self, needed: int) -> bool:
        """Evict cached prefixes until a number of pages is free; return whether it is."""
        while self.pages.num_free < needed and self.prefixes.evict():
            pass
        return self.pages.num_free >= needed
