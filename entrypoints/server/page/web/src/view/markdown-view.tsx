import type { Token } from "marked";
import { useMemo } from "preact/hooks";
import { copyText } from "../browser/files";
import { blockHtml, markdownBlocks } from "./markdown";
import { memo } from "./memo";

const Block = memo(
  ({ block }: { block: Token }) => (
    <div class="block" dangerouslySetInnerHTML={{ __html: blockHtml(block) }} />
  ),
  (old, next) => old.block.raw === next.block.raw,
);

/** Copy the code beside a button; the buttons are part of the sanitized HTML, which has no handlers. */
function copyCode(event: MouseEvent): void {
  const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
  const code = button?.closest(".code")?.querySelector("code")?.textContent;
  if (!button || code === undefined || code === null) return;
  void copyText(code).then(() => {
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
}

/** Markdown, of which only blocks that changed are rendered again. */
export function Markdown({ text }: { text: string }) {
  const blocks = useMemo(() => markdownBlocks(text), [text]);
  return (
    <div class="markdown" onClick={copyCode}>
      {blocks.map((block, index) => (
        <Block key={index} block={block} />
      ))}
    </div>
  );
}
