import { useState } from "preact/hooks";
import { continueAnswer, edit, regenerate } from "../actions/answers";
import { copyText } from "../browser/files";
import type { Message } from "../chat/types";
import { BranchArrows } from "./branch-arrows";
import { Editor } from "./editor";
import { FailureView } from "./failure-view";
import { IconButton } from "./icons";
import { Markdown } from "./markdown-view";
import { memo } from "./memo";
import { Reasoning } from "./reasoning";
import { TimingBar, isSlow, timingSummary } from "./timing-view";
import { TokenView } from "./token-view";
import { ToolCalls, ToolResult } from "./tool-calls";
import { Progress } from "./progress";

export interface MessageProps {
  message: Message;
  lane: number;
  /** Alternatives to this message, itself included. */
  siblings: Message[];
  /** Whether it is the last one shown. */
  last: boolean;
  /** When its answer began, while it is running. */
  started: number | undefined;
  firstToken: number | undefined;
}

const sameSiblings = (old: Message[], next: Message[]) =>
  old.length === next.length && old.every((one, index) => one.id === next[index]?.id);

/** A message, which is rendered again only when it changes, not with each token of another one. */
export const MessageView = memo<MessageProps>(
  (props) => {
    const { message } = props;
    if (message.role === "tool") return <ToolResult message={message} />;
    return message.role === "assistant" ? <Answer {...props} /> : <Prompt {...props} />;
  },
  (old, next) =>
    old.message === next.message &&
    old.lane === next.lane &&
    old.last === next.last &&
    old.started === next.started &&
    old.firstToken === next.firstToken &&
    sameSiblings(old.siblings, next.siblings),
);

function Prompt({ message, lane, siblings }: MessageProps) {
  const [editing, setEditing] = useState(false);
  const name = message.role === "system" ? "System" : "You";
  return (
    <article class="message prompt" aria-label={name}>
      {editing ? (
        <Editor
          text={message.content}
          label="Edit your message"
          action="Send"
          onSave={(text) => edit(lane, message, text)}
          onClose={() => setEditing(false)}
        />
      ) : (
        <div class="bubble">{message.content}</div>
      )}
      <div class="actions">
        <BranchArrows message={message} lane={lane} siblings={siblings} />
        <CopyButton text={message.content} />
        <IconButton icon="pencil" label="Edit" onClick={() => setEditing(true)} />
      </div>
    </article>
  );
}

function Answer(props: MessageProps) {
  const { message, lane, last, started } = props;
  const [editing, setEditing] = useState(false);
  const [asTokens, setAsTokens] = useState(false);
  const running = started !== undefined;
  const tokens = message.tokens ?? [];
  return (
    <article class="message answer" aria-label={message.model || "Answer"} aria-busy={running}>
      {message.reasoning && <Reasoning text={message.reasoning} thinking={running && !message.content} />}
      {editing ? (
        <Editor
          text={message.content}
          label="Edit the answer"
          action="Save"
          onSave={(text) => edit(lane, message, text)}
          onClose={() => setEditing(false)}
        />
      ) : asTokens && tokens.length ? (
        <TokenView tokens={tokens} />
      ) : (
        <Markdown text={message.content} />
      )}
      {message.toolCalls && <ToolCalls calls={message.toolCalls} />}
      {running && <Progress {...props} />}
      {message.failure && <FailureView message={message} lane={lane} />}
      {!running && (
        <AnswerFoot
          {...props}
          asTokens={asTokens}
          onTokens={() => setAsTokens(!asTokens)}
          onEdit={() => setEditing(true)}
          onContinue={
            last && message.content && !message.toolCalls ? () => continueAnswer(lane, message) : undefined
          }
        />
      )}
    </article>
  );
}

interface FootProps extends MessageProps {
  asTokens: boolean;
  onTokens: () => void;
  onEdit: () => void;
  onContinue: (() => void) | undefined;
}

/** What can be done with an answer, and its figures. */
function AnswerFoot({ message, lane, siblings, asTokens, onTokens, onEdit, onContinue }: FootProps) {
  const { timings, finish } = message;
  const [detailed, setDetailed] = useState(timings !== undefined && isSlow(timings));
  const unfinished = finish === "length" || finish === "stopped";
  return (
    <>
      {unfinished && onContinue && (
        <p class="unfinished">
          {finish === "length" ? "The answer reached its longest length." : "Stopped."}{" "}
          <button type="button" class="link" onClick={onContinue}>
            Continue
          </button>
        </p>
      )}
      <div class="actions">
        <BranchArrows message={message} lane={lane} siblings={siblings} />
        {message.content && <CopyButton text={message.content} />}
        <IconButton icon="retry" label="Regenerate" onClick={() => regenerate(lane, message)} />
        {message.content && <IconButton icon="pencil" label="Edit" onClick={onEdit} />}
        {onContinue && !unfinished && <IconButton icon="forward" label="Continue" onClick={onContinue} />}
        {message.tokens && (
          <IconButton icon="tokens" label="Token probabilities" pressed={asTokens} onClick={onTokens} />
        )}
        {siblings.some((one) => one.model !== message.model) && <span class="by">{message.model}</span>}
        {timings && (
          <button
            type="button"
            class="quiet figures"
            aria-expanded={detailed}
            title="Where the time went"
            onClick={() => setDetailed(!detailed)}
          >
            {timingSummary(timings)}
          </button>
        )}
      </div>
      {timings && detailed && <TimingBar timings={timings} />}
    </>
  );
}

function CopyButton({ text }: { text: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () =>
    void copyText(text).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  return <IconButton icon={copied ? "check" : "copy"} label={copied ? "Copied" : "Copy"} onClick={copy} />;
}
