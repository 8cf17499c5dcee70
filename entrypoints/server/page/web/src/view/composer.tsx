import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { send, stop } from "../actions/answers";
import { isTouch } from "../browser/screen";
import { Icon } from "./icons";

interface ComposerProps {
  chatId: string;
  running: boolean;
  onSend: () => void;
}

const drafts = new Map<string, string>();

/** The field for the next prompt, which grows with it. Each chat has a draft of its own. */
export function Composer({ chatId, running, onSend }: ComposerProps) {
  const [, setVersion] = useState(0);
  const area = useRef<HTMLTextAreaElement>(null);
  const text = drafts.get(chatId) ?? "";
  const setText = (next: string) => {
    drafts.set(chatId, next);
    setVersion((version) => version + 1);
  };
  useLayoutEffect(() => {
    const element = area.current;
    if (!element) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  useLayoutEffect(() => {
    if (!isTouch()) area.current?.focus();
  }, []);

  const submit = () => {
    if (running || !text.trim()) return;
    setText("");
    send(text.trim());
    onSend();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || isTouch()) return;
    event.preventDefault();
    submit();
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        id="prompt"
        ref={area}
        rows={1}
        aria-label="Message"
        placeholder="Ask something"
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
      {running ? (
        <button type="button" class="send" aria-label="Stop" title="Stop (Esc)" onClick={stop}>
          <span class="stop-square" />
        </button>
      ) : (
        <button type="submit" class="send" aria-label="Send" title="Send (Enter)" disabled={!text.trim()}>
          <Icon name="up" />
        </button>
      )}
    </form>
  );
}
