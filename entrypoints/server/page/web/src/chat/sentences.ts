/** Cuts a growing text at the ends of sentences, for what a screen reader is to read. */

/** The end of the last complete sentence or line of `text`, at or after `from`. */
export function lastSentenceEnd(text: string, from: number): number {
  let end = from;
  for (const match of text.slice(from).matchAll(/[.!?…:]["')\]]*\s|\n/g)) {
    end = from + match.index + match[0].length;
  }
  return end;
}
