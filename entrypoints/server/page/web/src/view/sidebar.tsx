import { useRef } from "preact/hooks";
import { importFiles, newChat, open, remove, search } from "../actions/history";
import { type State, setState } from "../state";
import type { Summary } from "../chat/types";
import { Icon, IconButton } from "./icons";
import { memo } from "./memo";
import { ThemeButton } from "./theme-button";

const DAY_MS = 24 * 60 * 60 * 1000;

/** The heading under which a chat is listed. */
function period(updated: number, midnight: number): string {
  if (updated >= midnight) return "Today";
  if (updated >= midnight - DAY_MS) return "Yesterday";
  if (updated >= midnight - 7 * DAY_MS) return "Last week";
  return new Date(updated).toLocaleDateString("en", { month: "long", year: "numeric" });
}

export function Sidebar({ state }: { state: State }) {
  const chooser = useRef<HTMLInputElement>(null);
  return (
    <nav class="sidebar" aria-label="Chats" hidden={!state.sidebar}>
      <div class="brand">
        <span class="logo" aria-hidden="true" />
        <strong>LitGPT</strong>
        <IconButton icon="close" label="Hide chats" onClick={() => setState({ sidebar: false })} />
      </div>
      <button type="button" class="new-chat" title="Ctrl+Shift+O" onClick={newChat}>
        <Icon name="plus" />
        New chat
      </button>
      <label class="search">
        <Icon name="search" />
        <input
          id="search"
          type="search"
          placeholder="Search"
          aria-label="Search chats"
          value={state.query}
          onInput={(event) => search(event.currentTarget.value)}
        />
      </label>
      <History history={state.history} openId={state.openId} query={state.query} />
      <div class="sidebar-foot">
        <IconButton icon="upload" label="Import chats" onClick={() => chooser.current?.click()} />
        <ThemeButton />
        <IconButton icon="help" label="Help and keyboard" onClick={() => setState({ help: true })} />
        <input
          ref={chooser}
          type="file"
          accept=".json,application/json"
          aria-label="Files of chats"
          multiple
          hidden
          onChange={(event) => {
            const input = event.currentTarget;
            void importFiles([...(input.files ?? [])]).then(() => (input.value = ""));
          }}
        />
      </div>
    </nav>
  );
}

interface HistoryProps {
  history: Summary[];
  openId: string;
  query: string;
}

const History = memo(({ history, openId, query }: HistoryProps) => {
  const midnight = new Date().setHours(0, 0, 0, 0);
  const groups = Map.groupBy(history, (chat) => period(chat.updated, midnight));
  return (
    <div class="history">
      {history.length === 0 && (
        <p class="hint">{query ? "No chat has these words." : "Your chats stay in this browser."}</p>
      )}
      {[...groups].map(([name, chats]) => (
        <section key={name}>
          <h2>{name}</h2>
          <ul>
            {chats.map((chat) => (
              <li key={chat.id} class={chat.id === openId ? "open" : ""}>
                <button
                  type="button"
                  class="chat-link"
                  aria-current={chat.id === openId ? "page" : undefined}
                  onClick={() => void open(chat.id)}
                >
                  {chat.title || "Untitled"}
                </button>
                <IconButton
                  icon="trash"
                  label={`Delete ${chat.title}`}
                  onClick={() => void remove(chat.id)}
                />
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
});
