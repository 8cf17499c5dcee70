import { exportChat } from "../actions/history";
import { toggleComparison } from "../actions/lanes";
import { pathTo } from "../chat/tree";
import type { Conversation, Model } from "../chat/types";
import { type State, setState } from "../state";
import { IconButton } from "./icons";
import { ModelPicker } from "./model-picker";

export function TopBar({ state, chat }: { state: State; chat: Conversation }) {
  const comparing = chat.lanes.length > 1;
  const empty = chat.lanes.every((lane) => lane.head === null);
  return (
    <header class="top-bar">
      {!state.sidebar && (
        <IconButton icon="menu" label="Show chats" onClick={() => setState({ sidebar: true })} />
      )}
      <div class="models">{!comparing && <ModelPicker chat={chat} lane={0} models={state.models} />}</div>
      {state.server === "down" && (
        <span class="offline" role="status">
          Server not reachable
        </span>
      )}
      <span class="spacer" />
      <ContextGauge chat={chat} models={state.models} />
      {state.models.length > 1 && (
        <IconButton
          icon="columns"
          label="Compare two models"
          pressed={comparing}
          onClick={toggleComparison}
        />
      )}
      <IconButton icon="download" label="Export chat" disabled={empty} onClick={exportChat} />
      <IconButton
        icon="sliders"
        label="Settings"
        pressed={state.settings}
        onClick={() => setState({ settings: !state.settings })}
      />
    </header>
  );
}

/** How full the context is after the last answer. */
function ContextGauge({ chat, models }: { chat: Conversation; models: Model[] }) {
  const [lane] = chat.lanes;
  const size = models.find((one) => one.id === lane?.model)?.context_length;
  const used = pathTo(chat.messages, lane?.head ?? null).findLast((one) => one.contextTokens)?.contextTokens;
  if (!size || !used) return null;
  const share = Math.min(1, used / size);
  const text = `${used.toLocaleString("en")} of ${size.toLocaleString("en")} tokens of context`;
  return (
    <span class={`gauge${share > 0.85 ? " full" : ""}`} role="img" aria-label={text} title={text}>
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="8" />
        <circle class="used" cx="10" cy="10" r="8" pathLength={100} stroke-dasharray={`${share * 100} 100`} />
      </svg>
      {Math.round(share * 100)}%
    </span>
  );
}
