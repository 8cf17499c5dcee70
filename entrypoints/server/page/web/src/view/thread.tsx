import { Announcer } from "./announcer";
import { MessageView } from "./message-view";
import { ModelPicker } from "./model-picker";
import { alternatives, pathTo } from "../chat/tree";
import type { Conversation } from "../chat/types";
import type { State } from "../state";

/** The messages of one lane. */
export function Thread({ chat, lane, state }: { chat: Conversation; lane: number; state: State }) {
  const shown = chat.lanes[lane];
  if (!shown) return null;
  const path = pathTo(chat.messages, shown.head);
  const final = path.at(-1);
  const answer = final?.role === "assistant" ? final : undefined;
  return (
    <section class="thread" aria-label={chat.lanes.length > 1 ? `Answers of ${shown.model}` : "Conversation"}>
      {chat.lanes.length > 1 && (
        <div class="lane-head">
          <ModelPicker chat={chat} lane={lane} models={state.models} />
        </div>
      )}
      {path.map((message) => (
        <MessageView
          key={message.id}
          message={message}
          lane={lane}
          siblings={alternatives(chat.messages, message)}
          last={message === final}
          started={state.running[message.id]}
          firstToken={state.firstToken[message.id]}
        />
      ))}
      {lane === 0 && (
        <Announcer answer={answer} running={answer !== undefined && answer.id in state.running} />
      )}
    </section>
  );
}
