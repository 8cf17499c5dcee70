import { tokensPerSecond } from "../chat/answer";
import type { Timings } from "../chat/types";

/** Slower requests show where their time went without being asked, in milliseconds. */
const SLOW_MS = 5000;

const seconds = (ms: number) => `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;

const count = (tokens: number) => tokens.toLocaleString("en");

export function isSlow(timings: Timings): boolean {
  return timings.queue_ms + timings.prefill_ms > SLOW_MS;
}

/** The figures of an answer in a few words. */
export function timingSummary(timings: Timings): string {
  const speed = tokensPerSecond(timings);
  const tokens = `${count(timings.completion_tokens)} token${timings.completion_tokens === 1 ? "" : "s"}`;
  return speed === undefined ? tokens : `${speed.toFixed(speed < 10 ? 1 : 0)} tokens/s · ${tokens}`;
}

/** A bar of what a request waited for: its place in the queue, the prompt, the answer. */
export function TimingBar({ timings }: { timings: Timings }) {
  const { cached_tokens: cached, prompt_tokens: prompt } = timings;
  const parts = [
    { name: "queue", label: "Waiting", ms: timings.queue_ms, note: "" },
    {
      name: "prefill",
      label: "Reading",
      ms: timings.prefill_ms,
      note: `${count(prompt)} tokens${cached ? `, ${count(cached)} cached` : ""}`,
    },
    {
      name: "decode",
      label: "Writing",
      ms: timings.decode_ms,
      note: `${count(timings.completion_tokens)} tokens`,
    },
  ];
  return (
    <div class="timing">
      <div class="timing-bar" aria-hidden="true">
        {parts.map((part) => (
          <span key={part.name} class={`part ${part.name}`} style={{ flexGrow: Math.max(part.ms, 0) }} />
        ))}
      </div>
      <dl>
        {parts.map((part) => (
          <div key={part.name}>
            <dt>
              <span class={`dot ${part.name}`} />
              {part.label}
            </dt>
            <dd>
              {seconds(part.ms)}
              {part.note && <small> {part.note}</small>}
            </dd>
          </div>
        ))}
      </dl>
    </div>
  );
}
