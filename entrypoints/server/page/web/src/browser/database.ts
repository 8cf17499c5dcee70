/** The history, in this browser's IndexedDB. */

import { pathTo } from "../chat/tree";
import type { Conversation, Summary } from "../chat/types";

const STORE = "conversations";

let opened: Promise<IDBDatabase> | undefined;

function database(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const opening = indexedDB.open("litgpt", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "id" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error ?? new Error("IndexedDB is not available"));
  });
  return opened;
}

function result<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error ?? new Error("IndexedDB failed"));
  });
}

async function store(mode: IDBTransactionMode): Promise<IDBObjectStore> {
  return (await database()).transaction(STORE, mode).objectStore(STORE);
}

export async function loadConversation(id: string): Promise<Conversation | undefined> {
  return result((await store("readonly")).get(id) as IDBRequest<Conversation | undefined>);
}

/** Save a conversation. Messages that another tab has added to it meanwhile are kept. */
export async function saveConversation(chat: Conversation): Promise<void> {
  const conversations = await store("readwrite");
  const stored = await result(conversations.get(chat.id) as IDBRequest<Conversation | undefined>);
  await result(conversations.put({ ...chat, messages: { ...stored?.messages, ...chat.messages } }));
}

export async function deleteConversation(id: string): Promise<void> {
  await result((await store("readwrite")).delete(id));
}

/** The conversations that contain each word of `query` in their title or in any branch, newest first. */
export async function findConversations(query: string): Promise<Summary[]> {
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const cursor = (await store("readonly")).openCursor();
  const found: Summary[] = [];
  await new Promise<void>((resolve, reject) => {
    cursor.onerror = () => reject(cursor.error ?? new Error("IndexedDB failed"));
    cursor.onsuccess = () => {
      const entry = cursor.result;
      if (!entry) return resolve();
      const chat = entry.value as Conversation;
      if (matches(chat, words)) found.push({ id: chat.id, title: chat.title, updated: chat.updated });
      entry.continue();
    };
  });
  return found.sort((a, b) => b.updated - a.updated);
}

function matches(chat: Conversation, words: string[]): boolean {
  if (!words.length) return true;
  const texts = [chat.title, chat.system, ...Object.values(chat.messages).map((message) => message.content)];
  const text = texts.join("\n").toLowerCase();
  return words.every((word) => text.includes(word));
}

/** Whether a conversation has a message to keep. */
export function isWorthKeeping(chat: Conversation): boolean {
  return chat.lanes.some((lane) => pathTo(chat.messages, lane.head).length > 0);
}
