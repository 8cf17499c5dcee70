/** Opening, saving, finding and removing chats. */

import {
  deleteConversation,
  findConversations,
  isWorthKeeping,
  loadConversation,
  saveConversation,
} from "../browser/database";
import { download, readFile } from "../browser/files";
import { isNarrow, isTouch } from "../browser/screen";
import { emptyChat, readChat, savedChat } from "../chat/saved-chat";
import { withServedModels } from "../chat/served-models";
import type { Conversation } from "../chat/types";
import { changeChat, getState, isRunning, openChat, setState } from "../state";
import { notify } from "./notices";
import { stopAnswers } from "./running";

export async function refreshHistory(): Promise<void> {
  const { query } = getState();
  try {
    const history = await findConversations(query);
    if (getState().query === query) setState({ history });
  } catch {
    notify("This browser does not keep the history: IndexedDB is not available.");
  }
}

export function search(query: string): void {
  setState({ query });
  void refreshHistory();
}

/** Save a loaded chat, and show it in the history. */
export async function save(id: string): Promise<void> {
  const chat = getState().chats[id];
  if (!chat || !isWorthKeeping(chat)) return;
  try {
    await saveConversation(chat);
  } catch (error) {
    notify(`The chat could not be saved: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { history, query } = getState();
  if (query) return refreshHistory();
  const summary = { id, title: chat.title, updated: chat.updated };
  const listed = [summary, ...history.filter((one) => one.id !== id)];
  setState({ history: listed.sort((a, b) => b.updated - a.updated) });
}

const SAVE_AFTER_MS = 200;

let waiting: ReturnType<typeof setTimeout> | undefined;

/** Save a chat when its settings have not changed for a moment, rather than with each letter. */
export function saveSoon(id: string): void {
  clearTimeout(waiting);
  waiting = setTimeout(() => void save(id), SAVE_AFTER_MS);
}

function without(chats: Record<string, Conversation>, id: string): Record<string, Conversation> {
  return Object.fromEntries(Object.entries(chats).filter(([key]) => key !== id));
}

function show(opened: Conversation): void {
  const { chats, openId, sidebar, models } = getState();
  const chat = withServedModels(opened, models);
  // Only chats that are being answered stay in memory.
  const kept = Object.entries(chats).filter(([id, one]) => id !== openId || isRunning(one));
  setState({
    chats: { ...Object.fromEntries(kept), [chat.id]: chat },
    openId: chat.id,
    sidebar: sidebar && !isNarrow(),
  });
  const hash = isWorthKeeping(chat) ? `#${chat.id}` : "";
  if (location.hash !== hash) history.replaceState(null, "", hash || location.pathname);
}

/** Begin a chat, with the models and settings of the open one. */
export function newChat(): void {
  const current = openChat();
  const chat = emptyChat(current.lanes[0]?.model ?? "");
  chat.lanes = current.lanes.map((lane) => ({ model: lane.model, head: null }));
  Object.assign(chat, { system: current.system, settings: current.settings, logprobs: current.logprobs });
  show(chat);
  focusComposer();
}

export async function open(id: string): Promise<void> {
  const chat = getState().chats[id] ?? (await loadConversation(id).catch(() => undefined));
  if (chat) show(chat);
}

/** Write the id of the chat into the address, so that a reload opens it again. */
export function remember(id: string): void {
  if (getState().openId === id) history.replaceState(null, "", `#${id}`);
}

export async function remove(id: string): Promise<void> {
  const chat = getState().chats[id] ?? (await loadConversation(id));
  if (!chat) return;
  stopAnswers(chat);
  if (getState().openId === id) newChat();
  setState({ chats: without(getState().chats, id) });
  await deleteConversation(id);
  await refreshHistory();
  const undo = async () => {
    await saveConversation(chat);
    await refreshHistory();
    await open(id);
  };
  notify("Chat deleted.", { label: "Undo", run: () => void undo() });
}

export function rename(id: string, title: string): void {
  if (!title.trim()) return;
  changeChat(id, (chat) => ({ ...chat, title: title.trim() }));
  void save(id);
}

export function exportChat(): void {
  const chat = openChat();
  const name = chat.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "") || "chat";
  download(`${name}.json`, savedChat(chat));
}

export async function importFiles(files: Iterable<File>): Promise<void> {
  for (const file of files) {
    try {
      const chat = readChat(await readFile(file), openChat().lanes[0]?.model ?? "");
      chat.title ||= file.name;
      show(chat);
      await save(chat.id);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      notify(`${file.name} was not imported: ${reason}.`);
    }
  }
}

export function focusComposer(): void {
  if (isTouch()) return;
  requestAnimationFrame(() => document.getElementById("prompt")?.focus());
}
