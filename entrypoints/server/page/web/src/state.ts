/** What the page shows: one value, replaced on each change. */

import { useEffect, useReducer } from "preact/hooks";
import { isNarrow } from "./browser/screen";
import { emptyChat } from "./chat/saved-chat";
import type { Conversation, Model, Summary } from "./chat/types";

export interface Notice {
  text: string;
  action?: { label: string; run: () => void };
}

export interface State {
  server: "starting" | "up" | "down" | "locked";
  models: Model[];
  /** The open chat, and those that are being answered in the background, by id. */
  chats: Record<string, Conversation>;
  openId: string;
  history: Summary[];
  query: string;
  /** When the answer of a message began, by its id, for messages that are being answered. */
  running: Record<string, number>;
  /** When the first token of such an answer came. */
  firstToken: Record<string, number>;
  sidebar: boolean;
  settings: boolean;
  help: boolean;
  notice: Notice | null;
}

const first = emptyChat("");

let state: State = {
  server: "starting",
  models: [],
  chats: { [first.id]: first },
  openId: first.id,
  history: [],
  query: "",
  running: {},
  firstToken: {},
  sidebar: !isNarrow(),
  settings: false,
  help: false,
  notice: null,
};

const listeners = new Set<() => void>();

export function getState(): State {
  return state;
}

export function setState(change: Partial<State>): void {
  state = { ...state, ...change };
  for (const listener of listeners) listener();
}

/** The state, in a component that is rendered again when it changes. */
export function useAppState(): State {
  const [, render] = useReducer((count: number, _: void) => count + 1, 0);
  useEffect(() => {
    const listener = () => render();
    listeners.add(listener);
    listener();
    return () => void listeners.delete(listener);
  }, []);
  return state;
}

export function openChat(from: State = state): Conversation {
  const chat = from.chats[from.openId];
  if (!chat) throw new Error("The open chat is always loaded");
  return chat;
}

export function isRunning(chat: Conversation, from: State = state): boolean {
  return Object.keys(from.running).some((id) => id in chat.messages);
}

/** Replace a loaded chat by what `change` makes of it. */
export function changeChat(id: string, change: (chat: Conversation) => Conversation): void {
  const chat = state.chats[id];
  if (chat) setState({ chats: { ...state.chats, [id]: change(chat) } });
}
