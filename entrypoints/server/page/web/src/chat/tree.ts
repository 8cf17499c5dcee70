/** Paths and branches in the tree of messages. All functions return new values. */

import type { Conversation, Lane, Message, Messages } from "./types";

/** The messages from the first to `head`, in order. */
export function pathTo(messages: Messages, head: string | null): Message[] {
  const path: Message[] = [];
  const seen = new Set<string>();
  for (let id = head; id !== null && !seen.has(id);) {
    const message = messages[id];
    if (!message) break;
    seen.add(id);
    path.push(message);
    id = message.parent;
  }
  return path.reverse();
}

/** The messages that follow `parent`, oldest first. */
export function childrenOf(messages: Messages, parent: string | null): Message[] {
  const children = Object.values(messages).filter((message) => message.parent === parent);
  return children.sort((a, b) => a.created - b.created || (a.id < b.id ? -1 : 1));
}

/** The alternatives to a message, itself included, oldest first. */
export function alternatives(messages: Messages, message: Message): Message[] {
  return childrenOf(messages, message.parent).filter((one) => one.role === message.role);
}

/** The end of the branch that was last shown below a message. */
export function leafBelow(messages: Messages, id: string): string {
  const seen = new Set<string>();
  for (let current = id; ;) {
    seen.add(current);
    const last = messages[current]?.last;
    const next = last && messages[last] ? last : childrenOf(messages, current).at(-1)?.id;
    if (!next || seen.has(next)) return current;
    current = next;
  }
}

/** The conversation with a new message, which becomes the head of a lane. */
export function withMessage(chat: Conversation, message: Message, lanes: number[]): Conversation {
  const messages = { ...chat.messages, [message.id]: message };
  const parent = message.parent === null ? undefined : messages[message.parent];
  if (parent) messages[parent.id] = { ...parent, last: message.id };
  return { ...chat, messages, lanes: withHeads(chat.lanes, lanes, message.id), updated: Date.now() };
}

/** The conversation in which a lane shows the branch of `id`. */
export function withBranch(chat: Conversation, lane: number, id: string): Conversation {
  const messages = { ...chat.messages };
  const message = messages[id];
  const parent = message?.parent ? messages[message.parent] : undefined;
  if (parent) messages[parent.id] = { ...parent, last: id };
  return { ...chat, messages, lanes: withHeads(chat.lanes, [lane], leafBelow(messages, id)) };
}

function withHeads(lanes: Lane[], changed: number[], head: string): Lane[] {
  return lanes.map((lane, index) => (changed.includes(index) ? { ...lane, head } : lane));
}
