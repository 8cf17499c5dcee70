/** The keyboard. */

import { isNarrow } from "../browser/screen";
import { getState, setState } from "../state";
import { stop } from "./answers";
import { focusComposer, newChat } from "./history";

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.matches("input, textarea, select");
}

function focusSearch(): void {
  setState({ sidebar: true });
  requestAnimationFrame(() => {
    const search = document.getElementById("search");
    if (search instanceof HTMLInputElement) search.select();
  });
}

function escape(): void {
  const { running, help } = getState();
  if (help) return; // the dialog closes itself
  if (Object.keys(running).length) stop();
  else if (isNarrow()) setState({ sidebar: false, settings: false });
  else focusComposer();
}

function onKeyDown(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const command = event.ctrlKey || event.metaKey;
  const key = event.key.toLowerCase();
  if (command && key === "k") focusSearch();
  else if (command && event.shiftKey && key === "o") newChat();
  else if (key === "escape" && !command) return escape();
  else if (command || isTyping(event.target)) return;
  else if (key === "/") focusSearch();
  else if (key === "?") setState({ help: true });
  else return;
  event.preventDefault();
}

export function installShortcuts(): void {
  addEventListener("keydown", onKeyDown);
}
