/** Asking for answers: send, regenerate, continue, edit, stop. */

import { RequestFailed, streamAnswer } from "../browser/server";
import { type Chunk, withChunk } from "../chat/answer";
import { newId } from "../chat/ids";
import { chatRequest } from "../chat/request";
import { titleOf } from "../chat/saved-chat";
import { withMessage } from "../chat/tree";
import type { Message } from "../chat/types";
import { changeChat, getState, isRunning, openChat, setState } from "../state";
import { noteFailure } from "./connection";
import { remember, save } from "./history";
import { register, stopAnswers, unregister } from "./running";

const SAVE_EVERY_MS = 1000;

/** How an answer ended, until the server says otherwise: what a reload finds of a running one can be continued. */
const STOPPED = "stopped";

/** Send a prompt to each lane. Lanes that show the same messages share it. */
export function send(text: string): void {
  const { id, lanes } = openChat();
  for (const head of new Set(lanes.map((lane) => lane.head))) {
    const sharing = lanes.flatMap((lane, index) => (lane.head === head ? [index] : []));
    const prompt = message("user", head, text);
    changeChat(id, (chat) => ({
      ...withMessage(chat, prompt, sharing),
      title: chat.title || titleOf(text),
    }));
    for (const lane of sharing) answer(id, lane, prompt.id);
  }
  remember(id);
}

/** Ask for another answer beside the existing ones. */
export function regenerate(lane: number, old: Message): void {
  if (old.parent) answer(openChat().id, lane, old.parent);
}

/** Put an edited message beside the original, and ask for an answer if it is a prompt. */
export function edit(lane: number, original: Message, text: string): void {
  const { id } = openChat();
  const edited = message(original.role, original.parent, text);
  if (original.model) edited.model = original.model;
  if (original.reasoning) edited.reasoning = original.reasoning;
  changeChat(id, (chat) => withMessage(chat, edited, [lane]));
  if (edited.role === "user") answer(id, lane, edited.id);
  else void save(id);
}

/** Let the model go on where its answer ended. */
export function continueAnswer(lane: number, unfinished: Message): void {
  const chat = openChat();
  const model = chat.lanes[lane]?.model ?? "";
  changeMessage(chat.id, unfinished.id, ({ failure: _failure, ...rest }) => ({ ...rest, finish: STOPPED }));
  void stream(chat.id, unfinished.id, chatRequest(chat, model, unfinished.id, true));
}

/** Ask again after a failure: for the rest of an answer, or for all of it. */
export function retry(lane: number, failed: Message): void {
  if (failed.content) return continueAnswer(lane, failed);
  const chat = openChat();
  if (!failed.parent) return;
  const body = chatRequest(chat, failed.model ?? chat.lanes[lane]?.model ?? "", failed.parent, false);
  changeMessage(chat.id, failed.id, ({ failure: _failure, reasoning: _reasoning, ...rest }) => rest);
  void stream(chat.id, failed.id, body);
}

export function stop(): void {
  stopAnswers(openChat());
}

function message(role: Message["role"], parent: string | null, content: string): Message {
  return { id: newId(), parent, role, content, created: Date.now() };
}

function changeMessage(chatId: string, id: string, change: (message: Message) => Message): void {
  changeChat(chatId, (chat) => {
    const old = chat.messages[id];
    return old ? { ...chat, messages: { ...chat.messages, [id]: change(old) } } : chat;
  });
}

function answer(chatId: string, lane: number, promptId: string): void {
  const chat = getState().chats[chatId];
  if (!chat) return;
  const model = chat.lanes[lane]?.model ?? "";
  const empty = { ...message("assistant", promptId, ""), model, finish: STOPPED };
  const body = chatRequest(chat, model, promptId, false);
  changeChat(chatId, (one) => withMessage(one, empty, [lane]));
  void stream(chatId, empty.id, body);
}

/** Read an answer into the message `id`; the page is rendered once a frame, however many tokens arrive in it. */
async function stream(chatId: string, id: string, body: unknown): Promise<void> {
  const signal = register(id);
  setState({ running: { ...getState().running, [id]: performance.now() } });
  void save(chatId);
  const saving = setInterval(() => void save(chatId), SAVE_EVERY_MS);
  let waiting: Chunk[] = [];
  let scheduled = false;
  const show = () => {
    scheduled = false;
    const chunks = waiting;
    waiting = [];
    if (chunks.length) changeMessage(chatId, id, (old) => chunks.reduce(withChunk, old));
  };
  try {
    for await (const chunk of streamAnswer(body, signal)) {
      if (hasTokens(chunk)) noteFirstToken(id);
      waiting.push(chunk);
      if (!scheduled) afterFrame(show);
      scheduled = true;
    }
    show();
  } catch (error) {
    show();
    if (!signal.aborted) fail(chatId, id, error);
  } finally {
    clearInterval(saving);
    unregister(id);
    finish(chatId, id);
  }
}

function fail(chatId: string, id: string, error: unknown): void {
  const failed = error instanceof RequestFailed ? error : new RequestFailed({ message: String(error) });
  changeMessage(chatId, id, (old) => ({ ...old, failure: failed.failure }));
  noteFailure(failed);
}

function finish(chatId: string, id: string): void {
  const { [id]: _started, ...running } = getState().running;
  const { [id]: _first, ...firstToken } = getState().firstToken;
  setState({ running, firstToken });
  void save(chatId).then(() => {
    const { openId, chats } = getState();
    const chat = chats[chatId];
    if (!chat || openId === chatId || isRunning(chat)) return;
    const { [chatId]: _done, ...kept } = chats;
    setState({ chats: kept });
  });
}

/** Whether a chunk is more than the role, which some servers send before the prompt is read. */
function hasTokens(chunk: Chunk): boolean {
  const delta = chunk.choices?.[0]?.delta;
  return Boolean(delta?.content || delta?.reasoning_content || delta?.tool_calls);
}

function noteFirstToken(id: string): void {
  const { firstToken } = getState();
  if (!(id in firstToken)) setState({ firstToken: { ...firstToken, [id]: performance.now() } });
}

/** Call back in the next frame; a hidden page has no frames. */
function afterFrame(callback: () => void): void {
  if (document.hidden) setTimeout(callback, 200);
  else requestAnimationFrame(callback);
}
