import { Fragment } from "preact";
import { useState } from "preact/hooks";
import type { TokenProbability } from "../chat/types";

const percent = (logprob: number) => {
  const share = 100 * Math.exp(logprob);
  return share >= 99.95 ? "100%" : share >= 0.1 ? `${share.toFixed(1)}%` : "<0.1%";
};

/** A token with its white space made visible. */
const visible = (token: string) =>
  token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "·") || "∅";

/** Five steps, from certain to unlikely. */
const doubt = (logprob: number) => Math.min(4, Math.floor((1 - Math.exp(logprob)) * 5));

/** The tokens of an answer, darker the less likely each was, and the alternatives of the one in focus. */
export function TokenView({ tokens }: { tokens: TokenProbability[] }) {
  const [current, setCurrent] = useState(0);
  const shown = tokens[Math.min(current, tokens.length - 1)];
  const move = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const target = event.currentTarget as HTMLElement;
    const next = Math.max(0, Math.min(tokens.length - 1, current + step));
    setCurrent(next);
    target.querySelectorAll<HTMLElement>(".token")[next]?.focus();
  };
  return (
    <div class="token-view">
      <div class="tokens" role="group" aria-label="Tokens; arrow keys move between them" onKeyDown={move}>
        {tokens.map((token, index) => (
          <Fragment key={index}>
            <button
              type="button"
              class={`token doubt-${doubt(token.logprob)}`}
              aria-label={`${visible(token.token)}, ${percent(token.logprob)}`}
              aria-pressed={index === current}
              tabIndex={index === current ? 0 : -1}
              onMouseEnter={() => setCurrent(index)}
              onFocus={() => setCurrent(index)}
            >
              {token.token.replaceAll("\n", "↵")}
            </button>
            {token.token.includes("\n") && <br />}
          </Fragment>
        ))}
      </div>
      {shown && <Alternatives token={shown} />}
    </div>
  );
}

function Alternatives({ token }: { token: TokenProbability }) {
  const listed = token.alternatives.some((one) => one.token === token.token);
  const all = [...token.alternatives, ...(listed ? [] : [token])].sort((a, b) => b.logprob - a.logprob);
  return (
    <ul class="alternatives" aria-label="Likeliest tokens here">
      {all.map((one, index) => (
        <li key={index} class={one.token === token.token ? "chosen" : ""}>
          <code>{visible(one.token)}</code>
          <span class="meter">
            <span style={{ width: `${100 * Math.exp(one.logprob)}%` }} />
          </span>
          <span class="figure">{percent(one.logprob)}</span>
        </li>
      ))}
    </ul>
  );
}
