import { useEffect, useState } from "preact/hooks";
import type { MessageProps } from "./message-view";

/** What a running answer does: it waits for its first token, or writes at so many characters a second. */
export function Progress({ message, started, firstToken }: MessageProps) {
  const [now, setNow] = useState(performance.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 250);
    return () => clearInterval(timer);
  }, []);
  if (started === undefined) return null;
  if (firstToken !== undefined) return message.content ? null : <Pulse />;
  const seconds = Math.floor((now - started) / 1000);
  return (
    <p class="progress">
      <Pulse />
      {seconds >= 2 && <span>Reading the prompt · {seconds} s</span>}
    </p>
  );
}

function Pulse() {
  return (
    <span class="pulse" aria-label="Waiting for the answer" role="img">
      <span />
      <span />
      <span />
    </span>
  );
}
