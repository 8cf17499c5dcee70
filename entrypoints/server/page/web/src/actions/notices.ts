/** Short messages at the bottom of the page. */

import { type Notice, getState, setState } from "../state";

const SHOWN_MS = 8000;

export function notify(text: string, action?: Notice["action"]): void {
  const notice: Notice = action ? { text, action } : { text };
  setState({ notice });
  setTimeout(() => {
    if (getState().notice === notice) setState({ notice: null });
  }, SHOWN_MS);
}
