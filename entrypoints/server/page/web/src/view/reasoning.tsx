import { Markdown } from "./markdown-view";

/** What a model thought before its answer, folded. */
export function Reasoning({ text, thinking }: { text: string; thinking: boolean }) {
  return (
    <details class="reasoning">
      <summary>{thinking ? "Thinking…" : "Thoughts"}</summary>
      <Markdown text={text} />
    </details>
  );
}
