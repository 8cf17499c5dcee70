import { useEffect, useRef, useState } from "preact/hooks";
import { lastSentenceEnd } from "../chat/sentences";
import type { Message } from "../chat/types";

/** Reads an answer to screen readers, a sentence at a time: token by token, speech would be torn to pieces. */
export function Announcer({ answer, running }: { answer: Message | undefined; running: boolean }) {
  const read = useRef({ id: "", end: 0 });
  const [sentence, setSentence] = useState("");
  const text = answer?.content ?? "";
  useEffect(() => {
    if (!answer) return;
    // An answer that was already there when the page or the chat was opened is not read.
    if (read.current.id !== answer.id) read.current = { id: answer.id, end: running ? 0 : text.length };
    const { end } = read.current;
    const next = running ? lastSentenceEnd(text, end) : text.length;
    if (next <= end) return;
    setSentence(text.slice(end, next).replace(/[*_`#]+/g, ""));
    read.current.end = next;
  }, [answer?.id, text, running]);
  return (
    <div class="sr-only" aria-live="polite" data-testid="announcer">
      {sentence}
    </div>
  );
}
