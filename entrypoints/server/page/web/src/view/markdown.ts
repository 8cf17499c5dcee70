/** Markdown to safe HTML. Nothing that a model writes reaches the page on another way. */

import DOMPurify from "dompurify";
import { Marked, type Token } from "marked";
import { escapeHtml, highlighted } from "./highlighting";

const ALLOWED_TAGS =
  "a blockquote br button code del div em h1 h2 h3 h4 h5 h6 hr li ol p pre s span strong sub sup table tbody td th thead tr ul".split(
    " ",
  );
const ALLOWED_ATTR = [
  "href",
  "title",
  "class",
  "start",
  "align",
  "target",
  "rel",
  "tabindex",
  "type",
  "data-copy",
];

/** HTML of a model that is shown as what it means; all other HTML is shown as text. */
const PLAIN_TAG = /^<(br\s*\/?|\/?(sub|sup))>$/i;

const WEB_LINK = /^(https?:|mailto:)/i;

function link(href: string, title: string | null | undefined, content: string): string {
  if (!WEB_LINK.test(href)) return content;
  const tooltip = title ? ` title="${escapeHtml(title)}"` : "";
  return `<a href="${escapeHtml(href)}"${tooltip} target="_blank" rel="noopener noreferrer">${content}</a>`;
}

const marked = new Marked({
  gfm: true,
  renderer: {
    html: ({ text }) => (PLAIN_TAG.test(text.trim()) ? text : escapeHtml(text)),
    // An image would be fetched from a host that the model chose, with what it knows in the address.
    image: ({ href, title, text }) => link(href, title, `${escapeHtml(text || "image")} ↗`),
    link({ href, title, tokens }) {
      return link(href, title, this.parser.parseInline(tokens));
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
    code({ text, lang }) {
      const language = (lang ?? "").split(/\s/)[0] ?? "";
      return (
        `<div class="code"><div class="code-head"><span>${escapeHtml(language || "text")}</span>` +
        `<button type="button" class="quiet" data-copy="code">Copy</button></div>` +
        `<pre tabindex="0"><code>${highlighted(text, language.toLowerCase())}</code></pre></div>`
      );
    },
    table(token) {
      const cells = (row: typeof token.header, tag: string) =>
        row
          .map((cell) => {
            const align = cell.align ? ` align="${cell.align}"` : "";
            return `<${tag}${align}>${this.parser.parseInline(cell.tokens)}</${tag}>`;
          })
          .join("");
      const rows = token.rows.map((row) => `<tr>${cells(row, "td")}</tr>`).join("");
      const head = `<thead><tr>${cells(token.header, "th")}</tr></thead>`;
      return `<div class="table" tabindex="0"><table>${head}<tbody>${rows}</tbody></table></div>`;
    },
  },
});

/** Longer texts are shown as they are, because the whole text is parsed again while it is streamed. */
const MAX_CHARS = 200_000;

/** Marks of emphasis and links in one paragraph: the time to pair them grows with the square of their number. */
const MAX_MARKS = 1000;

/** A line that begins with so many quotes or list items inside each other, which are parsed by recursion. */
const DEEP = /^(?:[ \t]*(?:>|(?:[-+*]|\d{1,9}[.)])[ \t])){50}/m;

/** A closed block of code, whose marks mean nothing. */
const FENCED = /^```[^`\n]*\n[^]*?^```[ \t]*$/gm;

function isCostly(text: string): boolean {
  if (text.length > MAX_CHARS || DEEP.test(text)) return true;
  return text
    .replace(FENCED, "\n\n")
    .split(/\n[ \t]*\n/)
    .some((part) => part.length > MAX_MARKS && (part.match(/[*_~[\]`<]/g)?.length ?? 0) > MAX_MARKS);
}

function unformatted(text: string): Token {
  return { type: "unformatted", raw: text };
}

/**
 * The blocks of a text: paragraphs, lists, code. While an answer is streamed, only the last one changes.
 * A text that would take too long to parse, or that the parser cannot read, is one block without a format.
 */
export function markdownBlocks(text: string): Token[] {
  if (isCostly(text)) return [unformatted(text)];
  try {
    return marked.lexer(text).filter((token) => token.type !== "space" && token.type !== "def");
  } catch {
    return [unformatted(text)];
  }
}

/** A block as HTML that is safe to insert. */
export function blockHtml(block: Token): string {
  if (block.type !== "unformatted") {
    try {
      return sanitized(marked.parser([block]));
    } catch {
      // Shown as text below: an error here would end the whole page.
    }
  }
  return sanitized(`<pre class="unformatted">${escapeHtml(block.raw)}</pre>`);
}

function sanitized(html: string): string {
  const clean = DOMPurify.sanitize(html, {
    ALLOWED_TAGS,
    ALLOWED_ATTR,
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ADD_ATTR: ["target"],
    RETURN_TRUSTED_TYPE: true,
  });
  return clean as unknown as string; // the trusted value that innerHTML demands under the page's policy
}
