/** The clipboard, downloads and chosen files. */

/** Copy a text. Pages without HTTPS have no clipboard API, hence the second way. */
export async function copyText(text: string): Promise<void> {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}

/** Largest file that is imported, in bytes. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Read a chosen file. Throws an Error if it is too large. */
export async function readFile(file: File): Promise<string> {
  if (file.size > MAX_FILE_BYTES) throw new Error("it is larger than 64 MB");
  return file.text();
}
