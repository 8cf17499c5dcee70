import type { Message, ToolCall } from "../chat/types";
import { Icon } from "./icons";

/** Indented JSON; text that is not complete yet is shown as it is. */
function indented(json: string): string {
  try {
    return JSON.stringify(JSON.parse(json), null, 2);
  } catch {
    return json;
  }
}

export function ToolCalls({ calls }: { calls: ToolCall[] }) {
  return (
    <ul class="tool-calls" aria-label="Tool calls">
      {calls.map((call, index) => (
        <li key={index} class="tool">
          <p class="tool-name">
            <Icon name="wrench" />
            {call.name}
          </p>
          <pre tabIndex={0}>{indented(call.arguments)}</pre>
        </li>
      ))}
    </ul>
  );
}

export function ToolResult({ message }: { message: Message }) {
  return (
    <article class="message tool" aria-label="Result of a tool">
      <p class="tool-name">
        <Icon name="wrench" />
        Result
      </p>
      <pre tabIndex={0}>{indented(message.content)}</pre>
    </article>
  );
}
