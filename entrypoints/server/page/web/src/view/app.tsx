import { useEffect } from "preact/hooks";
import type { Conversation } from "../chat/types";
import { type State, isRunning, openChat, setState, useAppState } from "../state";
import { Composer } from "./composer";
import { Help, KeyPrompt } from "./dialogs";
import { Icon } from "./icons";
import { SettingsPanel } from "./settings-panel";
import { Sidebar } from "./sidebar";
import { Thread } from "./thread";
import { TopBar } from "./top-bar";
import { useFollow } from "./use-follow";

export function App() {
  const state = useAppState();
  const chat = openChat(state);
  useEffect(() => {
    document.title = chat.title ? `${chat.title} · LitGPT` : "LitGPT";
  }, [chat.title]);
  return (
    <div class={`page${state.sidebar ? " with-sidebar" : ""}${state.settings ? " with-settings" : ""}`}>
      <Sidebar state={state} />
      {state.sidebar && <div class="scrim" onClick={() => setState({ sidebar: false })} />}
      <div class="chat">
        <TopBar state={state} chat={chat} />
        <Conversations key={chat.id} state={state} chat={chat} />
      </div>
      {state.settings && <SettingsPanel chat={chat} models={state.models} />}
      {state.help && <Help />}
      {state.server === "locked" && <KeyPrompt />}
      {state.notice && (
        <div class="notice" role="status">
          {state.notice.text}
          {state.notice.action && (
            <button type="button" class="link" onClick={state.notice.action.run}>
              {state.notice.action.label}
            </button>
          )}
        </div>
      )}
    </div>
  );
}

/** The messages, one column a model, above the field for the next one. */
function Conversations({ state, chat }: { state: State; chat: Conversation }) {
  const { scroller, content, atEnd, jump } = useFollow();
  const empty = chat.lanes.length === 1 && chat.lanes[0]?.head === null;
  return (
    <main class={empty ? "empty" : ""}>
      {!empty && <h1 class="sr-only">{chat.title}</h1>}
      <div class="scroller" ref={scroller} tabIndex={-1}>
        <div class={`threads lanes-${chat.lanes.length}`} ref={content}>
          {empty ? (
            <Greeting state={state} chat={chat} />
          ) : (
            chat.lanes.map((_, lane) => <Thread key={lane} chat={chat} lane={lane} state={state} />)
          )}
        </div>
      </div>
      <div class="dock">
        {!atEnd && (
          <button type="button" class="jump" onClick={jump}>
            <Icon name="down" />
            Jump to latest
          </button>
        )}
        <Composer chatId={chat.id} running={isRunning(chat, state)} onSend={jump} />
      </div>
    </main>
  );
}

function Greeting({ state, chat }: { state: State; chat: Conversation }) {
  const model = state.models.find((one) => one.id === chat.lanes[0]?.model);
  const facts = [
    model?.context_length && `${model.context_length.toLocaleString("en")} tokens of context`,
    model?.size_bytes && size(model.size_bytes),
  ];
  return (
    <div class="greeting">
      <h1>{model ? `Ask ${model.id}` : state.server === "down" ? "Waiting for the server" : "LitGPT"}</h1>
      <p>{model ? facts.filter(Boolean).join(" · ") : "Your chats are here in the meantime."}</p>
    </div>
  );
}

function size(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${Math.round(bytes / 1e6)} MB`;
}
