/** The models of a chat, one or two beside each other, and the branches that they show. */

import { withBranch } from "../chat/tree";
import type { Conversation, Message } from "../chat/types";
import { changeChat, getState, openChat } from "../state";
import { saveSoon } from "./history";

export function chooseModel(lane: number, model: string): void {
  changeOpen((chat) => ({
    ...chat,
    lanes: chat.lanes.map((one, index) => (index === lane ? { ...one, model } : one)),
  }));
}

/** Show a second model beside the first, from the same messages on, or the first alone again. */
export function toggleComparison(): void {
  changeOpen((chat) => {
    const [lane] = chat.lanes;
    if (!lane || chat.lanes.length > 1) return { ...chat, lanes: chat.lanes.slice(0, 1) };
    const other = getState().models.find((model) => model.id !== lane.model);
    return { ...chat, lanes: [lane, { model: other?.id ?? lane.model, head: lane.head }] };
  });
}

export function showBranch(lane: number, message: Message): void {
  changeOpen((chat) => withBranch(chat, lane, message.id));
}

/** Change the open chat, and keep the change. */
export function changeOpen(change: (chat: Conversation) => Conversation): void {
  const { id } = openChat();
  changeChat(id, change);
  saveSoon(id);
}
